"""Decisions of a search as lines: one a step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from service.cli.search_progress import lines_of
from service.domain.sweep import Decision, DecisionKind, Sweep, SweepBest, SweepStatus
from service.spec.early_stopping import Monitor

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATE = Sweep(
    id="swp_1",
    name=None,
    labels={},
    status=SweepStatus.running,
    jobs=1,
    counts={},
    monitor=Monitor.val_loss,
    best=None,
    base={},
    grid=None,
    points=None,
    replicates=1,
    created_at=NOW,
)


def decided(kind: str, **fields: Any) -> Decision:
    return Decision(number=1, kind=DecisionKind(kind), created_at=NOW, **{"reason": "so", **fields})


def test_a_batch_of_proposals_is_a_line_with_the_best_value_so_far() -> None:
    batch = [decided("proposed", trial=trial, reason="proposed by TPE") for trial in (5, 6, 7)]
    best = SweepBest(job="job_1", point={}, epoch=2, monitor=Monitor.val_loss, value=0.25, metrics={})

    assert list(lines_of(batch, STATE)) == ["Trials 5 to 7: proposed by TPE"]
    assert list(lines_of(batch[:1], STATE.model_copy(update={"best": best}))) == [
        "Trial 5: proposed by TPE; best val_loss so far 0.25"
    ]


def test_the_end_of_a_rung_is_a_line_with_its_best_trial() -> None:
    found = [decided("promoted", trial=4, rung=2, bracket=1, value=0.123456)]
    found += [decided("pruned", trial=trial, rung=1, bracket=1, value=1.0) for trial in (1, 2)]

    assert list(lines_of(found, STATE)) == ["Rung 1 ended: 1 of 3 promoted, 2 pruned; best val_loss 0.1235 of trial 4"]


def test_rungs_of_several_brackets_are_a_line_each() -> None:
    found = [decided("promoted", trial=1, rung=3, bracket=1, value=0.5), decided("pruned", trial=2, rung=1, bracket=2)]

    assert list(lines_of(found, STATE)) == [
        "Rung 2 ended: 1 of 1 promoted, 0 pruned; best val_loss 0.5 of trial 1",
        "Rung 1 of bracket 2 ended: 0 of 1 promoted, 1 pruned",
    ]


def test_trials_that_a_budget_prunes_outside_of_a_rung_are_a_line() -> None:
    assert list(lines_of([decided("pruned", trial=2)], STATE)) == ["The search ended: 0 of 1 promoted, 1 pruned"]


def test_the_end_is_the_reason() -> None:
    found = [decided("stopped", reason="the last rung has ended"), decided("published", reason="version 1 of 'a'")]

    assert list(lines_of(found, STATE)) == ["The last rung has ended", "Version 1 of 'a'"]
