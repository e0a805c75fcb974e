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
_UNICAST = ipaddress.ip_network("2000::/3")
"""The IPv6 addresses that the Internet routes to hosts; `is_global` takes most others for public ones."""
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("192.0.0.0/24", "192.88.99.0/24"),  # protocol assignments, relays of 6to4: answered by the local network
        *("2001::/23", "2002::/16", "3fff::/20"),  # protocol assignments with Teredo, 6to4, documentation
    )
)
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""NAT64: leads to the IPv4 address in its last 32 bits."""
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_HOLD_IPV4 = _TRANSLATED, _LOCAL_NAT64, ipaddress.ip_network("::/96"), ipaddress.ip_network("::ffff:0:0:0/96")
_ISATAP = 0x5EFE  # of an interface identifier, before an IPv4 address


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
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = _embedded(found)
    if any(each in METADATA or each.is_multicast or each.is_unspecified for each in (found, *inner)):
        raise SourceError("the host of the connection has an address that no connection may lead to")
    if not (allow_private or (_is_public(found) and all(map(_is_public, inner)))):
        raise SourceError(
            "the host of the connection has a private address: the operator may declare it with --allow-private"
        )


def is_public(address: str) -> bool:
    """Whether a connection may lead to this address without `--allow-private`."""
    try:
        check(address, allow_private=False)
    except SourceError:
        return False
    return True


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None or address in _TRANSLATED:
            return True  # as its IPv4 address, which is checked, too
        if address not in _UNICAST:
            return False
    return address.is_global and not any(address in network for network in _SPECIAL)


def _embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for, by translation or in a tunnel."""
    if isinstance(address, IPv4Address):
        return []
    inner = [each for each in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if each is not None]
    is_isatap = (int(address) >> 32) & 0xFCFFFFFF == _ISATAP
    if is_isatap or (int(address) > 1 and any(address in network for network in _HOLD_IPV4)):
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if address in _LOCAL_NAT64:  # which may also be cut into prefixes of 64 bits, as RFC 6052 has them
        inner.append(IPv4Address(int(address) >> 24 & 0xFFFFFFFF))
    return inner
