"""Many workers at one Postgres: claims a second and their p99, and what a worker costs that has nothing to do.

    python -m benchmarks.workers [workers] [jobs] [seconds]

Simulated workers (50 by default) do what a supervisor does with the database: listen for commits, look into the queue,
renew leases and look for expired ones. A claimed job ends at once, so that claims follow each other as fast as they
can. Ten workers are a process, each with a connection that listens; they share a pool.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import text

from benchmarks.queue import DONE, fill, p99
from service.store import workers
from service.store.engine import Database, migrate
from service.store.jobs import attempt, leases
from service.store.jobs.claim import claim_jobs, has_queued
from service.store.jobs.claim_order import Claimant
from service.store.notifications import QUEUE_CHANNEL
from service.store.workers import WorkerInfo
from service.worker.claimer import MAX_SPREAD_SECONDS, SPREAD_SECONDS
from tests.databases import postgres_database, postgres_server

THREADS = 10  # workers of a process
RENEW_SECONDS, LISTEN_SECONDS = 5.0, 0.1  # as supervisors do


def main() -> None:
    count, jobs, seconds = [*map(int, sys.argv[1:]), *(50, 3_000, 20)[len(sys.argv) - 1 :]]
    with postgres_server() as server, postgres_database(server) as url:
        migrate(url)
        database = Database(url)
        with ProcessPoolExecutor(-(-count // THREADS)) as pool:
            begin = time.time() + 10
            idle = pool.map(partial(work, url, begin, begin + seconds), [THREADS] * -(-count // THREADS))
            time.sleep(max(0.0, begin + 2 - time.time()))
            cost = Cost(database)
            time.sleep(max(0.0, begin + seconds - 2 - time.time()))
            print(f"{count} idle workers: each {cost.of(database, count * (seconds - 4))} a second")
            list(idle)
            fill(database, jobs)
            with database.transaction() as connection:
                connection.execute(text("ANALYZE"))
            begin = time.time() + 5
            cost = Cost(database)
            found = list(pool.map(partial(work, url, begin, None), [THREADS] * -(-count // THREADS)))
        each = [own for times, _, _ in found for own in times]
        empty, took = sum(empty for _, empty, _ in found), max(ended for _, _, ended in found) - begin
        assert len(each) == jobs, (len(each), jobs)
        print(f"{count} workers: {jobs:,} jobs claimed and ended in {took:.1f} s, {jobs / took:,.0f} a second")
        print(f"{count} workers: {cost.of(database, jobs)} a job, {empty:,} claims that found nothing")
        print(f"{count} workers: a claim takes {statistics.median(each) * 1e3:.1f} ms, p99 {p99(each) * 1e3:.1f} ms")
        database.close()


class Cost:
    """What the database did between two moments."""

    def __init__(self, database: Database) -> None:
        self._transactions = transactions(database)

    def of(self, database: Database, count: float) -> str:
        """By job, for example."""
        return f"{(transactions(database) - self._transactions) / count:.2f} transactions"


def transactions(database: Database) -> int:
    with database.reading() as connection:
        asked = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        return int(connection.scalar(text(asked)) or 0)


def work(url: str, begin: float, end: float | None, threads: int) -> tuple[list[float], int, float]:
    """Run so many workers until `end`, or until nothing is queued: seconds of claims, empty claims, and the end."""
    database = Database(url)
    simulated = [Worker(database, f"wrk_{os.getpid()}_{number}") for number in range(threads)]
    running = [threading.Thread(target=each.run, args=[begin, end]) for each in simulated]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    database.close()
    claims = [seconds for each in simulated for seconds in each.claims]
    return claims, sum(each.empty for each in simulated), max(each.ended for each in simulated)


@dataclass
class Worker:
    """What a supervisor does with the database, without trainers."""

    database: Database
    id: str
    claims: list[float] = field(default_factory=list)
    ended: float = 0.0
    empty: int = 0
    spread_seconds: float = 0.05

    def run(self, begin: float, end: float | None) -> None:
        changes = self.database.listen(QUEUE_CHANNEL)
        time.sleep(max(0.0, begin - time.time()))
        renew_at = time.monotonic() + random.uniform(0.0, RENEW_SECONDS)
        look = True
        while end is None or time.time() < end:
            now = time.monotonic()
            if now >= renew_at:
                look |= self._renew() or end is None  # the queue is empty at the end
                renew_at = now + RENEW_SECONDS
            if look:
                with self.database.reading(once=True) as connection:
                    look = has_queued(connection)
                if look:
                    look = self._claim()
                elif end is None:
                    break
            if look:
                changes.rest()
            elif look := changes.wait(LISTEN_SECONDS):
                time.sleep(random.uniform(0.0, self.spread_seconds))
        self.ended = time.time()
        changes.close()

    def _renew(self) -> bool:
        """Whether a job is queued."""
        info: dict[str, Any] = {"hostname": "here", "pid": 1, "trainers": 1, "device": "cpu", "jobs": []}
        seen = WorkerInfo(id=self.id, started_at=datetime.now(UTC), seen_at=datetime.now(UTC), **info)
        with self.database.transaction(quiet=True) as connection:
            leases.renew(connection, self.id, [], 15.0)
            workers.heartbeat(connection, seen)
        with self.database.reading() as connection:
            self.spread_seconds = min(SPREAD_SECONDS * len(workers.live(connection)), MAX_SPREAD_SECONDS)
            leases.seconds_left(connection)
            return has_queued(connection)

    def _claim(self) -> bool:
        """Whether there was a job: a supervisor looks again when it has ended."""
        began = time.perf_counter()
        with self.database.transaction() as connection:
            taken = claim_jobs(connection, Claimant(self.id, {"cpu"}, width=16, trainers=1), seconds=1_000.0)
        if taken:
            self.claims.append(time.perf_counter() - began)
        for each in taken:
            with self.database.transaction() as connection:
                attempt.finish(connection, each.job_id, each.attempt, DONE)
        self.empty += not taken
        return bool(taken)


if __name__ == "__main__":
    main()
