"""HTTP requests with retries and idempotency keys."""

from __future__ import annotations

import random
import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRIED = frozenset({429, 502, 503, 504})
MAX_PAUSE_SECONDS = 30.0  # between two tries
EXPORT_SECONDS = 660.0  # for a file that is made on request; the service gives up before


class ApiError(Exception):
    """The service rejected a request.

    `status`: of the HTTP response. `code`: a stable name of the problem. `detail`: the problem in a sentence. `errors`:
    the wrong fields, each with `pointer` or `parameter` and `message`. `request_id`: finds the request in the logs.
    """

    def __init__(self, response: httpx2.Response) -> None:
        try:
            problem = response.json()
        except ValueError:
            problem = {}
        self.status = response.status_code
        self.code: str = problem.get("code", "")
        self.detail: str = problem.get("detail") or problem.get("title") or response.reason_phrase
        self.errors: list[dict[str, str]] = problem.get("errors", [])
        self.request_id: str | None = problem.get("request_id")
        super().__init__(f"{self.detail} ({self.status} {self.code})".strip())


class ServiceUnavailable(ConnectionError):
    """No service answers at `url`, after all tries."""

    def __init__(self, url: str, reason: object) -> None:
        self.url = url
        hint = "check the URL and the network, and that the service runs: `bestepoch serve` starts one"
        super().__init__(f"no service answers at {url} ({reason}); {hint}")


class Transport:
    """An HTTP client of one service; a request is tried up to `tries` times, with exponential backoff."""

    def __init__(self, url: str, api_key: str | None, tries: int, timeout: float) -> None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the URL of a service begins with http:// or https://, unlike {url!r}")
        self.url = url
        self.http = httpx2.Client(base_url=url, headers=headers, timeout=timeout, verify=_certificates(url))
        self._stores: httpx2.Client | None = None
        self._tries = tries

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a response; raises ApiError, ServiceUnavailable."""
        response = self.request(method, path, **options)
        try:
            return response.json()
        except ValueError:
            raise ServiceUnavailable(self.url, "what answers there is no bestepoch service") from None

    def create(self, path: str, body: Any, **options: Any) -> Any:
        """The JSON of what a POST creates; its Idempotency-Key makes retries safe."""
        headers = {"Idempotency-Key": f"client-{uuid4().hex}"}
        return self.json("POST", path, json=body, headers=headers, **options)

    def delete(self, path: str) -> None:
        """Delete an object; idempotent. Raises as `json` does."""
        try:
            self.request("DELETE", path)
        except ApiError as error:
            if error.status != 404:  # deleted already, perhaps by a try whose answer was lost
                raise

    def pages(self, path: str, params: dict[str, Any]) -> Iterator[Any]:
        """The items of a paginated list, page by page; see `json`."""
        after: dict[str, str] = {}
        while True:
            page = self.json("GET", path, params={"limit": 100, **params, **after})
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"after": page["next"]}

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """The whole response; see `json`."""
        for pause in self.pauses():
            try:
                response = self.http.request(method, path, **options)
            except httpx2.TransportError as error:
                if pause is None:
                    raise ServiceUnavailable(self.url, error or type(error).__name__) from error
                time.sleep(pause)
                continue
            if response.status_code not in RETRIED or pause is None:
                break
            time.sleep(max(pause, _retry_after(response)))
        return checked(response)

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """A response to be streamed, without retries; see `json`."""
        with self.http.stream("GET", path, **options) as response:
            if response.is_error:
                response.read()
            yield checked(response)

    @contextmanager
    def stream_file(self, path: str, **options: Any) -> Iterator[tuple[httpx2.Response, httpx2.Headers]]:
        """(response to be streamed, headers of the service), perhaps from an object store, which gets no API key."""
        with self.stream(path, **options) as response:
            location = response.headers.get("location")
            if response.status_code != 307 or location is None:
                yield response, response.headers
                return
            answered = response.headers
        with self._store_http().stream("GET", location, headers=options.get("headers")) as response:
            if response.is_error:
                response.read()
            yield checked(response), answered

    def put_to_store(self, url: str, content: bytes) -> bool:
        """PUT to an object store, by a URL that the service has signed, without the API key; whether it succeeded."""
        headers = {"x-ms-blob-type": "BlockBlob"}  # for Azure, which requires it
        for pause in self.pauses():
            try:
                response = self._store_http().put(url, content=content, headers=headers)
            except httpx2.TransportError:
                status = 503
            else:
                status = response.status_code
            if status < 300:
                return True
            if status not in RETRIED | {500} or pause is None:
                return False
            time.sleep(pause)
        return False

    def _store_http(self) -> httpx2.Client:
        """The client of the object store, whose requests have no API key."""
        if self._stores is None:
            self._stores = httpx2.Client(timeout=self.http.timeout)
        return self._stores

    def close(self) -> None:
        """Close the connections."""
        self.http.close()
        if self._stores is not None:
            self._stores.close()

    def pauses(self) -> Iterator[float | None]:
        """Seconds to wait after each failed try, with jitter; None after the last one."""
        for number in range(self._tries - 1):
            yield min(MAX_PAUSE_SECONDS, 0.2 * 2**number) * random.uniform(0.5, 1.0)
        yield None


def checked(response: httpx2.Response) -> httpx2.Response:
    """The response if it is a success; raises ApiError."""
    if response.is_error:
        raise ApiError(response)
    return response


def _retry_after(response: httpx2.Response) -> float:
    """The seconds of the Retry-After header, 0 without one."""
    seconds = response.headers.get("retry-after", "")
    return min(float(seconds), MAX_PAUSE_SECONDS) if seconds.isdecimal() else 0.0


def _certificates(url: str) -> ssl.SSLContext | bool:
    """Those that a service is verified with. None for plain HTTP, as loading them takes 50 ms of processor time."""
    return url.startswith("https://") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
