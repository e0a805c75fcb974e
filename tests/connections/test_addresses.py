"""Addresses that a connection may lead to."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.connections.addresses import METADATA, check, resolve
from service.errors import SourceError

METADATA_IPV4 = sorted({str(each) for each in METADATA if isinstance(each, IPv4Address)})


def allowed(address: str, *, private: bool) -> bool:
    try:
        check(address, allow_private=private)
    except SourceError:
        return False
    return True


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert allowed(address, private=False)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1"),
        *("::1", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "::127.0.0.1"),
        *("192.88.99.1", "192.0.0.9", "198.18.0.1"),  # 6to4 relays, protocol assignments, benchmarks
        *("fec0::1", "100::1", "5f00::1", "2001:db8::1", "2001:2::1", "3fff::1", "400::1", "4000::1", "::ffff:0:0:0:1"),
        *("64:ff9b:1::a00:1", "64:ff9b:1::808:808", "::ffff:0:10.0.0.1", "::ffff:0:8.8.8.8"),
        *("2001:0:808:808:0:0:f5ff:fffe", "2001:0:a00:1:0:0:f7f7:f7f7", "2002:808:808::1", "::8.8.8.8"),
        *("2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:10.0.0.1"),  # ISATAP
    ],
)
def test_private_addresses_need_to_be_declared(address: str) -> None:
    assert not allowed(address, private=False)
    assert allowed(address, private=True)


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize(
    "form", ["{}", "::ffff:{}", "64:ff9b::{}", "::{}", "::ffff:0:{}", "64:ff9b:1::{}", "2606:4700::5efe:{}"]
)
@pytest.mark.parametrize("address", METADATA_IPV4)
def test_metadata_services_are_refused_in_every_notation(address: str, form: str, private: bool) -> None:
    assert not allowed(form.format(address), private=private)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "fd00:ec2::254"])
def test_addresses_of_no_host_and_of_groups_are_always_refused(address: str) -> None:
    assert not allowed(address, private=True)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_inside_an_ipv6_address(address: Any) -> None:
    if int(address) > 1:
        assert allowed(str(address), private=False) == allowed(f"::ffff:{address}", private=False)
        assert allowed(str(address), private=False) == allowed(f"64:ff9b::{address}", private=False)


@pytest.mark.parametrize(
    "address", ["2001:0:808:808:0:0:5601:5601", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1", "64:ff9b:1::a9:fea9:fe00:0"]
)
def test_metadata_services_are_refused_behind_tunnels(address: str) -> None:
    assert not allowed(address, private=True)


@given(st.ip_addresses(v=6))
def test_a_public_ipv6_address_is_a_global_unicast_one_or_a_translated_ipv4_address(address: Any) -> None:
    translated = any(address in ip_network(each) for each in ("64:ff9b::/96", "::ffff:0:0/96"))

    assert not allowed(str(address), private=False) or translated or address in ip_network("2000::/3")


def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, 0, 0, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)

    with pytest.raises(SourceError, match="private address"):
        resolve("example.test", 443, allow_private=False)

    assert resolve("example.test", 443, allow_private=True) == ["8.8.8.8", "10.0.0.1"]
