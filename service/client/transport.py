"""Requests that are sent again when the service or the way to it fails, so that each counts once."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

AGAIN = frozenset({429, 502, 503, 504})
MOST_SECONDS = 30.0  # between two tries


class ApiError(Exception):
    """The service refused: `status`, `code` (a stable name), `detail`, the wrong places in `errors`, `request_id`."""

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
    """No service answers at `url`, however often it was asked."""

    def __init__(self, url: str, reason: object) -> None:
        self.url = url
        hint = "check the URL and the network, and that the service runs: `bestepoch serve` starts one"
        super().__init__(f"no service answers at {url} ({reason}); {hint}")


class Transport:
    """An HTTP client of one service; `tries`: of a request, with longer and longer pauses."""

    def __init__(self, url: str, api_key: str | None, tries: int, timeout: float) -> None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the URL of a service begins with http:// or https://, unlike {url!r}")
        self.url = url
        self.http = httpx2.Client(base_url=url, headers=headers, timeout=timeout)
        self._tries = tries

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of the answer; raises ApiError, ServiceUnavailable."""
        response = self.request(method, path, **options)
        try:
            return response.json()
        except ValueError:
            raise ServiceUnavailable(self.url, "what answers there is no bestepoch service") from None

    def create(self, path: str, body: Any) -> Any:
        """What a POST creates, once, however often it has to be sent."""
        return self.json("POST", path, json=body, headers={"Idempotency-Key": f"client-{uuid4().hex}"})

    def pages(self, path: str, asked: dict[str, Any]) -> Iterator[Any]:
        """Everything in a list of the service, a page after the other; see `json`."""
        after: dict[str, str] = {}
        while True:
            page = self.json("GET", path, params={"limit": 100, **asked, **after})
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"after": page["next"]}

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """The answer, whole; see `json`."""
        for pause in self.pauses():
            try:
                response = self.http.request(method, path, **options)
            except httpx2.TransportError as error:
                if pause is None:
                    raise ServiceUnavailable(self.url, error or type(error).__name__) from error
                time.sleep(pause)
                continue
            if response.status_code not in AGAIN or pause is None:
                break
            time.sleep(max(pause, _asked(response)))
        return checked(response)

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """An answer to be read as it comes, sent once; see `json`."""
        with self.http.stream("GET", path, **options) as response:
            if response.is_error:
                response.read()
            yield checked(response)

    def pauses(self) -> Iterator[float | None]:
        """Seconds to wait after each try that fails; None: it was the last one."""
        for number in range(self._tries - 1):
            yield min(MOST_SECONDS, 0.2 * 2**number) * random.uniform(0.5, 1.0)
        yield None


def checked(response: httpx2.Response) -> httpx2.Response:
    """The response, if it is no refusal; raises ApiError."""
    if response.is_error:
        raise ApiError(response)
    return response


def _asked(response: httpx2.Response) -> float:
    """How long the service asks to wait."""
    asked = response.headers.get("retry-after", "")
    return min(float(asked), MOST_SECONDS) if asked.isdecimal() else 0.0
