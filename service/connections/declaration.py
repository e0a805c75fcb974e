"""What an operator may declare: the URLs, options and secrets of each kind of connection."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from service.connections import postgres_tls
from service.domain.connection import ConnectionKind
from service.errors import Misconfigured

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True)
class _Rules:
    """The scheme, options and sets of secrets of a kind: a declaration gives one whole set, or none."""

    kind: ConnectionKind
    form: str
    options: frozenset[str] = frozenset()
    secrets: tuple[frozenset[str], ...] = ()
    required: frozenset[str] = frozenset()


def _names(*names: str) -> frozenset[str]:
    return frozenset(names)


_KEYS = _names("access_key_id", "secret_access_key")
_RULES = {
    "s3": _Rules(
        ConnectionKind.s3,
        "s3://BUCKET/PREFIX",
        _names("region", "endpoint", "ca_file"),
        (_KEYS, _KEYS | {"session_token"}),
    ),
    "gs": _Rules(ConnectionKind.gs, "gs://BUCKET/PREFIX", secrets=(_names("service_account_key"),)),
    "az": _Rules(
        ConnectionKind.az,
        "az://CONTAINER/PREFIX",
        _names("account_name", "endpoint", "ca_file"),
        (_names("account_key"), _names("sas_token")),
        _names("account_name"),
    ),
    "https": _Rules(
        ConnectionKind.https,
        "https://HOST/PATH",
        _names("ca_file"),
        (_names("token"), _names("user", "password")),
    ),
    "file": _Rules(ConnectionKind.folder, "file:///FOLDER"),
    "postgresql": _Rules(
        ConnectionKind.postgresql, "postgresql://USER@HOST:PORT/DATABASE", secrets=(_names("password"),)
    ),
}
_HOST_PARTS = "region", "account_name"  # options that become parts of a host's name
_REFUSED = _names("password", "passfile", "sslpassword", "service", "servicefile", "hostaddr", "options")
_RULES["http"] = _RULES["https"]


def check(
    name: str,
    url: str,
    options: dict[str, str],
    secrets: dict[str, str],
    *,
    allow_private: bool,
    private: Iterable[Path],
) -> ConnectionKind:
    """The kind of a declaration; raises Misconfigured saying what is wrong with it.

    `private`: folders of the service, which no connection may contain or lie in.
    """
    if NAME.fullmatch(name) is None:
        raise Misconfigured(f"the name {name!r} is not 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit")
    parts = _split(url, "the URL")
    rules = _RULES.get(parts.scheme)
    if rules is None:
        raise Misconfigured(f"{parts.scheme or url!r} is no kind of connection; there are: {', '.join(_RULES)}")
    if unknown := options.keys() - rules.options:
        raise Misconfigured(f"{rules.kind} connections have no option {min(unknown)!r}; {_listed(rules.options)}")
    if missing := rules.required - options.keys():
        raise Misconfigured(f"{rules.kind} connections need the option {min(missing)!r}")
    for option in _HOST_PARTS:
        if not re.fullmatch("[a-z0-9-]{1,63}", options.get(option, "-")):
            raise Misconfigured(f"the option {option} is not 1 to 63 of a-z, 0-9 and -: {options[option]!r}")
    if secrets and secrets.keys() not in rules.secrets:
        sets = "; or ".join(" and ".join(sorted(each)) for each in rules.secrets) or "none"
        raise Misconfigured(f"{rules.kind} connections take these secrets: {sets}")
    _check_url(parts, rules, allow_private=allow_private)
    if "endpoint" in options:
        what = "the option endpoint"
        _check_web_url(_split(options["endpoint"], what), what, allow_private=allow_private)
    if rules.kind is ConnectionKind.folder:
        _check_folder(Path(parts.path), private)
    return rules.kind


def _split(url: str, what: str) -> SplitResult:
    """The parts of a URL; raises Misconfigured for one without a valid host or port."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Misconfigured(f"{what} {url!r} is no URL") from None
    try:
        _ = parts.port
    except ValueError:
        raise Misconfigured(f"the port of {what} is no number up to 65535") from None
    return parts


def _listed(names: Iterable[str]) -> str:
    return f"there are: {', '.join(sorted(names))}" if names else "they have none"


def _check_url(parts: SplitResult, rules: _Rules, *, allow_private: bool) -> None:
    if parts.password is not None:
        raise Misconfigured("the URL holds a password, which would be stored: give it with --secret instead")
    if parts.fragment or (parts.query and rules.kind is not ConnectionKind.postgresql):
        raise Misconfigured(f"the URL has a query or a fragment; write {rules.form}")
    if rules.kind is ConnectionKind.https:
        _check_web_url(parts, "the URL", allow_private=allow_private)
    elif rules.kind is ConnectionKind.postgresql:
        _check_database(parts, rules, allow_private=allow_private)
    elif rules.kind is ConnectionKind.folder:
        if parts.netloc or not parts.path.startswith("/"):
            raise Misconfigured(f"a folder is an absolute path; write {rules.form}")
    elif not parts.netloc or parts.username or ":" in parts.netloc:
        raise Misconfigured(f"the URL names no bucket or container; write {rules.form}")
    elif "//" in parts.path:
        raise Misconfigured(f"the prefix in the URL has empty parts; write {rules.form}")


def _check_database(parts: SplitResult, rules: _Rules, *, allow_private: bool) -> None:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    query = parse_qs(parts.query)
    hosts = [*query.get("host", ()), *([parts.hostname] if parts.hostname else [])]
    if len(hosts) != 1 or "," in hosts[0] or not (parts.username and parts.path.strip("/")):
        raise Misconfigured(f"the URL lacks a user, one host or a database; write {rules.form}")
    if refused := query.keys() & _REFUSED:
        raise Misconfigured(f"the URL may not have the parameter {min(refused)}")
    try:
        declared = conninfo_to_dict(parts.geturl())
    except ProgrammingError as error:
        raise Misconfigured(f"the URL is not one of Postgres: {str(error).strip()}") from None
    public = not (allow_private or hosts[0].startswith("/"))
    if fault := postgres_tls.fault(declared, public=public):
        raise Misconfigured(f"the URL: {fault}{'; or --allow-private for a private network' if public else ''}")


def _check_web_url(parts: SplitResult, what: str, *, allow_private: bool) -> None:
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise Misconfigured(f"{what} must be https://HOST/PATH, without a user")
    if parts.scheme == "http" and not allow_private:
        raise Misconfigured(f"{what} has no TLS: use https://, or --allow-private for a server of a private network")


def _check_folder(folder: Path, private: Iterable[Path]) -> None:
    folder = folder.resolve()
    if not folder.is_dir():
        raise Misconfigured(f"there is no folder {folder}")
    for own in (path.resolve() for path in private):
        if folder == own or folder in own.parents or own in folder.parents:
            raise Misconfigured(f"the folder {folder} contains, or lies in, the service's own folder {own}")
