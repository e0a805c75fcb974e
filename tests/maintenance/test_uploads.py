"""Uploads in parts that expire are collected with their parts; others stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest

from service.artifacts import Artifacts
from service.domain.upload import Upload
from service.errors import NotFound
from service.maintenance.collector import Collector, RetentionPolicy
from service.spec.read_options import ReadOptions
from service.store import uploads
from service.store.engine import Database
from tests.api.job_factory import JobFactory
from tests.maintenance.collector_helpers import collect_once, keys, statistics
from tests.processes import until

pytestmark = pytest.mark.usefixtures("paired")


def begin(database: Database, artifacts: Artifacts, name: str, *, hours: float, parts: int = 2) -> Upload:
    now = datetime.now(UTC)
    upload = Upload(
        id=name,
        name=None,
        size_bytes=10,
        sha256=None,
        options=ReadOptions(),
        part_bytes=5,
        dataset_id=None,
        created_at=now,
        expires_at=now + timedelta(hours=hours),
    )
    with database.of("default").transaction() as connection:
        uploads.add(connection, upload)
    for number in range(1, parts + 1):
        artifacts.put(upload.key(number), b"12345")
    return upload


def test_expired_uploads_are_deleted_with_their_parts(job_factory: JobFactory) -> None:
    database, artifacts = job_factory.database, job_factory.artifacts
    old, new = (begin(database, artifacts, f"up_{hours}", hours=hours) for hours in (-1, 1))

    report = collect_once(job_factory)

    assert report.parts == 2
    assert "deleted 2 parts of expired uploads" in str(report)
    assert {file.key for file in artifacts.parts()} == {new.key(1), new.key(2)}
    with database.reading() as connection:
        assert uploads.get(connection, new.id) == new
        with pytest.raises(NotFound, match="has expired"):
            uploads.get(connection, old.id)


def test_parts_without_an_upload_are_deleted_and_are_no_orphans(job_factory: JobFactory) -> None:
    artifacts = job_factory.artifacts
    for number in range(150):
        artifacts.put(f"uploads/up_gone/{number}", b"x")

    report = collect_once(job_factory)

    assert (report.parts, report.trashed, report.refused) == (150, [], None)
    assert list(artifacts.parts()) == []
    assert keys(artifacts) == set()


def test_parts_of_a_wrong_size_are_deleted(job_factory: JobFactory) -> None:
    artifacts = job_factory.artifacts
    upload = begin(job_factory.database, artifacts, "up_1", hours=1, parts=1)
    artifacts.put(upload.key(2), b"123456")
    artifacts.put(upload.key(3), b"1")

    report = collect_once(job_factory)

    assert report.parts == 2
    assert {file.key for file in artifacts.parts()} == {upload.key(1)}


def test_sizes_of_parts_put_by_presigned_urls_are_checked_between_collections(
    job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.maintenance.collector.PARTS_SECONDS", 0.05)
    artifacts, stop = job_factory.artifacts, Event()
    upload = begin(job_factory.database, artifacts, "up_1", hours=1, parts=1)
    collector = Collector(job_factory.database, artifacts, RetentionPolicy(), presigned=True)
    thread = Thread(target=collector.run, args=(stop,))
    thread.start()
    until(lambda: statistics(job_factory.database).collections == 1)
    artifacts.put(upload.key(2), b"123456")
    until(lambda: {file.key for file in artifacts.parts()} == {upload.key(1)})
    stop.set()
    thread.join(5)

    assert statistics(job_factory.database).collections == 1
