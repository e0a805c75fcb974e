"""Brute-force protection: unknown keys are throttled per address, valid keys are not."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.api.middleware import auth_throttle
from service.api.middleware.auth_throttle import AuthThrottle, address_of
from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT, Scope
from service.errors import TooManyFailedKeys
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor
from tests.api.operations import Maker, key

__all__ = ["key"]

OPERATORS = "the-operators-own-key"


@pytest.fixture
def strict(settings: Settings, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    """A service with an operator's key, and a limit of three unknown keys per minute."""
    changed = Settings.model_validate({"home": settings.home, "api_key": OPERATORS, "max_failed_keys_per_minute": 3})
    with TestClient(create_app(changed, database, artifacts, CoinPredictor())) as client:
        yield client


def ask(client: TestClient, text: str) -> httpx2.Response:
    answer: httpx2.Response = client.get("/v1/jobs", headers={"Authorization": f"Bearer {text}"})
    return answer


@pytest.mark.parametrize("wrong", ["guess-{}", "be_{:024x}_" + "A" * 43], ids=["chosen", "made"])
def test_too_many_unknown_keys_from_an_address_are_a_429_with_retry_after(strict: TestClient, wrong: str) -> None:
    answers = [ask(strict, wrong.format(number)) for number in range(5)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert answers[-1].json()["code"] == "too_many_failed_keys"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    assert strict.get("/healthz").status_code == 200


def test_created_keys_are_accepted_from_a_throttled_address(strict: TestClient, key: Maker) -> None:
    text = key(DEFAULT_TENANT, Scope.read)
    for number in range(5):
        ask(strict, f"guess-{number}")

    assert ask(strict, text).status_code == 200


def test_a_throttled_address_is_refused_even_with_the_right_key(strict: TestClient) -> None:
    for number in range(4):
        ask(strict, f"guess-{number}")

    assert ask(strict, OPERATORS).status_code == 429


def test_the_operators_key_is_accepted_from_a_trusted_address(strict: TestClient) -> None:
    assert ask(strict, OPERATORS).status_code == 200
    for number in range(5):
        ask(strict, f"guess-{number}")

    assert ask(strict, OPERATORS).status_code == 200


def test_a_revoked_or_expired_key_is_not_counted(strict: TestClient, key: Maker) -> None:
    text = key(DEFAULT_TENANT, Scope.read, revoked=True)

    assert [ask(strict, text).status_code for _ in range(6)] == [401] * 6


def test_invalid_keys_are_counted_in_the_metrics(strict: TestClient) -> None:
    for number in range(5):
        ask(strict, f"guess-{number}")
    strict.get("/v1/jobs")  # without a key

    app_metrics = strict.app.state.shared.metrics.text().decode()  # type: ignore[attr-defined]
    assert "bestepoch_failed_keys_total 5.0" in app_metrics


def test_tokens_are_refilled_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(auth_throttle.time, "monotonic", lambda: now)
    throttle = AuthThrottle(60)
    for _ in range(60):
        throttle.record_failure("a")
    with pytest.raises(TooManyFailedKeys):
        throttle.check("a")
    throttle.check("b")

    now += 1.0
    throttle.check("a")


def test_the_least_recently_used_addresses_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_throttle, "MAX_ADDRESSES", 100)
    throttle = AuthThrottle(1)
    for number in range(1_000):
        throttle.record_failure(f"10.0.{number // 256}.{number % 256}")

    assert len(throttle._buckets) == 100
    with pytest.raises(TooManyFailedKeys):
        throttle.check("10.0.3.231")  # the last one


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("testclient", 1), "testclient"),
        (None, ""),
    ],
)
def test_ipv6_addresses_are_grouped_by_64_bit_network(client: tuple[str, int] | None, address: str) -> None:
    assert address_of(client) == address
