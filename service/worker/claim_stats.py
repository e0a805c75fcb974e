"""Statistics of a worker's claims and crashes since it started; shown by the API and as metrics."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.store.jobs.claim import Claim


@dataclass
class ClaimStats:
    """Counters and sums."""

    claims: int = 0
    claimed: int = 0
    claim_seconds: float = 0.0
    waited_seconds: float = 0.0
    lapsed_leases: int = 0
    trainer_restarts: int = 0

    @contextmanager
    def claiming(self) -> Iterator[list[Claim]]:
        """Time a claim; put the claimed jobs into the yielded list to have them counted."""
        claims: list[Claim] = []
        began = time.perf_counter()
        yield claims
        if claims:
            self.claims += 1
            self.claimed += len(claims)
            self.claim_seconds += time.perf_counter() - began
            self.waited_seconds += sum(claim.waited_seconds for claim in claims)
