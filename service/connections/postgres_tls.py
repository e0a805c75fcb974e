"""TLS of a database's connection: a public host needs it, and a declared authority must sign for the host's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from service.connections.addresses import is_public

WITHOUT_TLS = "disable", "allow", "prefer"
MODES = (*WITHOUT_TLS, "require", "verify-ca", "verify-full")
VERIFIED = "verify-full"


def parameters(declared: Mapping[str, Any], addresses: Iterable[str]) -> dict[str, str]:
    """What libpq needs beside the `declared` parameters of a URL whose host has these addresses; none for a socket."""
    if "sslmode" in declared:
        return {}
    if "sslrootcert" in declared:
        return {"sslmode": VERIFIED}
    return {"sslmode": "require"} if any(map(is_public, addresses)) else {}


def fault(declared: Mapping[str, Any], *, public: bool) -> str | None:
    """What is wrong with the declared `sslmode`, for a host with a public address or another; None if nothing is."""
    mode = declared.get("sslmode")
    if mode is None:
        return None
    if mode not in MODES:
        return f"sslmode={mode} is none of {', '.join(MODES)}"
    if public and "sslrootcert" in declared and mode != VERIFIED:
        return f"a public host with sslrootcert needs sslmode={VERIFIED}, or the certificate of any host would do"
    if public and mode in WITHOUT_TLS:
        return (
            f"sslmode={mode} may send rows and password without TLS to a public host: write sslmode=require, or "
            f"sslmode={VERIFIED} with sslrootcert=/FILE"
        )
    return None
