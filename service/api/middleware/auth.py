"""API key authentication: the caller of a request from its `Authorization` header, cached for half a second."""

from __future__ import annotations

import asyncio
import hmac
import time
from functools import partial
from typing import TYPE_CHECKING

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request

from service.api import dashboard
from service.api.http import problems
from service.api.middleware.auth_throttle import AuthThrottle, address_of
from service.domain.access import DEFAULT_TENANT, Caller, Scope, digest, key_id_of
from service.errors import InvalidKey, OpenBehindProxy, ServiceError, TooManyFailedKeys, Unauthorized, UnknownKey
from service.store import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as AsgiScope

    from service.api.middleware.prometheus import Metrics
    from service.api.middleware.rate_limit import RateLimiter
    from service.settings import Settings
    from service.store.engine import Database

PUBLIC = frozenset({dashboard.PAGE, "/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
PUBLIC_FOLDERS = (f"{dashboard.FILES}/", "/static-offline-docs/")

CACHE_SECONDS = 0.5  # a revoked key stops working within a second
CACHE_SIZE = 10_000
NO_KEY_REQUIRED = ""  # cache key, in place of an API key's digest, of whether the server has any API key
OPERATOR = Caller(DEFAULT_TENANT, Scope.admin)
FORWARDED_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


class ApiKeyAuthenticator:
    """Resolves API keys to callers; one per process.

    While neither the settings nor the database have a key, a server on a loopback address needs none.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._operator_digest = None if settings.api_key is None else digest(settings.api_key.get_secret_value())
        self._throttle = AuthThrottle(settings.max_failed_keys_per_minute)
        self._may_need_no_key = settings.api_key is None and settings.is_loopback
        self._cache: dict[str, tuple[Caller | None, float]] = {}
        self._lookups: dict[str, asyncio.Task[Caller | None]] = {}

    async def caller(self, headers: Headers, address: str) -> Caller:
        """The caller who sends these headers from this address.

        Raises Unauthorized, InvalidKey, TooManyFailedKeys, OpenBehindProxy; Unavailable while the database is.
        """
        if self._may_need_no_key:
            if await self._cached(NO_KEY_REQUIRED, self._operator_without_keys) is OPERATOR:
                _check_not_forwarded(headers)
                return OPERATOR
            self._may_need_no_key = False  # permanently: revoked keys keep their rows
        text = _bearer_token(headers)
        if key_id_of(text) is None:
            return self._operator(text, address)
        try:
            caller = await self._cached(digest(text), partial(self._stored_key, text))
        except UnknownKey:
            self._throttle.record_failure(address)
            raise
        assert caller is not None
        return caller

    def _operator(self, text: str, address: str) -> Caller:
        """Compare with the key of the settings: chosen by a person, it may be guessed, so attempts are throttled."""
        self._throttle.check(address)
        if self._operator_digest is None or not hmac.compare_digest(digest(text), self._operator_digest):
            self._throttle.record_failure(address)
            raise UnknownKey
        self._throttle.record_operator(address)
        return OPERATOR

    async def _cached(self, key: str, look_up: Callable[[], Caller | None]) -> Caller | None:
        """The result of `look_up`, cached for CACHE_SECONDS; concurrent requests share one lookup."""
        answer, until = self._cache.get(key, (None, 0.0))
        if time.monotonic() < until:
            return answer
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = asyncio.create_task(self._look_up(key, look_up))
            lookup.add_done_callback(lambda _: self._lookups.pop(key))
        return await asyncio.shield(lookup)  # one client's disconnect must not cancel the shared lookup

    async def _look_up(self, key: str, look_up: Callable[[], Caller | None]) -> Caller | None:
        self._cache.pop(key, None)
        until = time.monotonic() + CACHE_SECONDS
        answer = await run_in_threadpool(look_up)
        if len(self._cache) >= CACHE_SIZE:
            self._cache.clear()
        self._cache[key] = answer, until  # errors are not cached: unknown keys must not fill the cache
        return answer

    def _operator_without_keys(self) -> Caller | None:
        with self._database.reading() as connection:
            return None if keys.any_exist(connection) else OPERATOR

    def _stored_key(self, text: str) -> Caller:
        with self._database.reading() as connection:
            return keys.authenticate(connection, text)


def _check_not_forwarded(headers: Headers) -> None:
    """Raise OpenBehindProxy for a forwarded request: without keys, everyone who reaches the proxy would be an admin."""
    found = next((name for name in FORWARDED_HEADERS if name in headers), None)
    if found is not None:
        how = "make one with `bestepoch keys create --scope admin`, or set BESTEPOCH_API_KEY, and send it from then on"
        raise OpenBehindProxy(
            f"a proxy forwarded this request ({found.title()}), and the service has no API key yet: {how}"
        )


def _bearer_token(headers: Headers) -> str:
    """The API key of the `Authorization` header; raises Unauthorized without one, InvalidKey for a malformed header."""
    sent = headers.getlist("authorization")
    if not sent:
        raise Unauthorized
    scheme, _, text = sent[0].encode("latin-1").decode(errors="replace").partition(" ")  # most clients send UTF-8
    text = text.strip()
    if len(sent) > 1 or scheme.lower() != "bearer" or not text or " " in text:
        raise InvalidKey("the Authorization header must be `Bearer KEY`")
    return text


class ApiKeyMiddleware:
    """Authenticates every request outside the public paths, and applies the rate limit of the caller's tenant."""

    def __init__(
        self, app: ASGIApp, authenticator: ApiKeyAuthenticator, rate_limiter: RateLimiter, metrics: Metrics
    ) -> None:
        self.app, self._authenticator, self._rate_limiter, self._metrics = app, authenticator, rate_limiter, metrics

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with 401, 403 or 429."""
        if scope["type"] == "http" and not (scope["path"] in PUBLIC or scope["path"].startswith(PUBLIC_FOLDERS)):
            try:
                address = address_of(scope.get("client"))
                caller = scope["state"]["caller"] = await self._authenticator.caller(Headers(scope=scope), address)
                self._rate_limiter.request(caller.tenant)
            except ServiceError as error:
                if isinstance(error, InvalidKey | TooManyFailedKeys):
                    self._metrics.failed_keys.inc()
                await problems.from_service_error(Request(scope), error)(scope, receive, send)
                return
        if scope["type"] in ("http", "lifespan"):
            await self.app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})
