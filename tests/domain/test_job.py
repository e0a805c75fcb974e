"""The terminal states of a job."""

from __future__ import annotations

import pytest

from service.domain.status import LIVE, Status


@pytest.mark.parametrize("status", Status)
def test_states_in_which_a_job_has_ended_are_terminal(status: Status) -> None:
    ended = status in {Status.succeeded, Status.failed, Status.cancelled, Status.pruned}

    assert status.terminal == ended
    assert (status in LIVE) == (not ended)
