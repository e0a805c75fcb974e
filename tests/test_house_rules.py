"""The rules of this source: which room imports which, what is never called, how long things may get."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT_IMPORTS = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
ALLOWED: dict[str, set[str]] = {  # package or library -> who may import it
    name.removeprefix("service."): {importer.removeprefix("service.") for importer in contract["allowed_importers"]}
    for contract in CONTRACTS
    if contract["type"] == "protected"
    for name in contract["protected_modules"]
}
ROOMS = {p.stem for p in (ROOT / "service").iterdir() if list(p.rglob("*.py")) or p.suffix == ".py"} - {"__init__"}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(LINT_IMPORTS, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.e2e
def test_no_package_imports_what_it_may_not() -> None:
    result = lint_imports(ROOT)

    assert result.returncode == 0, result.stdout


def test_every_package_has_a_contract_and_every_contract_names_packages_that_exist() -> None:
    libraries = {name for name in ALLOWED if name not in ROOMS}
    importers = {importer for allowed in ALLOWED.values() for importer in allowed}

    assert set(ALLOWED) - libraries == ROOMS
    assert libraries == {"torch", "sqlalchemy", "alembic", "fastapi", "starlette", "pandas", "sklearn", "optuna", "ray"}
    assert not [name for name in importers if not list((ROOT / "service").glob(name.replace(".", "/") + "*"))]


@pytest.mark.e2e
def test_the_contracts_refuse_every_import_that_they_do_not_allow(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    importers = ROOMS | {importer for allowed in ALLOWED.values() for importer in allowed}
    for importer in importers:
        module = tmp_path / "service" / importer.replace(".", "/") / "__init__.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        others = [name for name in ALLOWED if name not in (importer, importer.split(".")[0])]
        module.write_text("".join(f"import {'service.' * (name in ROOMS)}{name}\n" for name in others))
    (tmp_path / "service/__init__.py").touch()

    result = lint_imports(tmp_path)

    refused = set(re.findall(r"^- service\.([\w.]+) -> (?:service\.)?(\w+) \(l\.", result.stdout, re.MULTILINE))
    expected = {
        (importer, name)
        for importer in importers
        for name, allowed in ALLOWED.items()
        if name not in (importer, importer.split(".")[0]) and not {importer, importer.split(".")[0]} & allowed
    }
    assert refused == expected
    assert "No import cycles BROKEN" in result.stdout


def test_the_api_and_its_predictor_start_without_torch_and_the_readers_of_tables() -> None:
    code = (
        "import sys, service.api.app, service.serving.predictor; "
        "print(sorted({'torch', 'duckdb', 'numpy'} & set(sys.modules)))"
    )

    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


def test_the_client_starts_without_pandas_and_scikit_learn() -> None:
    code = "import sys, service.client; print(sorted({'pandas', 'sklearn'} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


@pytest.mark.parametrize("arguments", [["--help"], ["jobs", "--help"], ["version"]], ids=" ".join)
def test_a_command_waits_for_no_library_that_it_does_not_need(arguments: list[str]) -> None:
    heavy = {"sqlalchemy", "alembic", "fastapi", "starlette", "torch", "duckdb", "numpy", "structlog", "httpx2"}
    code = (
        "import sys\nfrom service.cli import main\n"
        f"try: main()\nfinally: print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )

    result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "[]\n")
    assert result.stdout


SOURCES = sorted((ROOT / "service").rglob("*.py"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def places(path: Path, code: str) -> list[str]:
    """Where `code`, e.g. `os.environ`, stands as a name or an attribute."""
    last = code.rpartition(".")[2]
    found = [
        node
        for node in nodes(path)
        if (isinstance(node, ast.Name) and node.id == last) or (isinstance(node, ast.Attribute) and node.attr == last)
        if ast.unparse(node) == code
    ]
    return [f"{path.relative_to(ROOT)}:{node.lineno}" for node in found]


def calls(path: Path, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, keyword arguments as source) of each call of `name`."""
    for node in nodes(path):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            yield (
                f"{path.relative_to(ROOT)}:{node.lineno}",
                {k.arg or "**": ast.unparse(k.value) for k in node.keywords},
            )


@pytest.mark.parametrize("name", ["os.environ", "os.getenv", "environ", "getenv"])
def test_only_settings_reads_the_environment(name: str) -> None:
    assert not [place for path in SOURCES if path.name != "settings.py" for place in places(path, name)]


def test_nothing_unpickles() -> None:
    imported = {
        (path.name, name.name)
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [*node.names, ast.alias(getattr(node, "module", None) or "")]
    }
    keywords = [k for path in SOURCES for k in nodes(path) if isinstance(k, ast.keyword) and k.arg == "allow_pickle"]

    assert not {module for _, module in imported} & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    assert all(ast.unparse(keyword.value) == "False" for keyword in keywords)


def test_torch_loads_weights_only() -> None:
    loads = [call for path in SOURCES for call in calls(path, "torch.load")]

    assert all(keywords.get("weights_only") == "True" for _, keywords in loads), loads


def test_no_function_is_longer_than_50_lines() -> None:
    functions = (
        (f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert not [(place, lines) for place, lines in functions if lines > 50]


def test_no_file_is_longer_than_300_lines() -> None:
    files = [*SOURCES, *(path for path in (ROOT / "service/web").rglob("*") if path.is_file())]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}

    assert not {path: lines for path, lines in lengths.items() if lines > 300}


# In pieces, so that this file does not name them.
HOSTS = ["pypi" + ".org", "python" + "hosted.org", "download.pytorch" + ".org", "npm" + "js.org", "ghcr" + ".io"]
FOREIGN = re.compile("|".join([*map(re.escape, HOSTS), r"(?<![\w.])/(?:work|root|mnt|home/\w+|Users/\w+)/"]))


def tracked_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_tracked_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="ignore").splitlines(), start=1):
            if match := FOREIGN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number} {match.group()}")
    assert not found


def test_endpoints_read_rows_only_through_the_database_of_their_tenant() -> None:
    api = [path for path in SOURCES if ROOT / "service/api" in path.parents]

    assert {path.name for path in api if places(path, "state.database")} == {
        "context.py",  # which binds it to the caller
        "health.py",
    }
    assert {path.name for path in api if places(path, "PublicState")} == {"context.py", "health.py"}
    assert not [place for path in api for place in places(path, "context.state.database")]
