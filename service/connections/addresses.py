"""Which addresses a connection may lead to: public ones, unless its declaration allows private ones."""

from __future__ import annotations

import ipaddress
import logging
import socket
from ipaddress import IPv4Address, IPv6Address

from service.errors import SourceError

_log = logging.getLogger(__name__)

METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        *("169.254.169.254", "fd00:ec2::254"),  # AWS, and most others
        *("169.254.170.2", "169.254.170.23", "fd00:ec2::23"),  # AWS: credentials of containers and pods
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle Cloud
    )
)
"""Addresses of cloud providers' metadata services, which give credentials to whoever asks."""
_HOLD_IPV4 = ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96")


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of `host`, of which each is allowed; raises SourceError.

    Connect to one of these, not to the name: it may have another address a moment later.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        _log.warning("the host %s has no address", host)
        raise SourceError("the host of the connection has no address") from None
    addresses = [str(address[0]) for *_, address in found]
    try:
        for address in addresses:
            check(address, allow_private=allow_private)
    except SourceError:
        _log.warning("the host %s has the addresses %s", host, addresses)
        raise
    return addresses


def check(address: str, *, allow_private: bool) -> None:
    """Raise SourceError, which does not name it, unless a connection may lead to this address."""
    for each in _embedded(ipaddress.ip_address(address.partition("%")[0])):
        if each in METADATA or each.is_multicast or each.is_unspecified:
            raise SourceError("the host of the connection has an address that no connection may lead to")
        if not (allow_private or each.is_global):
            raise SourceError(
                "the host of the connection has a private address: the operator may declare it with --allow-private"
            )


def _embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address, or the IPv4 addresses that it stands for, by translation or in a tunnel."""
    if isinstance(address, IPv4Address):
        return [address]
    inner: list[IPv4Address | IPv6Address] = []
    if address.ipv4_mapped is not None:
        inner.append(address.ipv4_mapped)
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    if address.teredo is not None:
        inner += address.teredo
    if any(address in network for network in _HOLD_IPV4) and int(address) > 1:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return inner or [address]
