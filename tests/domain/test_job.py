"""The life of a job: which states are its end. The moves between them are the store's, and its model's to check."""

from __future__ import annotations

import pytest

from service.domain.status import LIVE, Status


@pytest.mark.parametrize("status", Status)
def test_a_job_has_ended_when_it_succeeded_failed_or_was_cancelled(status: Status) -> None:
    ended = status in {Status.succeeded, Status.failed, Status.cancelled}

    assert status.terminal == ended
    assert (status in LIVE) == (not ended)
