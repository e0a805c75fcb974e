"""`bestepoch connections`: declare, list, test and remove."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.domain.access import DEFAULT_TENANT
from service.errors import ServiceError
from service.store import connections
from service.store.engine import Database


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BESTEPOCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    folder = tmp_path / "lake"
    folder.mkdir()
    (folder / "a.csv").write_text("a,b\n1,2\n")
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["connections", *arguments])


def test_a_connection_is_declared_listed_tested_and_removed(home: Path, lake: Path) -> None:
    added = run("add", "lake", lake.as_uri())
    listed = run("list").stdout
    tested = run("test", "lake", "--path", "*.csv")
    removed = run("remove", "lake")

    assert (added.exit_code, added.stdout) == (0, "lake: folder, all tenants\n")
    assert listed.split() == ["lake", "*", "folder", lake.as_uri()]
    assert tested.stdout.split() == ["8", "a.csv", "lake", "answers"]
    assert removed.exit_code == 0
    assert run("list").stdout == ""
    assert isinstance(run("remove", "lake").exception, ServiceError)


def test_the_database_has_references_to_secrets_and_its_tenant(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct-horse-battery-staple\n")
    arguments = ["add", "dwh", "postgresql://me@db.example/sales", "--tenant", "birds", "--allow-private"]

    assert run(*arguments, "--secret", f"password=file:{secret}").exit_code == 0

    database = Database(f"sqlite:///{home / 'bestepoch.db'}")
    with database.reading() as connection:
        [found] = connections.find(connection)
        assert connections.find(connection, DEFAULT_TENANT) == []
    database.close()
    assert (found.tenant, found.allow_private) == ("birds", True)
    assert found.secrets == {"password": f"file:{secret}"}
    assert not any(b"battery" in file.read_bytes() for file in home.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "lake", "s3://bucket", "--secret", "access_key_id=AKIA", "--secret", "secret_access_key=x"],
        ["add", "lake", "s3://bucket", "--option", "region"],
        ["add", "lake", "s3://bucket", "--tenant", "Birds"],
        ["add", "lake", "ftp://host"],
        ["test", "gone"],
    ],
)
def test_a_faulty_command_stores_nothing(home: Path, arguments: list[str]) -> None:
    result = run(*arguments)

    assert result.exit_code != 0
    assert run("list").stdout == ""


def test_a_second_connection_of_a_name_is_refused(home: Path, lake: Path) -> None:
    run("add", "lake", lake.as_uri())

    assert "remove it first" in str(run("add", "lake", "s3://bucket").exception)
    assert run("add", "lake", "s3://bucket", "--tenant", "birds").exit_code == 0


def test_a_connection_that_cannot_be_read_fails_its_test(home: Path, lake: Path) -> None:
    run("add", "lake", lake.as_uri())

    assert "there is no file 'gone.csv'" in str(run("test", "lake", "--path", "gone.csv").exception)
    assert "takes --query" in str(run("test", "lake", "--query", "SELECT 1").exception)
    assert "should be relative" in str(run("test", "lake", "--path", "../x").exception)
