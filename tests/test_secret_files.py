"""Secrets from files: equivalent to the environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url
from typer.testing import CliRunner

from service.cli import app
from service.cli.startup import read_settings
from service.errors import Misconfigured
from service.settings import Settings

URL = "postgresql://bird@db.example:5433/nest?sslmode=require"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"BESTEPOCH_{name.upper()}", raising=False)


def secret(tmp_path: Path, text: str) -> str:
    path = tmp_path / "secret"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_line_ending_of_an_api_key_file_is_stripped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("BESTEPOCH_API_KEY_FILE", secret(tmp_path, f" correct-horse battery{end}"))

    key = Settings().api_key

    assert key is not None
    assert key.get_secret_value() == " correct-horse battery"
    assert "correct-horse" not in repr(Settings()) + str(Settings().model_dump())


def test_a_password_file_with_any_characters_is_part_of_the_database_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BESTEPOCH_DATABASE_URL", URL)
    monkeypatch.setenv("BESTEPOCH_DATABASE_PASSWORD_FILE", secret(tmp_path, "a:b/c@d %41#?é\n"))

    assert make_url(Settings().database) == make_url(URL).set(password="a:b/c@d %41#?é")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"API_KEY": "correct-horse", "API_KEY_FILE": "FILE"}, "BESTEPOCH_API_KEY and BESTEPOCH_API_KEY_FILE are both"),
        ({"API_KEY_FILE": "/nowhere/key"}, "BESTEPOCH_API_KEY_FILE: the file /nowhere/key cannot be read"),
        ({"API_KEY_FILE": "EMPTY"}, "is empty"),
        ({"DATABASE_PASSWORD_FILE": "FILE"}, "needs a BESTEPOCH_DATABASE_URL with a user"),
        ({"DATABASE_PASSWORD_FILE": "FILE", "DATABASE_URL": "sqlite:////data/x.db"}, "needs a BESTEPOCH_DATABASE_URL"),
        ({"DATABASE_PASSWORD_FILE": "FILE", "DATABASE_URL": "postgresql://u:p@h/x"}, "has a password"),
    ],
)
def test_invalid_secret_files_are_rejected_without_printing_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    files = {"FILE": secret(tmp_path, "battery-staple"), "EMPTY": str(tmp_path / "empty")}
    for name, value in variables.items():
        monkeypatch.setenv(f"BESTEPOCH_{name}", files.get(value, value))

    with pytest.raises(Misconfigured, match=said) as refused:
        read_settings()

    assert not {"battery-staple", "correct-horse"} & set(str(refused.value).split())
    assert CliRunner().invoke(app, ["migrate"]).exit_code != 0


def test_settings_made_in_code_accept_secret_files(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="both set"):
        Settings(api_key="x", api_key_file=Path(secret(tmp_path, "y")))
