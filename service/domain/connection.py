"""Connections: servers and folders that an operator has declared, from which data sets are read by reference."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from service.spec.base import FrozenModel

EVERY_TENANT = "*"
"""Tenant of connections that all tenants may use; no name of a tenant."""


class ConnectionKind(StrEnum):
    """What a connection leads to."""

    s3 = "s3"
    gs = "gs"
    az = "az"
    https = "https"
    folder = "folder"
    postgresql = "postgresql"


class ConnectionSummary(FrozenModel):
    """A connection as its tenants see it: neither its address nor its secrets."""

    id: str
    """The connection's id."""
    object: Literal["connection"] = "connection"
    """What this JSON object is."""
    name: str
    """Its name, as `connection` of a request."""
    kind: ConnectionKind
    """What it leads to: `s3`, `gs`, `az`, `https` or `folder` hold files; `postgresql` answers queries."""
    created_at: datetime
    """When it was declared (UTC)."""


class Connection(ConnectionSummary):
    """A connection as it was declared."""

    tenant: str
    """The tenant that may use it, or `*`."""
    url: str
    """Where it leads; without secrets."""
    options: dict[str, str]
    """Settings of its kind, such as `region`."""
    secrets: dict[str, str]
    """References to secrets, by name: `env:VARIABLE` or `file:/path`. The secrets themselves are not stored."""
    allow_private: bool
    """Whether its host may have a loopback, private or link-local address, and speak HTTP without TLS."""
