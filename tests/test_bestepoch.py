"""`bestepoch`, the name that users import: the public client, and nothing that they have not installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import bestepoch
import service.client

HEAVY = ("alembic", "duckdb", "fastapi", "numpy", "pandas", "sklearn", "sqlalchemy", "starlette", "torch")


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


def test_importing_it_imports_no_heavy_library() -> None:
    code = f"import sys\nfrom bestepoch import *\nClient().close()\nprint(sorted({set(HEAVY)} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


def test_python_m_bestepoch_is_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "bestepoch", "version"], capture_output=True, text=True, check=True)

    assert result.stdout == f"{version('bestepoch')}\n"
