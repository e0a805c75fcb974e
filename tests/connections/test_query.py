"""Rows of a query: typed, read only, one statement, within limits."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from service.domain.connection import Connection, ConnectionKind
from service.errors import InvalidData, SourceError, TooLarge
from tests.connections.conftest import LIMITS, Fetch, declared
from tests.databases import postgres_database
from tests.proxy import Proxy


@pytest.fixture(scope="module")
def database(postgres: str) -> Iterator[str]:
    """URL of a database with a table of three sales."""
    with postgres_database(postgres) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE sales (id int PRIMARY KEY, price numeric, code text, at timestamptz, day date)"
            )
            connection.execute(
                "INSERT INTO sales VALUES (1, 1.5, '007', '2026-01-02 03:04:05+02', '2026-01-02'),"
                " (2, NULL, 'x', NULL, NULL), (3, 'NaN', NULL, '2026-06-01', '2026-06-01')"
            )
        yield url


@pytest.fixture
def warehouse(database: str) -> Connection:
    return declared(database, ConnectionKind.postgresql, allow_private=True)


def test_rows_are_json_lines_with_types(warehouse: Connection, fetched: Fetch) -> None:
    [file] = fetched(warehouse, query="SELECT id, price, code, at, day, id > 1 AS late FROM sales ORDER BY id;")

    rows = [json.loads(line) for line in file.local.read_text().splitlines()]
    assert rows == [
        {"id": 1, "price": 1.5, "code": "007", "at": "2026-01-02T01:04:05", "day": "2026-01-02", "late": False},
        {"id": 2, "price": None, "code": "x", "at": None, "day": None, "late": True},
        {"id": 3, "price": None, "code": None, "at": rows[2]["at"], "day": "2026-06-01", "late": True},
    ]
    assert file.size_bytes == file.local.stat().st_size


def test_numbers_beyond_float64_stay_exact_or_are_said_to_be_rounded(warehouse: Connection, fetched: Fetch) -> None:
    [file] = fetched(
        warehouse,
        query="SELECT * FROM (VALUES"
        " (9007199254740993::bigint, 123456789012345678901::numeric, 0.1, 1e400, 2::numeric / 3),"
        " (-5, 7, 12345678901234.56, 1, 0.5), (2, 'NaN', NULL, NULL, NULL)) AS t(id, account, price, far, mean)",
    )

    rows = [json.loads(line) for line in file.local.read_text().splitlines()]
    assert rows == [
        {"id": "9007199254740993", "account": "123456789012345678901", "price": 0.1, "far": "1" + "0" * 400,
         "mean": 0.6666666666666666},
        {"id": -5, "account": 7, "price": 12345678901234.56, "far": 1, "mean": 0.5},
        {"id": 2, "account": None, "price": None, "far": None, "mean": None},
    ]  # fmt: skip
    beyond = "is read as text: it has numbers that float64 cannot hold, such as whole ones beyond 2^53"
    assert file.warnings == [
        *(f"column {name!r} {beyond}" for name in ("id", "account", "far")),
        "column 'mean': 1 with more digits than float64 holds is rounded; a CAST to text in the query keeps them",
    ]


def test_a_number_too_large_for_float64_is_text(warehouse: Connection, fetched: Fetch) -> None:
    [file] = fetched(warehouse, query="SELECT 1e400 + 0.5 AS far")

    assert json.loads(file.local.read_text())["far"].startswith("10000")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("DELETE FROM sales", "syntax error .* A query is one SELECT, which only reads"),
        ("SELECT 1; DELETE FROM sales", "cannot insert multiple commands"),
        ("SELECT 1; COMMIT; DELETE FROM sales", "cannot insert multiple commands"),
        ("WITH gone AS (DELETE FROM sales RETURNING *) SELECT * FROM gone", "data-modifying"),
        ("SELECT * INTO copied FROM sales", "INTO"),
        ("COPY sales TO STDOUT", "syntax error"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "read-write mode"),
        ("SELECT nextval('numbers')", "does not exist"),
        ("SELECT lo_create(0)", "read-only transaction"),
        ("SELECT nothing FROM sales", "nothing"),
        ("SELECT prise FROM sales", 'column "prise" does not exist. Perhaps you meant .*sales.price'),
        ("SELECT 1 AS a, 2 AS a", "2 columns 'a'"),
        ("SELECT FROM sales", "the query has no columns"),
        ("SELECT ARRAY[1, 2] AS a", "only flat columns"),
        ("SELECT * FROM sales WHERE false", "has no rows"),
        ("", "syntax error"),
    ],
)
def test_what_is_no_query_is_refused_and_changes_nothing(
    warehouse: Connection, database: str, fetched: Fetch, query: str, message: str
) -> None:
    with pytest.raises(InvalidData, match=message):
        fetched(warehouse, query=query)

    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*), to_regclass('copied') FROM sales").fetchone() == (3, None)


@pytest.mark.parametrize(
    ("limits", "query", "error", "message"),
    [
        ({"rows": 2}, "SELECT * FROM sales", TooLarge, "more than 2 rows"),
        ({"size_bytes": 50}, "SELECT * FROM sales", TooLarge, "more than 50 bytes"),
        ({"seconds": 1.0}, "SELECT pg_sleep(20)", InvalidData, "longer than 1 seconds"),
        ({"seconds": 1.0, "rows": 10**9, "size_bytes": 10**9},
         "SELECT n, set_config('statement_timeout', '0', true) FROM generate_series(1, 100000000) n",
         InvalidData, "longer than 1 seconds"),
        ({"seconds": 1.0},
         "SELECT i, set_config('statement_timeout', '0', true), CASE WHEN i > 5 THEN pg_sleep(20)::text END AS slept "
         "FROM generate_series(1, 10) i",
         InvalidData, "longer than 1 seconds"),
    ],
)  # fmt: skip
def test_a_query_has_limits(
    warehouse: Connection, fetched: Fetch, limits: dict[str, Any], query: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fetched(warehouse, LIMITS.model_copy(update=limits), query=query)


def test_a_server_by_address_must_be_declared_private_and_is_reached(
    warehouse: Connection, database: str, fetched: Fetch
) -> None:
    proxy = Proxy(database)
    try:
        by_address = warehouse.model_copy(update={"url": proxy.url})

        assert fetched(by_address, query="SELECT 1 AS one")[0].size_bytes == len('{"one":1}\n')
        assert fetched(by_address) == []
        for refused in (by_address, warehouse):
            with pytest.raises(SourceError, match="private"):
                fetched(refused.model_copy(update={"allow_private": False}), query="SELECT 1 AS one")
    finally:
        proxy.close()


def test_a_server_that_does_not_answer_is_named_by_no_address(warehouse: Connection, fetched: Fetch) -> None:
    gone = warehouse.model_copy(update={"url": "postgresql://me@127.0.0.1:9/sales"})

    with pytest.raises(SourceError, match="server of the connection does not answer"):
        fetched(gone, query="SELECT 1 AS one")


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(warehouse: Connection, fetched: Fetch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_refuse_tls, args=(server,), daemon=True).start()
        url = f"postgresql://me@127.0.0.1:{server.getsockname()[1]}/sales?sslmode=require"

        with pytest.raises(SourceError, match="the server offers no TLS"):
            fetched(warehouse.model_copy(update={"url": url}), query="SELECT 1 AS one")


def _refuse_tls(server: socket.socket) -> None:
    with server.accept()[0] as client:
        client.recv(8)
        client.sendall(b"N")
        client.recv(1)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"url": "postgresql://me@127.0.0.1/sales?nonsense=1"}, "nonsense"),
        ({"url": "postgresql://me@127.0.0.1/sales?sslmode=sometimes"}, "sslmode"),
        ({"url": "postgresql://me@127.0.0.1/sales?sslrootcert=/no/such/file"}, "sslrootcert"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(
    warehouse: Connection, fetched: Fetch, update: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=f"connection 'lake': .*{message}"):
        fetched(warehouse.model_copy(update=update), query="SELECT 1 AS one")


def test_a_database_that_does_not_exist_and_a_user_without_access_are_told_apart(
    warehouse: Connection, database: str, fetched: Fetch
) -> None:
    proxy = Proxy(database)
    try:
        user, place = proxy.url.rsplit("/", 1)[0], proxy.url.rsplit("/", 1)[1]
        for url, message in (
            (f"{user}/nothing", "the database of the connection does not exist"),
            (f"postgresql://nobody@{user.partition('@')[2]}/{place}", "the server refuses access"),
        ):
            with pytest.raises(SourceError, match=message):
                fetched(warehouse.model_copy(update={"url": url}), query="SELECT 1 AS one")
    finally:
        proxy.close()
