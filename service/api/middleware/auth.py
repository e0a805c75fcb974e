"""Who sends a request: the key in it, asked for in the database and remembered for half a second."""

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
from service.api.middleware.auth_throttle import FailedKeys, address_of
from service.domain.access import DEFAULT_TENANT, Caller, Scope, digest, key_id_of
from service.errors import InvalidKey, OpenBehindProxy, ServiceError, TooManyFailedKeys, Unauthorized, UnknownKey
from service.store import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as AsgiScope

    from service.api.middleware.prometheus import Metrics
    from service.api.middleware.rate_limit import Traffic
    from service.settings import Settings
    from service.store.engine import Database

PUBLIC = frozenset({dashboard.PAGE, "/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
PUBLIC_FOLDERS = (f"{dashboard.FILES}/", "/static-offline-docs/")

REMEMBER_SECONDS = 0.5  # a revoked key is out within a second
MOST_REMEMBERED = 10_000
OPEN = ""  # what is remembered in place of a key's digest: whether none is asked for
OPERATOR = Caller(DEFAULT_TENANT, Scope.admin)
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


class Keys:
    """One a process. Without any key, be it in the settings or in the database, a loopback address is open to all."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._operators = None if settings.api_key is None else digest(settings.api_key.get_secret_value())
        self._failed = FailedKeys(settings.max_failed_keys_per_minute)
        self._may_be_open = settings.api_key is None and settings.is_loopback
        self._remembered: dict[str, tuple[Caller | None, float]] = {}
        self._asking: dict[str, asyncio.Task[Caller | None]] = {}

    async def caller(self, headers: Headers, address: str) -> Caller:
        """Who sends these headers from there; raises Unauthorized, InvalidKey, TooManyFailedKeys, OpenBehindProxy, and
        Unavailable when nobody can be asked."""
        if self._may_be_open:
            if await self._once(OPEN, self._no_keys) is OPERATOR:
                _check_not_forwarded(headers)
                return OPERATOR
            self._may_be_open = False  # for good: keys are revoked, never forgotten
        text = _sent(headers)
        if key_id_of(text) is None:
            return self._operator(text, address)
        try:
            caller = await self._once(digest(text), partial(self._known, text))
        except UnknownKey:
            self._failed.failed(address)
            raise
        assert caller is not None
        return caller

    def _operator(self, text: str, address: str) -> Caller:
        """For a key that was not made by `bestepoch keys create`: a person chose it, so others may guess."""
        self._failed.check(address)
        if self._operators is None or not hmac.compare_digest(digest(text), self._operators):
            self._failed.failed(address)
            raise UnknownKey
        self._failed.proven(address)
        return OPERATOR

    async def _once(self, of: str, ask: Callable[[], Caller | None]) -> Caller | None:
        """What `ask` says, asked at most every half a second and by one for all who want to know at the same time."""
        answer, until = self._remembered.get(of, (None, 0.0))
        if time.monotonic() < until:
            return answer
        asking = self._asking.get(of)
        if asking is None:
            asking = self._asking[of] = asyncio.create_task(self._ask(of, ask))
            asking.add_done_callback(lambda _: self._asking.pop(of))
        return await asyncio.shield(asking)

    async def _ask(self, of: str, ask: Callable[[], Caller | None]) -> Caller | None:
        self._remembered.pop(of, None)
        until = time.monotonic() + REMEMBER_SECONDS
        answer = await run_in_threadpool(ask)
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[of] = answer, until  # not what raised: strangers fill nothing
        return answer

    def _no_keys(self) -> Caller | None:
        with self._database.reading() as connection:
            return None if keys.any_exist(connection) else OPERATOR

    def _known(self, text: str) -> Caller:
        with self._database.reading() as connection:
            return keys.authenticate(connection, text)


def _check_not_forwarded(headers: Headers) -> None:
    """Behind a proxy, a client on this machine is anybody: whoever reaches the proxy would be an admin."""
    found = next((name for name in FORWARDED if name in headers), None)
    if found is not None:
        how = "make one with `bestepoch keys create --scope admin`, or set BESTEPOCH_API_KEY, and send it from then on"
        raise OpenBehindProxy(f"a proxy forwarded this ({found.title()}), and the service has no API key yet: {how}")


def _sent(headers: Headers) -> str:
    """The key's text; raises Unauthorized where there is none, InvalidKey where something else stands in its place."""
    sent = headers.getlist("authorization")
    if not sent:
        raise Unauthorized
    scheme, _, text = sent[0].encode("latin-1").decode(errors="replace").partition(" ")  # UTF-8, as most programs send
    text = text.strip()
    if len(sent) > 1 or scheme.lower() != "bearer" or not text or " " in text:
        raise InvalidKey("the header Authorization must say `Bearer KEY`")
    return text


class KeyRequired:
    """Lets nobody in who does not say who they are, or who asks too often, but to the few public paths."""

    def __init__(self, app: ASGIApp, keys: Keys, traffic: Traffic, metrics: Metrics) -> None:
        self.app, self._keys, self._traffic, self._metrics = app, keys, traffic, metrics

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request, or turn it away."""
        if scope["type"] == "http" and not (scope["path"] in PUBLIC or scope["path"].startswith(PUBLIC_FOLDERS)):
            try:
                address = address_of(scope.get("client"))
                caller = scope["state"]["caller"] = await self._keys.caller(Headers(scope=scope), address)
                self._traffic.request(caller.tenant)
            except ServiceError as error:
                if isinstance(error, InvalidKey | TooManyFailedKeys):
                    self._metrics.failed_keys.inc()
                await problems.from_service_error(Request(scope), error)(scope, receive, send)
                return
        if scope["type"] in ("http", "lifespan"):
            await self.app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})
