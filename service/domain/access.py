"""Who may come in and what for: tenants, scopes, and keys as they are written."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_TENANT = "default"
"""Whose everything is until there are keys for others; its admins are the server's operators."""
TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

_KEY = re.compile(r"be_([0-9a-f]{24})_[A-Za-z0-9_-]{43}")


class Scope(StrEnum):
    """What a key allows; each allows what those before it do."""

    read = "read"  # all that changes nothing: reading, planning, predicting
    submit = "submit"  # new jobs, sweeps and data sets, and jobs under way
    admin = "admin"  # deleting

    def covers(self, needed: Scope) -> bool:
        """Whether this allows what `needed` does."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Caller:
    """Who sends a request."""

    tenant: str
    scope: Scope
    key: str | None = None  # the id of the key, where it has one

    @property
    def is_operator(self) -> bool:
        """Whether the server's own figures are theirs to see."""
        return self.tenant == DEFAULT_TENANT and self.scope is Scope.admin


def new_key(key_id: str) -> str:
    """The text of a new key with this id: a prefix that scanners for leaked secrets can find, the id, 256 random
    bits."""
    return f"be_{key_id.removeprefix('key_')}_{secrets.token_urlsafe(32)}"


def key_id_of(key: str) -> str | None:
    """The id that the text of a key names; None where it is no key of ours."""
    match = _KEY.fullmatch(key)
    return match and f"key_{match[1]}"


def digest(key: str) -> str:
    """What is stored of a key: its SHA-256. No salt or stretching: nobody guesses 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()
