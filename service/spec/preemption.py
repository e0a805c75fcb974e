"""Which jobs suit a worker whose machine may be taken away: long ones whose state is saved within its notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.engine_constants import VALUE_BYTES
from service.spec.duration import array_seconds

if TYPE_CHECKING:
    from service.spec.resolved import Resolved

LONG_SECONDS = 60.0
"""Estimated training time from which a job is long: a short one ends before a cheap machine is worth its start."""
STATE_BYTES = 64 * 2**20
"""Largest state that is cheap to save: weights, best weights, and up to two moments of the optimizer."""


def suits_preemptible(job: Resolved) -> bool:
    """Whether the job is long and cheap to save."""
    return array_seconds([job]) >= LONG_SECONDS and 4 * VALUE_BYTES * job.parameters <= STATE_BYTES
