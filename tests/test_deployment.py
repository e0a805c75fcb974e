"""The files that install and deploy the service agree with the service."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from service.cli.demo import TABLE, table_file
from service.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_constraints_pin_every_dependency_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.replace("_", "-").split("==") for line in lines if not line.startswith("#"))

    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *extras["dev"], *extras["browser"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[requirement.name]), text


@pytest.mark.parametrize("file", ["docker-compose.yml", "Dockerfile"])
def test_every_variable_that_a_container_sets_is_a_setting(file: str) -> None:
    named = set(re.findall(r"\bBESTEPOCH_([A-Z_]+)", (ROOT / file).read_text()))

    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_compose_passes_on_every_setting_that_it_does_not_make_itself() -> None:
    made = {"home", "database_url", "artifacts_url", "host", "port"}  # the image's, this file's, the ports' own

    for name in ("api", "worker"):
        environment = SERVICES[name]["environment"]
        passed = {key for key, value in environment.items() if value is None}  # as the shell or .env has it, if it does
        assert passed == {f"BESTEPOCH_{field.upper()}" for field in set(Settings.model_fields) - made - {"api_key"}}
    assert "BESTEPOCH_API_KEY" not in SERVICES["worker"]["environment"]


def test_no_secret_has_a_default() -> None:
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|KEY)\w*)(:\?)?", (ROOT / "docker-compose.yml").read_text())

    assert {name for name, _ in secrets} == {"POSTGRES_PASSWORD", "BESTEPOCH_API_KEY"}
    assert all(required for _, required in secrets)


def test_only_the_api_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"api": ["${API_BIND:-127.0.0.1:8000}:8000"]}


def test_api_and_workers_wait_for_the_migration_and_share_their_artifacts() -> None:
    for name in ("api", "worker"):
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
        assert SERVICES[name]["environment"]["BESTEPOCH_ARTIFACTS_URL"] == "/data/artifacts"
        assert SERVICES[name]["volumes"] == ["data:/data"]
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert set(COMPOSE["volumes"]) == {"postgres", "data"}


def test_workers_can_be_scaled() -> None:
    assert not {"container_name", "ports", "hostname"} & set(SERVICES["worker"])


def test_the_image_runs_as_an_ordinary_user_and_ships_only_what_it_copies() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+)", dockerfile, re.MULTILINE) for name in line.split()[:-1]
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied == allowed
    assert re.findall(r"^USER (\w+)", dockerfile, re.MULTILINE) == ["bestepoch"]


def test_a_wheel_holds_its_files_where_a_checkout_does_but_within_the_package() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    forced = build["wheel"]["force-include"]

    assert forced == {source: f"service/{source}" for source in forced}
    assert {"migrations", TABLE} == set(forced)
    assert all((ROOT / source).exists() for source in forced)
    assert table_file() == ROOT / TABLE


def test_a_source_distribution_holds_all_that_a_checkout_does() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]

    assert "sdist" not in targets  # the tests read nearly every file


def test_make_lists_its_commands() -> None:
    listing = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert re.findall(r"make (\w+)", listing) == [
        *("help", "setup", "demo", "serve", "test", "faults", "chaos", "fuzz", "browser", "generated", "check", "bench")
    ]


def test_make_says_so_when_python_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "setup", f"PYTHON={old}", "--assume-new=pyproject.toml"]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert "Python 3.8.1" in result.stderr
