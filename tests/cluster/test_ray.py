"""Workers on a Ray cluster of three simulated nodes: scaled by demand and drained; nothing is lost when a node dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from service.domain.access import DEFAULT_TENANT
from service.store import workers
from service.store.engine import Database, migrate
from service.store.jobs import jobs
from service.store.schema import epochs
from service.store.schema import jobs as jobs_table
from tests.databases import cut_off, postgres_database, postgres_server
from tests.processes import alive as process_alive
from tests.processes import parent_of, until
from tests.specs import synthetic

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray
cluster_utils = pytest.importorskip("ray.cluster_utils")

JOBS = int(os.environ.get("BESTEPOCH_TEST_RAY_JOBS", "60"))
EPOCHS = 30


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with postgres_database(server) as url:
        migrate(url)
        for name, value in {
            "BESTEPOCH_HOME": str(tmp_path),
            "BESTEPOCH_DATABASE_URL": url,
            "BESTEPOCH_LEASE_SECONDS": "3",
            "BESTEPOCH_DRAIN_SECONDS": "8",
            "BESTEPOCH_ARRAY_WIDTH": "4",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        }.items():
            monkeypatch.setenv(name, value)  # of the nodes
        opened = Database(url)
        yield opened
        opened.close()


@pytest.fixture
def cluster(database: Database) -> Iterator[Any]:
    """Nodes with one CPU each, beside a head without any."""
    made = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20},
    )
    made.nodes = [made.add_node(num_cpus=1, object_store_memory=80 * 2**20) for _ in range(3)]
    yield made
    made.shutdown()


def ray(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "service.cli", "ray", *arguments])


def alive(database: Database) -> int:
    with database.reading() as connection:
        return len(workers.find(connection))


def submit(database: Database, count: int, **fields: Any) -> None:
    spec = {"max_epochs": EPOCHS, "early_stopping": None, "data": {"kind": "synthetic", "rows": 2_000}, **fields}
    with database.transaction(DEFAULT_TENANT) as connection:
        resolved = [synthetic(**{**spec, "seed": seed}) for seed in range(count)]
        jobs.add(connection, [jobs.new_row(each, DEFAULT_TENANT) for each in resolved])


def all_jobs(database: Database) -> Sequence[Any]:
    with database.reading() as connection:
        return connection.execute(select(jobs_table)).all()


def by_status(database: Database) -> dict[str, int]:
    with database.reading() as connection:
        return Counter(connection.scalars(select(jobs_table.c.status)).all())


def test_actors_that_do_not_answer_are_drained_and_a_hanging_worker_is_killed(
    database: Database, server: str, cluster: Any
) -> None:
    submit(database, 1, data={"kind": "synthetic", "rows": 200_000}, batch_size=2, max_epochs=100)
    up = ray("up", "--address", cluster.address, "--actors", "2")
    until(lambda: alive(database) == 2 and by_status(database) == {"running": 1}, seconds=180)
    with cut_off(server, database.url.render_as_string(hide_password=False)):
        time.sleep(5)
        assert up.poll() is None
    up.send_signal(signal.SIGTERM)
    assert up.wait(60) == 0

    until(lambda: alive(database) == 2 and by_status(database) == {"running": 1}, seconds=60)
    with database.reading() as connection:
        busy, idle = sorted(workers.find(connection), key=lambda worker: not worker.jobs)
    (before,), actor = all_jobs(database), parent_of(busy.pid)
    for pid in (actor, idle.pid):
        os.kill(pid, signal.SIGSTOP)
    down = ray("down", "--address", cluster.address)
    until(lambda: not process_alive(idle.pid), seconds=40)
    assert down.poll() is None
    assert process_alive(busy.pid)

    os.kill(actor, signal.SIGCONT)

    assert down.wait(60) == 0
    (after,) = all_jobs(database)
    assert (after.status, after.attempt, after.failures) == ("queued", before.attempt, before.failures)


def test_jobs_are_trained_on_three_nodes_of_which_one_dies(database: Database, cluster: Any) -> None:
    up = ray("up", "--address", cluster.address, "--min", "0", "--max", "3", "--patience", "3")
    try:
        time.sleep(10)
        assert alive(database) == 0
        submit(database, JOBS)
        until(lambda: alive(database) == 3, seconds=120)

        cluster.remove_node(cluster.nodes[1], allow_graceful=False)
        until(lambda: by_status(database) == {"succeeded": JOBS}, seconds=400)

        until(lambda: alive(database) == 0, seconds=90)
        with database.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(epochs)) == JOBS * EPOCHS
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(30) == 0
    assert ray("down", "--address", cluster.address).wait(90) == 0
