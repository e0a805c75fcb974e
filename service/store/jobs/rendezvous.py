"""Where the ranks of an attempt meet: the leader publishes its address, and the other ranks look it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from service.errors import LeaseLost
from service.store.jobs.attempt import owned_by
from service.store.schema import jobs

if TYPE_CHECKING:
    from sqlalchemy import Connection


def publish(connection: Connection, job_id: str, attempt: int, address: str) -> None:
    """Publish the address of the leader of this attempt. Raises LeaseLost."""
    found = update(jobs).where(owned_by(job_id, attempt)).values(rendezvous=f"{attempt} {address}")
    if connection.execute(found).rowcount == 0:
        raise LeaseLost


def find(connection: Connection, job_id: str, attempt: int) -> str | None:
    """The address of the leader of this attempt; None: not yet. Raises LeaseLost when the attempt has ended."""
    row = connection.execute(select(jobs.c.rendezvous).where(owned_by(job_id, attempt))).first()
    if row is None:
        raise LeaseLost
    of_attempt, _, address = (row.rendezvous or "").partition(" ")
    return address if of_attempt == str(attempt) else None
