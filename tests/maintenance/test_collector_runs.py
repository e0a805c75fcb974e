"""The collector thread: one collection per hour over all processes, and recovery from every failure."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.artifacts import Artifacts, FolderArtifacts
from service.errors import Misconfigured
from service.maintenance import collector as collector_module
from service.maintenance.collector import DAY, Collector, RetentionPolicy
from service.store.engine import Database
from service.store.maintenance import garbage
from tests.api.job_factory import JobFactory
from tests.maintenance.collector_helpers import advance_clock, collect, collect_once, keys, put, statistics
from tests.processes import until

pytestmark = pytest.mark.usefixtures("paired")


@contextmanager
def immovable(folder: Path) -> Iterator[None]:
    """Make this folder immutable: not even root can remove its files."""
    result = subprocess.run(["chattr", "+i", folder], capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"needs the right and a file system to make a folder immutable: {result.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


def test_several_processes_make_one_collection_per_hour(job_factory: JobFactory, artifacts: Artifacts) -> None:
    stop = threading.Event()
    collectors = [Collector(job_factory.database, FolderArtifacts(artifacts.root), RetentionPolicy()) for _ in range(2)]
    threads = [threading.Thread(target=collector.run, args=(stop,)) for collector in collectors]

    for thread in threads:
        thread.start()
    until(lambda: statistics(job_factory.database).collections)
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join(5)

    assert statistics(job_factory.database).collections == 1


def test_an_unreachable_database_does_not_end_the_collector_thread(artifacts: Artifacts, tmp_path: Path) -> None:
    put(artifacts, "checkpoints/job_0/a")
    away = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    stop = threading.Event()
    thread = threading.Thread(target=Collector(away, artifacts, RetentionPolicy(7)).run, args=(stop,))

    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    stop.set()
    thread.join(5)

    assert keys(artifacts) == {"checkpoints/job_0/a"}
    away.close()


def test_a_file_that_cannot_be_removed_is_counted_and_retried(job_factory: JobFactory, artifacts: Artifacts) -> None:
    put(artifacts, "checkpoints/job_0/a", "checkpoints/job_1/b")
    with immovable(artifacts.path("checkpoints/job_0")):
        done = collect(job_factory)

        assert (done.trashed, done.failed) == (["checkpoints/job_1/b"], 1)
        assert statistics(job_factory.database).undeleted == 1

    assert collect_once(job_factory).trashed == ["checkpoints/job_0/a"]
    assert statistics(job_factory.database).undeleted == 1


def test_unexpected_errors_do_not_end_the_collector_thread(
    job_factory: JobFactory, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(collector_module, "INTERVAL_SECONDS", 0.01)
    put(artifacts, "checkpoints/job_0/a")
    collect_once(job_factory)
    advance_clock(job_factory.database)
    stop = threading.Event()
    thread = threading.Thread(
        target=Collector(job_factory.database, artifacts, RetentionPolicy()).run, args=(stop,), daemon=True
    )

    def broken(*_: object, **__: object) -> Iterator[Any]:
        raise RuntimeError("unexpected")

    with monkeypatch.context() as patch:
        patch.setattr(FolderArtifacts, "files", broken)
        with monkeypatch.context() as worse:
            worse.setattr(garbage, "count", broken)  # both fail for the same reason
            thread.start()
            until(lambda: caplog.text.count("failure not counted: unexpected") > 1)
        until(lambda: statistics(job_factory.database).failed > 1)
    until(lambda: not keys(artifacts))
    stop.set()
    thread.join(5)

    assert not thread.is_alive()
    assert "RuntimeError: unexpected" in caplog.text


def test_the_folder_of_another_database_is_left_alone(
    job_factory: JobFactory, artifacts: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    put(artifacts, "checkpoints/job_0/a")
    collector, stop = Collector(job_factory.database, artifacts, RetentionPolicy()), threading.Event()
    collect_once(job_factory)
    advance_clock(job_factory.database, 10 * DAY)

    artifacts.set_deployment_id("dep_of_another")
    with pytest.raises(
        Misconfigured, match=r"belongs to another database: its id is dep_of_another.*`bestepoch adopt`"
    ):
        collect_once(job_factory)
    artifacts.delete("deployment-id")
    with pytest.raises(Misconfigured, match="is the volume mounted"):
        collect_once(job_factory)
    thread = threading.Thread(target=collector.run, args=(stop,), daemon=True)
    thread.start()
    until(lambda: statistics(job_factory.database).refused)
    stop.set()
    thread.join(5)

    assert keys(artifacts) == {"checkpoints/job_0/a"}
    assert "garbage collection refused: the artifact store" in caplog.text
