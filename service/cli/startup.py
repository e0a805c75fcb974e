"""What the server's commands start with: settings, logging, warnings, the database, garbage collection."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from service import logs
from service.artifacts import ArtifactsConfig, open_artifacts
from service.cli.permissions import exposed
from service.errors import Misconfigured
from service.maintenance.collector import Collector, RetentionPolicy
from service.settings import Settings
from service.spec.worker import parse_labels
from service.store import migrations
from service.store.engine import Database, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

COLLECTOR_STOP_SECONDS = 5


def read_settings(**options: Any) -> Settings:
    """Read the settings, and set up logging and the umask accordingly; raises Misconfigured.

    `options`: settings from the command line, which override the environment; None: not given.
    """
    try:
        settings = Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].removeprefix("Value error, ")
        name = "".join(str(part).upper() for part in problem["loc"])
        raise Misconfigured(f"BESTEPOCH_{name}: {message}" if name else message) from None
    try:
        parse_labels(settings.worker_labels)
    except ValueError as error:
        raise Misconfigured(f"BESTEPOCH_WORKER_LABELS: {error}") from None
    logs.set_up(settings.log_level, settings.log_format)
    # Other users can never read what this process and its children write; this is the only place that decides it.
    os.umask(0o007 if settings.group_access else 0o077)
    return settings


@contextmanager
def database_of(settings: Settings) -> Iterator[Database]:
    """The database for a single command; SQLite is migrated first."""
    if settings.database.startswith("sqlite:"):
        migrate(settings.database)
    database = open_database(settings)
    try:
        yield database
    finally:
        database.close()


def keeping(settings: Settings) -> RetentionPolicy:
    """How long the garbage collector keeps files."""
    return RetentionPolicy(settings.keep_days, settings.grace_hours, settings.trash_days)


def open_database(settings: Settings) -> Database:
    """Open the database; raises SchemaMismatch when this version cannot use its schema."""
    database = Database(settings.database, settings.statement_seconds)
    with database.reading() as connection:
        migrations.check(connection)
    return database


def warn_of_exposed_files(settings: Settings) -> None:
    """Log a warning for each folder or file that other users can read."""
    for warning in exposed(settings):
        log.warning("%s", warning)


def start_collecting(settings: Settings, database: Database, stop: threading.Event) -> threading.Thread:
    """Start the garbage collector's thread; of all API and worker processes one collects at a time."""
    artifacts, presigned = open_artifacts(ArtifactsConfig.of(settings)), settings.transfers == "presigned"
    collector = Collector(database, artifacts, keeping(settings), presigned=presigned)
    thread = threading.Thread(target=collector.run, args=(stop,), name="collector", daemon=True)
    thread.start()
    return thread
