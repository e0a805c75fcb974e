"""Fixtures of all tests: databases of both kinds, a fresh one for each test."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from service.artifacts import Artifacts, FolderArtifacts
from service.store.engine import Database, migrate
from tests.api.job_factory import JobFactory
from tests.databases import DatabasePool, NoPostgres, postgres_database, postgres_server

# The same examples on every run, and no failure because a machine was busy.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tests")


# Folders and files whose tests start processes, such as those that predict, report or read files.
E2E = [
    Path(__file__).parent / place
    for place in (
        "e2e",
        "serving",
        "connections/test_faulty_settings.py",
        "connections/test_folder.py",
        "connections/test_query.py",
        "connections/test_web.py",
        "data/test_jsonl.py",
        "drift/test_process.py",
        "reports/test_loss_intervals.py",
        "worker/test_trainer_folds.py",
        "worker/test_trainer_predictions.py",
        "worker/test_trainer_streamed.py",
        "api/test_calibrated_predictions.py",
        "api/test_client_transfers.py",
        "api/test_dataset_files.py",
        "api/test_dataset_references.py",
        "api/test_dataset_refreshes.py",
        "api/test_dataset_uploads.py",
        "api/test_datasets.py",
        "api/test_drift.py",
        "api/test_job_predictions.py",
        "api/test_model_downloads.py",
        "api/test_model_evaluations.py",
        "api/test_model_reports.py",
        "api/test_models_of_sweeps.py",
        "api/test_openapi.py",
        "api/test_retraining.py",
        "api/test_retraining_reports.py",
        "api/test_shadow_predictions.py",
        "api/test_upload_formats.py",
        "api/test_uploads_in_parts.py",
    )
]
POSTGRES = pytest.param("postgres", marks=pytest.mark.e2e)
BACKENDS = {"sqlite": "sqlite", "postgres": POSTGRES}
"""The databases that tests are run on by default; `TEST_BACKENDS=postgres` takes one alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of the end-to-end suites has the marker `e2e`."""
    for item in items:
        if any(place in (item.path, *item.path.parents) for place in E2E):
            item.add_marker("e2e")


def pytest_collection_finish() -> None:
    """Modules and collected tests live until the end: the garbage collector does not look at them again and again."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # nanobind reports what it finds alive at the end as leaks


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> None:
    """PyTorch computes on one thread, as in trainers: results are bit-identical, and test processes share the cores."""
    if torch := sys.modules.get("torch"):  # imported by the tests that were collected, or not needed
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def unchanged_logging() -> Iterator[None]:
    """A command that runs in this process sets up its logging; the next test finds the logging as it was."""
    loggers = [logging.getLogger(name) for name in (None, "service", "alembic")]  # as `service.logs` sets them up
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.fixture(params=[BACKENDS[name] for name in os.environ.get("TEST_BACKENDS", "sqlite postgres").split()])
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database; `@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)` takes one alone.

    Postgres with `make e2e`; the tests of `store/` are on both with `make test`, too.
    """
    return str(request.param)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a Postgres server; skips where none can be had."""
    try:
        with postgres_server() as url:
            yield url
    except NoPostgres as reason:
        pytest.skip(f"no Postgres: {reason}")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_pool(postgres: str) -> Iterator[DatabasePool]:
    """Migrated Postgres databases."""
    with postgres_database(postgres) as template, ExitStack() as copies:
        migrate(template)
        yield DatabasePool(postgres, template, copies)


@pytest.fixture
def blank_database_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database without tables."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'blank.db'}"
        return
    with postgres_database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture
def database_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database with every table and no rows."""
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "test.db")
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    with request.getfixturevalue("postgres_pool").database() as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database with every table and no rows."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """An empty folder of artifacts."""
    return FolderArtifacts(tmp_path / "artifacts")


@pytest.fixture
def job_factory(database: Database, artifacts: Artifacts) -> JobFactory:
    """Makes jobs in any state."""
    return JobFactory(database, artifacts)
