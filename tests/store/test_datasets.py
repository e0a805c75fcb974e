"""Data sets are deduplicated by bytes and options, on both databases."""

from __future__ import annotations

import pytest

from service.domain.access import DEFAULT_TENANT
from service.errors import NotFound, QuotaExceeded
from service.store import datasets
from service.store.engine import Database
from tests.store.records import dataset


def test_a_stored_data_set_is_read_back_unchanged(database: Database) -> None:
    stored = dataset()
    with database.transaction(DEFAULT_TENANT) as connection:
        assert datasets.add(connection, stored, path="datasets/ds_1", options="{}") == (stored, True)

    with database.reading() as connection:
        assert datasets.get(connection, "ds_1") == stored
        assert datasets.path_of(connection, "ds_1") == "datasets/ds_1"
        assert datasets.find_same(connection, stored.sha256, "{}") == stored
        assert datasets.find_same(connection, stored.sha256, '{"null": []}') is None


def test_the_same_bytes_with_the_same_options_are_one_data_set(database: Database) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        first, _ = datasets.add(connection, dataset("ds_1"), path="a", options="{}")
        again, created = datasets.add(connection, dataset("ds_2"), path="b", options="{}")
        other, read_otherwise = datasets.add(connection, dataset("ds_3"), path="c", options='{"null": []}')

    assert (again, created) == (first, False)
    assert (other.id, read_otherwise) == ("ds_3", True)


def test_data_sets_are_listed_newest_first_in_pages(database: Database) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        for number in range(3):
            datasets.add(connection, dataset(f"ds_{number}", f"{number}" * 64), path="a", options="{}")

    with database.reading() as connection:
        assert [d.id for d in datasets.find(connection, limit=2)] == ["ds_2", "ds_1"]
        assert [d.id for d in datasets.find(connection, limit=2, after="ds_1")] == ["ds_0"]


def test_a_summary_has_the_number_of_columns_instead_of_their_profiles(database: Database) -> None:
    stored = dataset()
    with database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, stored, path="a", options="{}")

    with database.reading() as connection:
        (summary,) = datasets.summaries(connection, limit=2)

    assert summary.model_dump() == {**stored.model_dump(exclude={"columns", "provenance"}), "column_count": 2}


def test_summaries_are_listed_in_the_same_order(database: Database) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        for number in range(3):
            datasets.add(connection, dataset(f"ds_{number}", f"{number}" * 64), path="a", options="{}")

    with database.reading(DEFAULT_TENANT) as connection:
        assert [d.id for d in datasets.summaries(connection, limit=2)] == ["ds_2", "ds_1"]
        assert [d.id for d in datasets.summaries(connection, limit=2, after="ds_1")] == ["ds_0"]
    with database.reading("other") as connection:
        assert datasets.summaries(connection, limit=2) == []


@pytest.mark.parametrize("call", [datasets.get, datasets.path_of, datasets.remove])
def test_an_unknown_data_set_is_not_found(database: Database, call: object) -> None:
    with pytest.raises(NotFound, match="ds_none"), database.transaction() as connection:
        call(connection, "ds_none")  # type: ignore[operator]


def test_data_sets_beyond_the_quota_are_refused_until_one_is_deleted(database: Database) -> None:
    size = dataset().parquet_bytes + datasets.profile_bytes(dataset())  # in files and in the database
    with database.transaction(DEFAULT_TENANT) as connection:
        for number in range(2):
            datasets.add(connection, dataset(f"ds_{number}", f"{number}" * 64), path="a", options="{}")
        datasets.check_quota(connection, 2 * size)
        with pytest.raises(QuotaExceeded, match="delete some"):
            datasets.check_quota(connection, 2 * size, more=1)
        with pytest.raises(QuotaExceeded):
            datasets.check_quota(connection, 2 * size - 1)
        datasets.remove(connection, "ds_0")
        datasets.check_quota(connection, size)
    with database.reading("other") as connection:
        datasets.check_quota(connection, 0)
