"""The queue: jobs claimed exactly once by many workers, cost of a claim in a long queue, writes of lost attempts.

    python -m benchmarks.queue [jobs] [claims]

On SQLite and on a Postgres server of its own (which does not wait for its disk: see tests/databases.py). By default
10,000 jobs and 20 claiming processes; then 1,000 claims each with 100 and with 100,000 jobs queued, in turns, each job
ending at once and another being queued; then 1,000 attempts that have lost their jobs and try every kind of write.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, text

from service.domain.access import DEFAULT_TENANT
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status, StopReason
from service.errors import LeaseLost, Unavailable
from service.spec.data import SyntheticData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.store.engine import Database, migrate
from service.store.jobs import attempt, jobs, leases
from service.store.jobs.attempt import AttemptRecord, Outcome, write
from service.store.jobs.claim import Claim, claim_jobs, has_queued
from service.store.jobs.claim_order import Claimant
from service.store.schema import epochs, events
from service.store.schema import jobs as jobs_table
from tests.databases import postgres_database, postgres_server

CLAIMERS, SHORT, LONG, WARM, ZOMBIES = 20, 100, 100_000, 50, 1_000
SPEC = JobSpec.model_validate({"data": {"kind": "synthetic", "rows": 1_000}, "max_epochs": 10})
assert isinstance(SPEC.data, SyntheticData)
RESOLVED = resolve(SPEC, profile_of(SPEC.data))
DONE = Outcome(Status.succeeded, StopReason.max_epochs)
CRASH = JobError(code=ErrorCode.worker_lost, message="it died")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    claims = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    for name, url in databases():
        seconds, each = claim_all(url(), count)
        print(f"{name}: {count:,} jobs claimed exactly once by {CLAIMERS} claimers in {seconds:.1f} s")
        print(f"{name}: a claimer's own median {statistics.median(each) * 1000:.1f} ms, p99 {p99(each) * 1000:.1f} ms")
        time_claims(name, url(), url(), claims)
        print(f"{name}: {zombies(url()):,} writes accepted from {ZOMBIES:,} attempts that had lost their jobs")


def databases() -> Iterator[tuple[str, Callable[[], str]]]:
    """The kinds of database, each with a way to get an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(9))

        def file() -> str:
            url = f"sqlite:///{Path(folder) / f'{next(numbers)}.db'}"
            migrate(url)
            return url

        yield "SQLite", file
    with postgres_server() as server:
        made: list[Any] = []

        def copy() -> str:
            made.append(postgres_database(server))
            url: str = made[-1].__enter__()
            migrate(url)
            return url

        try:
            yield "Postgres", copy
        finally:
            for each in made:
                each.__exit__(None, None, None)


def fill(database: Database, count: int) -> None:
    """Queue so many jobs, each like no other, so that none is claimed in company."""
    for start in range(0, count, 1_000):
        rows = [jobs.new_row(RESOLVED, DEFAULT_TENANT) for _ in range(start, min(start + 1_000, count))]
        for row in rows:
            row["array_key"] = row["shape_key"] = row["id"]
        with database.transaction(DEFAULT_TENANT) as connection:
            jobs.add(connection, rows)


def claim_all(url: str, count: int) -> tuple[float, list[float]]:
    """Claim every job by CLAIMERS processes at once; seconds in all, and of each claim."""
    database = Database(url)
    fill(database, count)
    begin = time.time() + 10  # when all processes have started
    with ProcessPoolExecutor(CLAIMERS) as pool:
        parts = list(pool.map(partial(claimer, url, begin), range(CLAIMERS)))
    claimed = [job_id for ids, _, _ in parts for job_id in ids]
    assert len(claimed) == len(set(claimed)) == count, (len(claimed), len(set(claimed)))
    with database.reading() as connection:
        logged = select(func.count()).where(events.c.kind == "claimed")
        assert connection.scalar(logged) == count
        assert connection.scalar(select(func.count()).where(jobs_table.c.attempt == 1)) == count
    database.close()
    return max(ended for _, _, ended in parts) - begin, [own for _, seconds, _ in parts for own in seconds]


