"""`bestepoch keys create`, `list` and `revoke`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.errors import ServiceError
from service.store import keys
from service.store.engine import Database


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BESTEPOCH_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def test_a_created_key_is_printed_once_with_its_tenant_scope_and_expiry(home: Path) -> None:
    made = run("create", "--tenant", "birds", "--scope", "read", "--expires", "90", "--name", "night script")
    text = made.stdout.strip()
    listed = run("list").stdout

    assert made.exit_code == 0
    assert "scope read, tenant birds" in made.stderr
    assert "\n" not in text
    assert text not in listed + made.stderr
    assert listed.split()[1:4] == ["birds", "read", "valid"]
    assert listed.endswith("night script\n")
    database = Database(f"sqlite:///{home / 'bestepoch.db'}")
    with database.reading() as connection:
        caller = keys.authenticate(connection, text)
        (known,) = keys.find(connection)
    database.close()
    assert (caller.tenant, caller.scope, caller.key) == ("birds", "read", known.id)
    assert known.expires_at is not None
    assert abs(known.expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=1)
    assert not any(text[-43:].encode() in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_a_revoked_key_is_listed_as_revoked(home: Path) -> None:
    run("create", "--tenant", "one")
    run("create", "--tenant", "two")
    first = run("list", "--tenant", "one").stdout.split()[0]

    assert run("revoke", first).stdout == f"{first} is revoked\n"
    assert run("revoke", first).exit_code == 0
    assert [line.split()[3] for line in run("list").stdout.splitlines()] == ["revoked", "valid"]
    assert isinstance(run("revoke", "key_0").exception, ServiceError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tenant", "Birds of prey"), "is not 1 to 63 of"),
        (("--tenant", ""), "is not 1 to 63 of"),
        (("--expires", "2020-01-01"), "is in the past"),
        (("--expires", "soon"), "is neither days nor a date"),
        (("--expires", "0"), "is in the past"),
        (("--expires", "99999999999999"), "is neither days nor a date"),
        (("--scope", "root"), "'root' is not one of 'read', 'submit', 'admin'"),
    ],
)
def test_invalid_options_are_rejected(home: Path, arguments: tuple[str, ...], message: str) -> None:
    ended = run("create", *arguments)

    assert ended.exit_code == 2
    assert message in " ".join(ended.stderr.replace("│", " ").split())
    assert run("list").stdout == ""
