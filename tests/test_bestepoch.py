"""`bestepoch`, the name that users import: the public client, and nothing that they have not installed."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import bestepoch
import service.client

# What `bestepoch[server]` and the other optional extras bring.
OPTIONAL = [
    *("alembic", "duckdb", "fastapi", "numpy", "pandas", "PIL", "prometheus_client", "psycopg", "pydantic_settings"),
    *("pysqlite3", "safetensors", "sklearn", "sqlalchemy", "starlette", "structlog", "torch", "uvicorn"),
]
WITHOUT_THEM = f"import sys\nsys.modules.update(dict.fromkeys({OPTIONAL}))\n"  # importing one fails


def test_it_exports_everything_public_of_the_client() -> None:
    assert set(bestepoch.__all__) == {*service.client.__all__, "__version__"}
    assert all(getattr(bestepoch, name) is getattr(service.client, name) for name in service.client.__all__)
    assert bestepoch.RemoteClassifier is service.client.RemoteClassifier
    assert bestepoch.RemoteRegressor is service.client.RemoteRegressor


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'bestepoch' has no attribute 'RemoteTransformer'"):
        bestepoch.RemoteTransformer  # noqa: B018


def test_it_has_the_version_that_is_installed() -> None:
    assert bestepoch.__version__ == version("bestepoch")


def test_importing_it_imports_no_optional_library() -> None:
    code = f"import sys\nfrom bestepoch import *\nClient().close()\nprint(sorted({set(OPTIONAL)} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("Client().upload([[1.0, 2.0]])", "uploading arrays or lists needs NumPy: pip install 'numpy'"),
        ("bestepoch.RemoteRegressor", "RemoteRegressor needs scikit-learn: pip install 'bestepoch[sklearn]'"),
        ("Job.best_model(None)", "best_model() needs PyTorch: pip install 'bestepoch[server]'"),
    ],
)
def test_without_an_optional_library_the_error_says_what_to_install(code: str, message: str) -> None:
    code = f"{WITHOUT_THEM}import bestepoch\nfrom bestepoch import Client, Job\n{code}"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, f"ImportError: {message}")


def test_without_the_server_its_commands_say_what_to_install() -> None:
    commands = ["serve", "api", "worker", "migrate", "doctor", "collect", "adopt", "keys list"]
    code = f"""{WITHOUT_THEM}
from service.cli import main
for command in {commands}:
    sys.argv = ["bestepoch", *command.split()]
    try:
        main()
    except SystemExit as exit:
        print(exit.code)
"""

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["2"] * len(commands)
    for command, line in zip(commands, result.stderr.splitlines(), strict=True):
        name = command.split()[0]
        assert line.startswith(f"bestepoch: `bestepoch {name}` needs the server: pip install 'bestepoch[server]'")


def test_python_m_bestepoch_is_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "bestepoch", "version"], capture_output=True, text=True, check=True)

    assert result.stdout == f"{version('bestepoch')}\n"


def test_the_service_does_not_import_it() -> None:
    imports = {
        name
        for path in Path(service.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }

    assert "service.client" in imports
    assert not [name for name in imports if name and name.split(".")[0] == "bestepoch"]
