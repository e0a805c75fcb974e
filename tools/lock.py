"""Write the lock files of the image, with the SHA-256 of every wheel: `make lock`, after `constraints.txt` has changed.

`requirements.lock` has what the service runs with, at the versions of `constraints.txt`; `build.lock` what its wheel
is built with. Both are for the image's Python on x86_64 and aarch64, and name no package index: pip takes its own.
torch is in neither, since each of its builds (CPU, CUDA) is another wheel of the same version.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYTHON = "3.11"  # the image's
MACHINES = ("x86_64", "aarch64")
GLIBC = 41  # 2.41: Debian trixie's, which the image is made of
APART = {"torch"}
EXTRAS = ("server", "onnx", "baseline")


def constraints() -> dict[str, str]:
    """The versions of `constraints.txt`, by name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def project() -> dict[str, Any]:
    """The `[project]` table of `pyproject.toml`: newer than what is installed of it."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def needed(machine: str, with_extras: Sequence[str] = EXTRAS) -> set[str]:
    """What `bestepoch` with these extras needs on such a machine, by what the installed packages say they need."""
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{PYTHON}.0",
        "python_version": PYTHON,
        "sys_platform": "linux",
    }
    extras: dict[str, set[str]] = {}
    optional = project()["optional-dependencies"]
    texts = [*project()["dependencies"], *(text for extra in with_extras for text in optional[extra])]
    todo = [Requirement(text) for text in texts]
    todo = [each for each in todo if each.marker is None or each.marker.evaluate(environment)]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in extras and requirement.extras <= extras[name]:
            continue
        extras[name] = extras.get(name, set()) | requirement.extras
        for each in map(Requirement, requires(name) or []):
            asked = [{**environment, "extra": extra} for extra in ("", *extras[name])]
            if each.marker is None or any(map(each.marker.evaluate, asked)):
                todo.append(each)
    return set(extras) - APART


def wheels(requirements: list[str], machine: str, *options: str) -> dict[str, tuple[str, str]]:
    """(version, SHA-256) by name of the wheels that pip would install on such a machine."""
    glibc = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    platforms = [f"--platform={tag}" for tag in (*glibc, f"manylinux2014_{machine}")]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        where = ["--report", str(report), "--target", folder, "--python-version", PYTHON, "--only-binary=:all:"]
        subprocess.run([*command, *where, *platforms, *options, *requirements], check=True)
        found = json.loads(report.read_text())["install"]
    for each in found:
        if each["download_info"]["url"].startswith("file:"):  # who knows how that one was built
            how = "unset PIP_FIND_LINKS, and set PIP_CONFIG_FILE=/dev/null where that names one"
            raise SystemExit(f"{each['metadata']['name']} was found in a folder of this machine: {how}")
    return {
        canonicalize_name(each["metadata"]["name"]): (
            each["metadata"]["version"],
            each["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for each in found
    }


def lock(file: str, found: dict[str, dict[str, tuple[str, str]]]) -> None:
    """Write what was found for each machine."""
    lines = [f"# Written by `make lock` for Python {PYTHON} on Linux, {' and '.join(MACHINES)}."]
    for name in sorted({name for each in found.values() for name in each}):
        there = [machine for machine in MACHINES if name in found[machine]]
        (version,) = {found[machine][name][0] for machine in there}
        marker = "" if len(there) == len(MACHINES) else f' ; platform_machine == "{there[0]}"'
        hashes = sorted({found[machine][name][1] for machine in there})
        lines.append(" \\\n    ".join([f"{name}=={version}{marker}", *(f"--hash=sha256:{each}" for each in hashes)]))
    (ROOT / file).write_text("\n".join(lines) + "\n")


def main() -> None:
    """Write both files."""
    pins = constraints()
    run = {m: wheels([f"{n}=={pins[n]}" for n in sorted(needed(m))], m, "--no-deps") for m in MACHINES}
    lock("requirements.lock", run)
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    lock("build.lock", {m: wheels(backend, m, "-c", str(ROOT / "constraints.txt")) for m in MACHINES})


if __name__ == "__main__":
    main()
