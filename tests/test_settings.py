"""Settings: what the environment may say, and the doors that stay closed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, free_port


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests gets in."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"BESTEPOCH_{name.upper()}", raising=False)


def test_everything_lives_in_home_unless_told_otherwise(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    assert settings.database == f"sqlite:///{tmp_path}/bestepoch.db"
    assert settings.artifacts == tmp_path / "artifacts"
    assert settings.logs == tmp_path / "logs"


def test_the_usual_home_is_in_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert Settings().home == tmp_path / ".bestepoch"


def test_a_relative_home_means_the_same_folder_from_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    assert Settings(home=Path("here")).home == tmp_path / "here"


def test_the_environment_is_read_with_the_prefix_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESTEPOCH_PORT", "9000")
    monkeypatch.setenv("PORT", "9001")
    monkeypatch.setenv("BESTEPOCH_DATABASE_URL", "postgresql://u:p@db/x")

    assert Settings().port == 9000
    assert Settings().database == "postgresql://u:p@db/x"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_none_but_this_machine_reaches_a_loopback_address(host: str) -> None:
    assert Settings(host=host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.org", ""])
def test_any_other_address_is_open_to_others(host: str) -> None:
    assert not Settings(host=host).is_loopback


def test_an_empty_key_opens_no_door(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        Settings(host="0.0.0.0", api_key="")

    monkeypatch.setenv("BESTEPOCH_API_KEY", "")
    assert Settings(host="0.0.0.0").api_key is None


def test_the_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESTEPOCH_API_KEY", "correct-horse")

    assert "correct-horse" not in repr(Settings()) + str(Settings().model_dump())


@pytest.mark.parametrize("url", ["/data/a#b?c", "file:///data/a#b?c"])
def test_artifacts_are_kept_in_the_folder_that_was_named(url: str) -> None:
    assert Settings(artifacts_url=url).artifacts == Path("/data/a#b?c")


def test_artifacts_elsewhere_than_in_a_folder_or_a_bucket_are_refused() -> None:
    with pytest.raises(ValidationError, match="give a folder, or the URL of a bucket"):
        Settings(artifacts_url="ftp://host/folder")


def test_an_object_store_has_a_cache_in_home() -> None:
    settings = Settings(home=Path("/srv/home"), artifacts_url="s3://bucket/prefix")

    assert settings.artifacts == Path("/srv/home/cache")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 65_536),
        ("trainers", -1),
        ("trainer_threads", -1),
        ("device", "tpu"),
        ("lease_seconds", 0.5),
        ("log_level", "loud"),
        ("max_queued_jobs", 0),
        ("max_parameters", 0),
    ],
)
def test_a_setting_out_of_its_bounds_stops_the_start(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Settings.model_validate({field: value})


def test_settings_cannot_change_while_the_service_runs() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port("127.0.0.1"))) as listener:
        assert listener.getsockname()[1] > 0
