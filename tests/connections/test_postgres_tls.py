"""TLS of databases: a public host needs it, and verification where an authority is declared."""

from __future__ import annotations

import pytest

from service.connections.postgres_tls import fault, parameters

PUBLIC, PRIVATE = "8.8.8.8", "10.0.0.1"
CA = {"sslrootcert": "/ca.pem"}


@pytest.mark.parametrize(
    ("declared", "addresses", "expected"),
    [
        ({}, [PUBLIC], {"sslmode": "require"}),
        ({}, [PRIVATE, PUBLIC], {"sslmode": "require"}),
        ({}, [PRIVATE], {}),
        ({}, [], {}),
        (CA, [PUBLIC], {"sslmode": "verify-full"}),
        (CA, [PRIVATE], {"sslmode": "verify-full"}),
        ({"sslmode": "verify-full"}, [PUBLIC], {}),
        ({"sslmode": "disable"}, [PRIVATE], {}),
        ({"sslmode": "verify-ca", **CA}, [PRIVATE], {}),
    ],
)
def test_a_public_address_gets_tls_by_default(
    declared: dict[str, str], addresses: list[str], expected: dict[str, str]
) -> None:
    assert parameters(declared, addresses) == expected


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_a_mode_without_tls_is_a_fault_of_a_public_host(mode: str) -> None:
    found = fault({"sslmode": mode}, public=True)

    assert found is not None
    assert found.startswith(f"sslmode={mode} may send rows and password without TLS")
    assert fault({"sslmode": mode}, public=False) is None


def test_an_authority_is_there_to_verify_the_host() -> None:
    assert "needs sslmode=verify-full" in str(fault({"sslmode": "require", **CA}, public=True))
    assert fault({"sslmode": "verify-full", **CA}, public=True) is None


def test_an_unknown_mode_is_a_fault_everywhere() -> None:
    assert "sslmode=on is none of disable, " in str(fault({"sslmode": "on"}, public=False))
