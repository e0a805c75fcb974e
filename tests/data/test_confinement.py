"""The sandbox of child processes: what a compromised reader can access."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.data.processes import runner
from service.data.processes.confinement import landlock_version
from service.data.processes.runner import Allowance, ask
from tests.data.hostile_reader import Asked, Seen
from tests.processes import linux_only

ALLOWED = Allowance(memory_bytes=2**28, unpacked_bytes=2**20, seconds=60, environment={"TZ": "Asia/Tokyo"})
READERS = [path for path in Path(runner.__file__).parent.glob("*.py") if "\n    respond(" in path.read_text()]
needs_landlock = pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is no business of the child's."""
    folder = tmp_path_factory.mktemp("others")
    (folder / "old").touch()
    (folder / "secret").write_bytes(b"secret")
    return folder / "secret"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, secret: Path) -> Iterator[Seen]:
    """Findings of a hostile child; its parent has secrets, open files, and a listening socket."""
    given, scratch = tmp_path_factory.mktemp("given") / "source", tmp_path_factory.mktemp("scratch")
    given.write_bytes(b"a,b\n")
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as server, secret.open() as file:
        patch.setenv("BESTEPOCH_API_KEY", "correct-horse-battery-staple")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        os.set_inheritable(file.fileno(), True)
        request = Asked(
            given=given, target=scratch / "out", port=server.getsockname()[1], elsewhere=str(secret.absolute())
        )
        yield Seen.model_validate(ask("tests.data.hostile_reader", request, ALLOWED))


def test_its_environment_has_nothing_secret(seen: Seen) -> None:
    modules = {"PYTHONPATH", "TMPDIR", "TZ", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}

    assert set(seen.environment) - {"LC_CTYPE"} == modules  # Python itself sets LC_CTYPE where there is no locale
    assert seen.environment["TZ"] == "Asia/Tokyo"


@linux_only
def test_it_works_in_scratch_without_the_files_of_its_parent(seen: Seen) -> None:
    assert Path(seen.folder).name.startswith("scratch")
    assert seen.handles == 4  # standard input, output and error, and the folder that is being listed
    assert seen.core_bytes == 0


@linux_only
def test_it_can_get_no_new_privileges(seen: Seen) -> None:
    assert seen.privileges == "1"


@needs_landlock
def test_the_child_accesses_only_the_files_of_its_request(seen: Seen, secret: Path) -> None:
    allowed = {"read what it was given", "write where it was told to"}
    since = {"connect": 4, "listen": 4, "signal whoever started it": 6}
    not_yet = {name for name, version in since.items() if landlock_version() < version}

    assert set(seen.done) - not_yet == allowed
    assert secret.read_bytes() == b"secret"
    assert {path.name for path in secret.parent.iterdir()} == {"old", "secret"}


@needs_landlock
def test_a_child_with_the_network_accesses_no_more_files(secret: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, given = server.getsockname()[1], tmp_path / "given"
        given.touch()
        request = Asked(given=given, target=tmp_path / "new" / "out", port=port, elsewhere=str(secret.absolute()))
        (tmp_path / "new").mkdir()
        done = Seen.model_validate(ask("tests.data.hostile_reader", request, ALLOWED, network=True)).done

    reached = {"read what it was given", "write where it was told to", "connect", "listen"}
    not_yet = {"signal whoever started it"} if landlock_version() < 6 else set()
    assert set(done) - not_yet == reached


@pytest.mark.parametrize("reader", READERS, ids=lambda path: path.stem)
def test_libraries_are_imported_before_the_sandbox_starts(reader: Path) -> None:
    nodes = list(ast.walk(ast.parse(reader.read_text())))
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "respond"]
    named = ["sys", *(ast.literal_eval(argument) for argument in calls[0].args[1:])]
    used = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.col_offset} | {"sys"}

    code = f"import {', '.join(named)}; print({used} - sys.modules.keys())"
    late = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert late.stdout == b"set()\n"
