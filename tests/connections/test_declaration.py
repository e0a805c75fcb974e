"""What an operator may declare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.connections.declaration import check
from service.domain.connection import ConnectionKind
from service.errors import Misconfigured


def kind_of(url: str, *, name: str = "lake", allow_private: bool = False, private: Any = (), **fields: Any) -> str:
    options, secrets = fields.get("options", {}), fields.get("secrets", {})
    return check(name, url, options, secrets, allow_private=allow_private, private=private)


@pytest.mark.parametrize(
    ("url", "kind", "fields"),
    [
        ("s3://bucket", ConnectionKind.s3, {}),
        (
            "s3://bucket/a/b",
            ConnectionKind.s3,
            {"options": {"region": "eu-central-1", "endpoint": "https://s3.example"}},
        ),
        ("s3://bucket", ConnectionKind.s3, {"secrets": {"access_key_id": "env:A", "secret_access_key": "env:B"}}),
        ("gs://bucket/x", ConnectionKind.gs, {"secrets": {"service_account_key": "file:/key.json"}}),
        ("az://container", ConnectionKind.az, {"options": {"account_name": "a"}, "secrets": {"sas_token": "env:S"}}),
        ("https://data.example/x/", ConnectionKind.https, {"secrets": {"token": "env:T"}}),
        ("http://data.internal/x", ConnectionKind.https, {"allow_private": True}),
        ("postgresql://me@db.example/sales", ConnectionKind.postgresql, {"secrets": {"password": "env:P"}}),
        ("postgresql://me@/sales?host=/run/postgresql", ConnectionKind.postgresql, {}),
        ("postgresql://me@db.example/sales?sslmode=verify-full&sslrootcert=/ca.pem", ConnectionKind.postgresql, {}),
        ("postgresql://me@db.internal/sales?sslmode=disable", ConnectionKind.postgresql, {"allow_private": True}),
    ],
)
def test_kinds_are_declared_by_their_url(url: str, kind: ConnectionKind, fields: dict[str, Any]) -> None:
    assert kind_of(url, **fields) is kind


@pytest.mark.parametrize(
    ("url", "fields", "message"),
    [
        ("s3://bucket", {"name": "A b"}, "the name 'A b'"),
        ("ftp://host/x", {}, "'ftp' is no kind of connection"),
        ("s3://bucket", {"options": {"regoin": "x"}}, "no option 'regoin'"),
        (
            "s3://bucket",
            {"secrets": {"access_key_id": "env:A"}},
            "access_key_id and secret_access",
        ),
        ("s3://", {}, "names no bucket"),
        ("s3://key:secret@bucket", {}, "holds a password"),
        ("s3://bucket", {"options": {"endpoint": "http://s3.internal"}}, "has no TLS"),
        ("az://container", {}, "need the option 'account_name'"),
        ("https://user:word@host/", {}, "holds a password"),
        ("https://user@host/", {}, "without a user"),
        ("https://host/x?token=1", {}, "has a query"),
        ("http://host/x", {}, "has no TLS"),
        ("postgresql://db.example/sales", {}, "lacks a user"),
        ("postgresql://me@a,b/sales", {}, "one host"),
        ("postgresql://me@db.example/sales?password=x", {}, "may not have the parameter password"),
        ("postgresql://me@db.example/sales?hostaddr=127.0.0.1", {}, "may not have the parameter hostaddr"),
        ("postgresql://me@db.example/sales?sslmode=prefer", {}, "without TLS"),
        ("postgresql://me@db.example/sales?sslmode=require&sslrootcert=/ca.pem", {}, "needs sslmode=verify-full"),
        ("postgresql://me@db.example/sales?nonsense=1", {}, "nonsense"),
        ("postgresql://me@db.example:99999/sales", {}, "the port"),
        ("https://host:99999/x", {}, "the port"),
        ("https://[::1/x", {}, "is no URL"),
        ("s3://bucket/a//b", {}, "empty parts"),
        ("s3://bucket", {"options": {"region": "eu central"}}, "the option region"),
        ("az://container", {"options": {"account_name": "Me!"}}, "the option account_name"),
        ("file://relative/x", {}, "absolute path"),
        ("file:///no/such/folder", {}, "there is no folder"),
    ],
)
def test_a_declaration_with_a_fault_is_refused(url: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Misconfigured, match=message):
        kind_of(url, **fields)


def test_a_folder_may_not_hold_or_lie_in_those_of_the_service(tmp_path: Path) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    for folder in (home / "artifacts", data):
        folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)

    assert kind_of(data.as_uri(), private=[home]) is ConnectionKind.folder
    for folder in (tmp_path, home, home / "artifacts", tmp_path / "link"):
        with pytest.raises(Misconfigured, match="the service's own folder"):
            kind_of(folder.as_uri(), private=[home])
