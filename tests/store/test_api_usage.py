"""What API processes tell each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, update

from service.store import api_usage
from service.store.api_usage import TenantUse
from service.store.engine import Database


def exchange(database: Database, process: str, **mine: TenantUse) -> dict[tuple[str, str], TenantUse]:
    with database.transaction(quiet=True) as connection:
        return api_usage.exchange(connection, process, mine)


def test_a_process_reads_what_the_others_have_of_its_tenants(database: Database) -> None:
    assert exchange(database, "one", birds=TenantUse(3, 1, 10), fish=TenantUse(1)) == {}
    assert exchange(database, "two", birds=TenantUse(5, 2)) == {("birds", "one"): TenantUse(3, 1, 10)}
    assert exchange(database, "one", birds=TenantUse(4, 0)) == {("birds", "two"): TenantUse(5, 2)}
    assert exchange(database, "two", birds=TenantUse(5, 2)) == {("birds", "one"): TenantUse(4, 0)}


def test_a_process_that_tells_nothing_any_more_does_not_count(database: Database) -> None:
    exchange(database, "dead", birds=TenantUse(3, 1))
    with database.transaction() as connection:
        long_ago = datetime.now(UTC) - timedelta(seconds=20)
        connection.execute(update(api_usage.api_usage).values(seen_at=long_ago))

    assert exchange(database, "live", birds=TenantUse(1)) == {}


def test_a_process_that_ends_leaves_no_row_of_its_own_or_of_an_old_one(database: Database) -> None:
    exchange(database, "dead", birds=TenantUse(3, 1))
    with database.transaction() as connection:
        connection.execute(update(api_usage.api_usage).values(seen_at=datetime.now(UTC) - timedelta(hours=2)))
    exchange(database, "live", birds=TenantUse(3, 1))
    exchange(database, "ending", birds=TenantUse(3, 1), fish=TenantUse(1))

    with database.transaction() as connection:
        api_usage.forget(connection, "ending")

    with database.reading() as connection:
        left = connection.execute(select(api_usage.api_usage.c.process, func.count()).group_by("process")).all()
    assert [tuple(row) for row in left] == [("live", 1)]