def claimer(url: str, begin: float, number: int) -> tuple[list[str], list[float], float]:
    """Claim until nothing is queued: the ids, the seconds of each claim, and when it was over."""
    database = Database(url)
    with database.reading() as connection:
        connection.execute(select(1))
    time.sleep(max(0.0, begin - time.time()))
    ids, seconds = [], []
    while True:
        started = time.perf_counter()
        try:
            claims = claim(database, f"wrk_{number}")
        except Unavailable:  # SQLite's lock goes to whoever looks next, and one can be unlucky for seconds
            claims = []
        seconds.append(time.perf_counter() - started)
        ids += [claim.job_id for claim in claims]
        if not claims:
            with database.reading() as connection:
                if not has_queued(connection):
                    return ids, seconds, time.time()


def claim(database: Database, worker: str = "wrk_1", width: int = 16) -> list[Claim]:
    with database.transaction() as connection:
        return claim_jobs(connection, Claimant(worker, {"cpu"}, width, trainers=1), seconds=1_000.0)


def time_claims(name: str, short: str, long: str, count: int) -> None:
    """Claims with a short and a long queue, in turns."""
    lengths = {SHORT: Database(short), LONG: Database(long)}
    seconds: dict[int, list[float]] = {SHORT: [], LONG: []}
    for length, database in lengths.items():
        fill(database, length)
        if not database.is_sqlite:
            with database.transaction() as connection:
                connection.execute(text("ANALYZE"))
    for turn in range(count + WARM):
        for length, database in lengths.items():
            started = time.perf_counter()
            (taken,) = claim(database, width=1)
            if turn >= WARM:
                seconds[length].append(time.perf_counter() - started)
            with database.transaction() as connection:
                attempt.finish(connection, taken.job_id, taken.attempt, DONE)
            fill(database, 1)
    for length, own in seconds.items():
        each = f"{statistics.median(own) * 1000:.2f} ms, p99 {p99(own) * 1000:.2f} ms"
        print(f"{name}: {length:,} queued: a claim takes {each}")
    print(f"{name}: p99 of the long queue / p99 of the short one: {p99(seconds[LONG]) / p99(seconds[SHORT]):.2f}")
    with lengths[LONG].reading() as connection:
        last = jobs.find(connection, limit=1)[0].id
        place = timed(lambda: jobs.get(connection, last))
        page = timed(lambda: jobs.find(connection, limit=20))
    print(f"{name}: {LONG:,} queued: the last one's job takes {place * 1000:.1f} ms, a page of 20 {page * 1000:.1f} ms")
    for database in lengths.values():
        database.close()


def timed(call: Callable[[], object]) -> float:
    own = []
    for _ in range(20):
        started = time.perf_counter()
        call()
        own.append(time.perf_counter() - started)
    return statistics.median(own)


def p99(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


def zombies(url: str) -> int:
    """How many writes of attempts that have lost their jobs changed anything; their jobs run in other hands."""
    database = Database(url)
    fill(database, ZOMBIES)
    lost = [claim(database)[0] for _ in range(ZOMBIES)]
    for each in lost:
        with database.transaction() as connection:
            leases.record_crash(connection, each.job_id, each.attempt, CRASH)
    while claim(database, "wrk_2"):
        pass
    before = contents(database)
    accepted = 0
    for each in lost:
        for write_to in WRITES:
            try:
                with database.transaction() as connection:
                    accepted += write_to(connection, each)
            except LeaseLost:
                pass
    assert contents(database) == before
    database.close()
    return accepted


def recorded(connection: Connection, lost: Claim, **what: Any) -> int:
    return len(write(connection, "cpu", [AttemptRecord(lost.job_id, lost.attempt, **what)]).controls)


def fenced(connection: Connection, lost: Claim, ask: Callable[..., None], *what: Any) -> int:
    ask(connection, lost.job_id, lost.attempt, *what)
    return 1


WRITES: list[Callable[[Connection, Claim], int]] = [
    partial(recorded, back_to=0),
    partial(recorded, outcome=DONE),
    partial(fenced, ask=attempt.release),
    lambda connection, lost: fenced(connection, lost, leases.record_crash, CRASH),
    lambda connection, lost: fenced(connection, lost, attempt.finish, DONE),
]


def contents(database: Database) -> list[Any]:
    """Everything that such a write could change."""
    with database.reading() as connection:
        tables = (jobs_table, jobs_table.c.id), (epochs, epochs.c.job_id), (events, events.c.job_id)
        return [list(connection.execute(select(table).order_by(first))) for table, first in tables]


if __name__ == "__main__":
    main()
