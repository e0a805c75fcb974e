"""The units of systemd and the script of Slurm: valid, confined, agreed with the service, and with time to stop."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from service.cli import app
from service.cli.api_processes import DRAIN_SECONDS
from service.cli.startup import COLLECTOR_STOP_SECONDS
from service.settings import Settings

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
ENVIRONMENT = (ROOT / "deploy/systemd/bestepoch.env").read_text()
SLURM = ROOT / "deploy/slurm/workers.sbatch"
SERVICES = {"bestepoch.service": "serve", "bestepoch-api.service": "api", "bestepoch-worker.service": "worker"}

each_unit = pytest.mark.parametrize("unit", UNITS, ids=[path.stem for path in UNITS])


def lines(unit: Path, section: str) -> Iterator[tuple[str, str]]:
    """(name, value) of each line of a section; a name may be there several times."""
    (text,) = re.findall(rf"^\[{section}\]$(.*?)(?=^\[|\Z)", unit.read_text(), re.DOTALL | re.MULTILINE)
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name, value


def service_of(unit: Path) -> dict[str, str]:
    """The lines of [Service] that are there once."""
    found = list(lines(unit, "Service"))
    names = [name for name, _ in found]
    return {name: value for name, value in found if names.count(name) == 1}


def notice(command: str) -> float:
    """The seconds that a worker of this command takes at most to save its jobs."""
    given = re.findall(r"--drain-seconds (\d+)", command)
    return float(given[0]) if given else float(Settings.model_fields["drain_seconds"].default)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze (Debian's package systemd)")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "bestepoch"
    for unit in UNITS:
        text = unit.read_text()
        assert "ExecStart=/opt/bestepoch/bin/bestepoch " in text
        (tmp_path / unit.name).write_text(text.replace("/opt/bestepoch/bin/bestepoch", str(program)))
    units = [str(tmp_path / unit.name) for unit in UNITS]

    result = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "")
    for unit in units:
        graded = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit]
        assert subprocess.run(graded, capture_output=True).returncode == 0, unit  # 2.0 of 10 at most


def test_every_unit_runs_a_command_of_the_service() -> None:
    found = {unit.name: service_of(unit)["ExecStart"].split() for unit in UNITS}
    (of_slurm,) = re.findall(r"^exec (.*)$", SLURM.read_text(), re.MULTILINE)

    assert {unit: words[1] for unit, words in found.items()} == {**SERVICES, "bestepoch-migrate.service": "migrate"}
    assert {words[0] for words in found.values()} == {"/opt/bestepoch/bin/bestepoch"}
    for _, name, *arguments in [*found.values(), of_slurm.split()]:
        typer.main.get_group(app).commands[name].make_context(name, arguments)  # raises for an unknown option


def test_api_and_worker_start_after_the_migration_and_try_until_it_has_run() -> None:
    for name in ("bestepoch-api.service", "bestepoch-worker.service"):
        unit = dict(lines(ROOT / "deploy/systemd" / name, "Unit"))
        assert "bestepoch-migrate.service" in unit["After"].split()
        assert "bestepoch-migrate.service" in unit["Wants"].split()
        assert unit["StartLimitIntervalSec"] == "0"
        assert service_of(ROOT / "deploy/systemd" / name)["Restart"] == "always"


@pytest.mark.parametrize("name", SERVICES)
def test_services_stop_in_order_and_have_the_time(name: str) -> None:
    service = service_of(ROOT / "deploy/systemd" / name)

    assert service["KillMode"] == "mixed"  # the signal is for the main process, which stops the others
    needed = notice(service["ExecStart"]) + 2 * COLLECTOR_STOP_SECONDS
    assert int(service["TimeoutStopSec"]) >= max(needed, DRAIN_SECONDS)


@each_unit
def test_units_are_confined_alike(unit: Path) -> None:
    def confinement(path: Path) -> list[tuple[str, str]]:
        found = list(lines(path, "Service"))
        return found[found.index(("UMask", "0077")) : found.index(("SystemCallErrorNumber", "EPERM")) + 1]

    service = service_of(unit)
    assert service["DynamicUser"] == "yes"
    assert service["StateDirectory"] == unit.stem
    assert confinement(unit) == confinement(UNITS[0])
    assert ("Environment", f"BESTEPOCH_HOME=%S/{unit.stem}") in list(lines(unit, "Service"))


@each_unit
def test_secrets_are_credentials_and_variables_are_settings(unit: Path) -> None:
    given = list(lines(unit, "Service"))
    variables = dict(value.split("=", 1) for name, value in given if name == "Environment")
    credentials = dict(value.split(":", 1) for name, value in given if name == "LoadCredential")
    written = dict(line.split("=", 1) for line in ENVIRONMENT.splitlines() if not line.startswith("#"))

    assert {value.removeprefix("%d/") for value in variables.values() if value.startswith("%d/")} == set(credentials)
    assert all(path == f"/etc/bestepoch/{name}" for name, path in credentials.items())
    assert not {"BESTEPOCH_API_KEY", "BESTEPOCH_DATABASE_PASSWORD_FILE"} & set(written)
    assert {*variables, *written} <= {f"BESTEPOCH_{field.upper()}" for field in Settings.model_fields}


def test_slurm_gives_a_worker_time_to_stop() -> None:
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", SLURM.read_text(), re.MULTILINE))
    (signal,) = re.findall(r"B:TERM@(\d+)", options["signal"])

    assert int(signal) >= notice(SLURM.read_text()) + 2 * COLLECTOR_STOP_SECONDS
    assert "requeue" in options
    assert os.access(SLURM, os.X_OK)
    assert subprocess.run(["bash", "-n", SLURM]).returncode == 0
