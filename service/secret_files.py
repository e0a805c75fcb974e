"""Secrets in files, such as a container's, and a database URL with its password from one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit


def secret_in(path: str | Path, variable: str) -> str:
    """The content of a file, without the trailing newline; raises ValueError, which names `variable`."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{variable}: the file {path} cannot be read: {error}") from None
    if not text:
        raise ValueError(f"{variable}: the file {path} is empty")
    return text


def with_password(url: str, password: str) -> str:
    """A database URL with this password in it; raises ValueError where it has no user, or a password."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at or not user:
        raise ValueError("BESTEPOCH_DATABASE_PASSWORD_FILE needs a BESTEPOCH_DATABASE_URL with a user in it")
    if ":" in user:
        raise ValueError(
            "BESTEPOCH_DATABASE_URL has a password, and BESTEPOCH_DATABASE_PASSWORD_FILE another: give one"
        )
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))
