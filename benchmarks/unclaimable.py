"""Claims past jobs for other workers: cost of a claim with none, 1,000 and 100,000 jobs in front that it cannot claim.

    python -m benchmarks.unclaimable [sqlite | postgres]

A third of the jobs in front ask for an absent label, another device, and the other class of workers, each; they are of
the same tenant and shape as the jobs behind them, and of a higher priority. On databases as of `benchmarks.queue`.
"""

from __future__ import annotations

import statistics
import sys
import time

from sqlalchemy import String, case, cast, func, insert, literal, select, text, true, update

from benchmarks.queue import databases, fill
from service.store.engine import Database
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from service.store.schema import jobs

CLAIMS, WARM, WIDTH = 20, 5, 16
IN_FRONT = 0, 1_000, 100_000


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for name, url in databases():
        if wanted in name.lower():
            measure(name, Database(url(), statement_seconds=300.0))


def measure(name: str, database: Database) -> None:
    there = 0
    for count in IN_FRONT:
        put_in_front(database, there, count)
        there = count
        for width in (1, WIDTH):
            seconds = time_claims(database, width)
            each = f"median {statistics.median(seconds) * 1e3:.1f} ms, worst {max(seconds) * 1e3:.1f} ms"
            print(f"{name}: {count:,} jobs in front: a claim of {width}: {each}", flush=True)
    database.close()


def put_in_front(database: Database, there: int, count: int) -> None:
    """Copies of a job, so that there are so many."""
    if count == 0:
        return
    fill(database, 1)
    alike(database)
    numbers = select(literal(there + 1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < count))
    third = numbers.c.n % 3
    changed = {
        "id": jobs.c.id + "_" + cast(numbers.c.n, String),
        "priority": literal(5),
        "device_request": case((third == 0, "cuda"), else_="auto"),
        "worker_labels": case((third == 1, "gpu=h100"), else_=""),
        "suits_preemptible": third == 2,
    }
    copies = select(*(changed.get(column.name, column) for column in jobs.c)).join_from(numbers, jobs, true())
    with database.transaction() as connection:
        newest = connection.scalar(select(func.max(jobs.c.id)).where(jobs.c.priority == 0))
        copied = copies.where(jobs.c.id == newest)
        connection.execute(insert(jobs).from_select([column.name for column in jobs.c], copied))
    if not database.is_sqlite:
        with database.transaction() as connection:
            connection.execute(text("ANALYZE"))


def alike(database: Database) -> None:
    """All queued jobs have one shape, and fit into one array."""
    with database.transaction() as connection:
        values = {"shape_key": "shape", "row_sets": 1_000, "array_limit": 64}
        connection.execute(update(jobs).where(jobs.c.status == "queued", jobs.c.priority == 0).values(values))


def time_claims(database: Database, width: int) -> list[float]:
    fill(database, (CLAIMS + WARM) * width)
    alike(database)
    by, seconds = Claimant("wrk_1", {"cpu"}, width, trainers=1, leaves_seconds=1e6), []
    for _ in range(CLAIMS + WARM):
        began = time.perf_counter()
        with database.transaction() as connection:
            claimed = claim_jobs(connection, by, seconds=1_000.0)
        seconds.append(time.perf_counter() - began)
        assert len(claimed) == width, len(claimed)
    return seconds[WARM:]


if __name__ == "__main__":
    main()
