"""The collection clock, by which garbage ages."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from service.maintenance.collector import DAY
from service.store.engine import Database
from service.store.maintenance import garbage
from service.store.schema import collections

pytestmark = pytest.mark.usefixtures("paired")


def test_the_collection_clock_is_monotonic_and_does_not_jump(database: Database) -> None:
    times = []
    for shift in (0.0, 30 * DAY, -30 * DAY, 0.0):
        with database.transaction() as connection:
            connection.execute(update(collections).values(reading=collections.c.reading - shift))
            times.append(garbage.begin(connection).now)

    assert times[0] == 0
    assert times[1] == garbage.STEP_SECONDS
    assert times[1] == times[2] <= times[3] < times[2] + 60


def test_collections_of_the_last_days_are_kept_whatever_their_number(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "KEPT_COLLECTIONS", 3)
    with database.transaction() as connection:
        for _ in range(100):
            connection.execute(update(collections).values(reading=collections.c.reading - garbage.STEP_SECONDS))
            run = garbage.begin(connection)

        assert run is not None
        assert garbage.earliest_time(connection, run, DAY) is not None
        kept = connection.scalars(select(collections.c.clock)).all()
    assert run.now - min(kept) == pytest.approx(garbage.KEPT_SECONDS, abs=garbage.STEP_SECONDS)
