"""The order of claims: round-robin between tenants, then priority and age; similar jobs form one array.

Queued jobs that the same workers can claim are a class. A claim never reads past jobs of other classes: it finds the
first job of each class that it can claim by look-ups in an index, and merges the classes of a tenant (`claim_queries`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from service.store.jobs import claim_queries
from service.store.jobs.claim_queries import CLASS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection, Row

ALL_IDS = "k"  # greater than any job's id; ids begin with the time of submission
UNLIMITED = 2**31 - 1  # more running jobs than any tenant has
MAX_CLASSES = 100  # of a tenant, merged by one claim: those with the first jobs. SQLite merges at most 500
LOOKS = (64, 1_024, 16_384)
"""At so many jobs of a class, one after the other while concurrent claims have locked them all."""


@dataclass(frozen=True)
class Claimant:
    """A worker that asks for jobs."""

    worker: str
    devices: Collection[str]
    """The devices it trains on; jobs that ask for another device stay queued."""
    width: int
    """At most this many jobs in one claim."""
    trainers: int
    """How many of its trainers are idle: they share the queued jobs evenly."""
    labels: Collection[str] = ("",)
    """The subsets of its labels, as text; jobs that ask for other labels stay queued."""
    ranks: int = 1
    """The largest number of devices of a job that it can start now; jobs on more devices stay queued ..."""
    beyond: int = UNLIMITED
    """... up to so many: for a job on more, there are not enough trainers anywhere, and it starts some for it."""
    preemptible: bool = False
    """Whether its machine may be taken away at short notice."""
    leaves_seconds: float = 0.0
    """For so long after their submission it leaves jobs that suit the other class of workers to those; 0: there are
    none. See decision 113."""

    @property
    def left_until(self) -> str:
        """Jobs that suit the other class of workers are left to those from this id on."""
        return f"job_{time.time_ns() - int(self.leaves_seconds * 1e9):016x}" if self.leaves_seconds else ALL_IDS


@dataclass(frozen=True)
class Turn:
    """A tenant with jobs that the claimant can claim."""

    tenant: str
    heads: Sequence[Row[Any]]
    """The first of these jobs of each class, in the order of claims; at most `MAX_CLASSES`."""
    classes: dict[str, Any]
    """Which jobs are of these classes and claimable: parameters of the statements that merge them."""
    leaves: bool
    """Whether some are left to other workers for a while."""


def in_turn(connection: Connection, by: Claimant, max_running: int) -> list[Turn]:
    """Tenants with a job that the claimant can claim, in the order in which they are served.

    Fewest running jobs first; ties go to the longest time since the last claim, then to the oldest next job.
    `max_running`: skip tenants with this many running jobs; 0: no limit.

    Costs a few index look-ups per tenant and class that the claimant can claim, regardless of the number of jobs and of
    those that it cannot claim. Uncommitted claims are not seen: concurrent claims may serve the same tenant, and later
    claims balance that.
    """
    devices, left_until = sorted({"auto", *by.devices}), by.left_until
    asked = {
        **{f"devices{number}": device for number, device in enumerate(devices)},
        **{f"labels{number}": text for number, text in enumerate(by.labels)},
        "ranks": by.ranks,
        "beyond": by.beyond,
        "preemptible": by.preemptible,
        "left_until": left_until,
    }
    postgres = connection.dialect.name == "postgresql"
    rows = connection.execute(claim_queries.heads(len(devices), len(by.labels), postgres=postgres), asked)
    turns = [_turn(tenant, list(heads), by, left_until) for tenant, heads in groupby(rows, key=attrgetter("tenant"))]
    if len(turns) > 1 or max_running:
        turns = _in_order(connection, turns, max_running or UNLIMITED)
    return turns


def _turn(tenant: str, heads: Sequence[Row[Any]], by: Claimant, left_until: str) -> Turn:
    values: dict[str, Any] = {"tenant": tenant}
    for number, first in enumerate(heads[:MAX_CLASSES]):
        values |= {f"{name}{number}": getattr(first, name) for name in (*CLASS, "priority")}
        values[f"before{number}"] = ALL_IDS if first.suits_preemptible == by.preemptible else left_until
    return Turn(tenant, heads[:MAX_CLASSES], values, left_until != ALL_IDS)


def _in_order(connection: Connection, turns: Sequence[Turn], max_running: int) -> list[Turn]:
    found = connection.execute(claim_queries.served(), {"ids": [turn.heads[0].id for turn in turns]})
    served = {row.tenant: row for row in found}

    def precedence(turn: Turn) -> tuple[Any, ...]:
        row = served[turn.tenant]
        return row.running, row.claimed_at is not None, row.claimed_at, turn.heads[0].id

    there = (turn for turn in turns if turn.tenant in served)  # unless its job has just been deleted
    return sorted((turn for turn in there if served[turn.tenant].running < max_running), key=precedence)


def head(connection: Connection, turn: Turn) -> Row[Any] | None:
    """The tenant's next job that the claimant can claim, locked; concurrent claims skip it."""
    statement = claim_queries.first(len(turn.heads), None, leaves=turn.leaves)
    for most in LOOKS:
        row = connection.execute(statement, {**turn.classes, "limit": 1, "most": most}).first()
        if row is not None:
            return row
    return None


def count_alike(connection: Connection, turn: Turn, head: Row[Any], limit: int) -> int:
    """How many queued jobs, `head` included, can be trained as one array with it; stops counting at `limit`."""
    column, key = _key(head)
    statement = claim_queries.count(len(turn.heads), column, leaves=turn.leaves)
    return min(connection.scalar(statement, {**turn.classes, "key": key, "most": limit}) or 0, limit)


def alike(connection: Connection, turn: Turn, head: Row[Any], width: int) -> Sequence[str]:
    """The ids of the first `width` of these jobs, locked; skips jobs locked by others.

    They have at most `head.row_sets` row sets and fit into the smallest `array_limit` of them; others stay queued.
    """
    ids, keys, limit = list[str](), set[str](), width
    column, key = _key(head)
    statement = claim_queries.first(len(turn.heads), column, leaves=turn.leaves)
    asked = {**turn.classes, "key": key, "limit": width, "most": width + LOOKS[0]}
    for row in connection.execute(statement, asked):
        known = row.array_key in keys
        if len(ids) < min(limit, row.array_limit) and (known or len(keys) < head.row_sets):
            ids.append(row.id)
            keys.add(row.array_key)
            limit = min(limit, row.array_limit)
    return ids


def _key(head: Row[Any]) -> tuple[str, str]:
    """The column that similar jobs share, and its value; jobs that an older version submitted share their rows too."""
    return ("array_key", head.array_key) if head.shape_key is None else ("shape_key", head.shape_key)
