"""The files that install and deploy the service agree with the service."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service.cli.demo import TABLE, table_file
from service.settings import Settings
from tools.lock import MACHINES, constraints, needed, project

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
"""(what it is built from, its name) of each stage of the Dockerfile, in order."""


def test_constraints_pin_every_dependency_within_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.replace("_", "-").split("==") for line in lines if not line.startswith("#"))

    extras = [text for texts in project()["optional-dependencies"].values() for text in texts]
    for requirement in map(Requirement, [*project()["dependencies"], *extras]):
        if requirement.name == "bestepoch":
            continue  # an extra that includes another
        assert requirement.specifier.contains(pins[requirement.name]), requirement


@pytest.mark.parametrize("file", ["docker-compose.yml", "Dockerfile"])
def test_every_variable_that_a_container_sets_is_a_setting(file: str) -> None:
    named = set(re.findall(r"\bBESTEPOCH_([A-Z_]+)", (ROOT / file).read_text()))

    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_compose_passes_on_every_setting_that_it_does_not_make_itself() -> None:
    made = {"home", "database_url", "artifacts_url", "host", "port"}  # the image's, this file's, the ports' own
    secret = {"api_key", "api_key_file", "artifacts_credentials_file", "database_password_file"}

    for name in ("api", "worker"):
        environment = SERVICES[name]["environment"]
        passed = {key for key, value in environment.items() if value is None}  # as the shell or .env has it, if it does
        assert passed == {f"BESTEPOCH_{field.upper()}" for field in set(Settings.model_fields) - made - secret}


def test_secrets_are_files_that_each_container_gets_as_it_needs_them() -> None:
    given = {name: service["secrets"] for name, service in SERVICES.items()}
    named = {
        name: {value for value in service["environment"].values() if str(value).startswith("/run/secrets/")}
        for name, service in SERVICES.items()
    }

    assert given == {
        **{name: ["postgres_password"] for name in ("postgres", "migrate", "worker")},
        "api": ["postgres_password", "api_key"],
    }
    assert named == {name: {f"/run/secrets/{secret}" for secret in secrets} for name, secrets in given.items()}
    # From files: Compose has no way to give a variable as a secret to a container whose root is read-only.
    assert {name: list(secret) for name, secret in COMPOSE["secrets"].items()} == {
        "postgres_password": ["file"],
        "api_key": ["file"],
    }
    assert not re.search(r"\$\{\w*(PASSWORD|KEY)\w*", (ROOT / "docker-compose.yml").read_text())


def test_no_container_has_more_rights_or_room_than_it_needs() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "pids_limit"} <= set(service), name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert any(mount.startswith("/tmp:size=") for mount in service["tmpfs"]), name
    added = {name: service["cap_add"] for name, service in SERVICES.items() if "cap_add" in service}
    assert added == {"postgres": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]}  # of an image's own start


def test_every_image_can_be_given_by_digest() -> None:
    default = re.findall(r"^ARG PYTHON_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE)

    assert {image for image, _ in STAGES} - {stage for _, stage in STAGES} == {"${PYTHON_IMAGE}"}
    assert default == ["python:3.11-slim"]
    assert SERVICES["api"]["build"]["args"]["PYTHON_IMAGE"] == f"${{PYTHON_IMAGE:-{default[0]}}}"
    assert SERVICES["postgres"]["image"] == "${POSTGRES_IMAGE:-postgres:18}"


def locked(file: str) -> dict[str, tuple[Requirement, list[str]]]:
    """(what is asked for, SHA-256 of its wheels) by name."""
    lines = [line for line in (ROOT / file).read_text().replace("\\\n", "").splitlines() if line[0] != "#"]
    parts = [line.split("--hash=sha256:") for line in lines]
    return {
        canonicalize_name(Requirement(first).name): (Requirement(first), [each.strip() for each in hashes])
        for first, *hashes in parts
    }


def test_the_images_lock_has_a_hash_for_all_that_the_service_needs_at_the_tested_versions() -> None:
    pins, found = constraints(), locked("requirements.lock")

    assert {machine: needed(machine) - set(found) for machine in MACHINES} == {machine: set() for machine in MACHINES}
    assert set(found) == set().union(*map(needed, MACHINES))
    for name, (requirement, hashes) in found.items():
        assert str(requirement.specifier) == f"=={pins[name]}", f"{name}: run `make lock`"
        assert 1 <= len(hashes) <= len(MACHINES)
        assert all(re.fullmatch("[0-9a-f]{64}", each) for each in hashes)
    apart = {name for name, (requirement, _) in found.items() if requirement.marker}
    assert apart == needed("x86_64") ^ needed("aarch64")


def test_what_the_image_is_built_with_is_locked_too() -> None:
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pins, found = constraints(), locked("build.lock")

    for text in backend:
        requirement = Requirement(text)
        assert next(iter(found[requirement.name][0].specifier)).version in requirement.specifier
    assert all(hashes for _, hashes in found.values())
    assert {name for name in set(found) & set(pins) if str(found[name][0].specifier) != f"=={pins[name]}"} == set()


def test_the_image_installs_nothing_but_torch_without_a_hash() -> None:
    dockerfile = DOCKERFILE.replace("\\\n", " ")
    installs = re.findall(r"pip install (.*?)(?:&&|;|$)", dockerfile, re.MULTILINE)

    hashed = ["--require-hashes", "--no-deps", "-r"]
    package = "'bestepoch[server,onnx,baseline]'"
    local = ["--no-index", "--find-links", "/source/wheels", package]  # fails if one is missing
    free = [line.split() for line in installs if line.split()[:3] != hashed and line.split() != local]
    assert [words[:2] + words[-1:] for words in free] == [["-c", "constraints.txt", "torch"]] * 2
    assert "pip wheel --no-build-isolation --no-deps" in dockerfile


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
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied == allowed
    assert re.findall(r"^USER (\w+)", DOCKERFILE, re.MULTILINE) == ["bestepoch"]


def last_stage(name: str) -> list[str]:
    """The instructions of an image, of the stages before it too, but for those of the stages that build."""
    stages = {
        stage: lines
        for lines in re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)[1:]
        for stage in [lines.split()[3]]
    }
    found = stages[name].splitlines()[1:]
    base = dict(map(reversed, STAGES))[name]
    return (last_stage(base) if base in stages else []) + found


def test_there_is_an_image_for_the_api_one_for_workers_and_one_for_both() -> None:
    commands = {
        name: json.loads([line for line in last_stage(name) if line.startswith("CMD ")][-1].removeprefix("CMD "))
        for name in ("worker", "api", "all-in-one")
    }

    assert commands == {
        "worker": ["bestepoch", "worker"],
        "api": ["bestepoch", "api", "--host", "0.0.0.0"],
        "all-in-one": ["bestepoch", "serve", "--host", "0.0.0.0"],
    }
    assert STAGES[-1][1] == "all-in-one"  # what is built where no --target is named
    for name in commands:
        assert "USER bestepoch" in last_stage(name)
        assert not any(line.startswith("RUN ") and "pip" in line for line in last_stage(name))
    assert not any(line.startswith(("HEALTHCHECK", "EXPOSE")) for line in last_stage("worker"))


def test_the_image_of_workers_lacks_what_the_api_alone_imports() -> None:
    dockerfile = DOCKERFILE.replace("\\\n", " ")
    (removed,) = re.findall(r"pip uninstall --yes (.*?) &&", dockerfile)
    everything = set().union(*(needed(machine) for machine in MACHINES))
    server = set().union(*(needed(machine, ["server"]) for machine in MACHINES))

    assert set(removed.split()) == everything - server


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

    commands = (
        "help setup demo serve test-fast test e2e examples faults chaos fuzz browser generated cluster check bench lock"
    )
    assert re.findall(r"make ([\w-]+)", listing) == commands.split()


def test_make_says_so_when_python_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "setup", f"PYTHON={old}", "--assume-new=pyproject.toml"]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert "Python 3.8.1" in result.stderr
