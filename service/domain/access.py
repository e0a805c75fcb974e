"""Access control: tenants, scopes, callers, and the format of API keys."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from service.spec.base import FrozenModel

DEFAULT_TENANT = "default"
"""The tenant of requests while there are no keys; its admins are the operators of the server."""
TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

_KEY = re.compile(r"be_([0-9a-f]{24})_[A-Za-z0-9_-]{43}")


class Scope(StrEnum):
    """What an API key allows; each scope includes those before it."""

    read = "read"  # requests that change nothing: reading, planning, predicting
    submit = "submit"  # create jobs, sweeps, data sets and models; cancel, pause and change jobs; move aliases
    admin = "admin"  # deleting

    def covers(self, needed: Scope) -> bool:
        """Whether this scope includes `needed`."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Caller:
    """The authenticated sender of a request."""

    tenant: str
    scope: Scope
    key: str | None = None  # id of the API key, if any

    @property
    def is_operator(self) -> bool:
        """Whether the caller may see statistics of the whole server."""
        return self.tenant == DEFAULT_TENANT and self.scope is Scope.admin


class Actor(FrozenModel):
    """Who made a request."""

    key: str | None
    """Id of the API key; null: the key of the server's settings, or none is needed."""
    name: str | None
    """The key's name at that time."""


def new_key(key_id: str) -> str:
    """The text of a new key: a prefix for secret scanners, the id, and 256 random bits."""
    return f"be_{key_id.removeprefix('key_')}_{secrets.token_urlsafe(32)}"


def key_id_of(key: str) -> str | None:
    """The key id within the text of a key; None if the text is not an API key of this service."""
    match = _KEY.fullmatch(key)
    return match and f"key_{match[1]}"


def digest(key: str) -> str:
    """SHA-256 of a key, which is stored. No salt or key stretching: 256 random bits cannot be guessed."""
    return hashlib.sha256(key.encode()).hexdigest()
