"""The doctor reports inconsistent histories and event logs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from service.domain.event import EventKind
from service.domain.status import Status
from service.store.schema import checkpoints, epochs, events
from tests.api.job_factory import JobFactory
from tests.maintenance.damage import change, damage, examined, trained
from tests.store.records import epoch


@pytest.mark.parametrize(
    ("lost", "problem"),
    [
        ([2], "its history should have epochs 1 to 4, but has 3 epochs, 1 to 4"),
        ([1], "its history should have epochs 1 to 4, but has 3 epochs, 2 to 4"),
        ([4], "its history should have epochs 1 to 4, but has 3 epochs, 1 to 3"),
        ([1, 2, 3, 4], "its history should have epochs 1 to 4, but has none"),
    ],
)
def test_a_history_with_gaps_is_reported(job_factory: JobFactory, lost: list[int], problem: str) -> None:
    claim = job_factory.running()
    job_factory.record(claim, *(epoch(number) for number in range(1, 5)))
    damage(job_factory, change(claim.job_id, best_epoch=None))
    damage(job_factory, delete(epochs).where(epochs.c.epoch.in_(lost)))

    (lines,) = examined(job_factory)

    assert lines.startswith(f"{claim.job_id}: {problem}")


def test_a_history_with_extra_epochs_is_reported(job_factory: JobFactory) -> None:
    job_id = trained(job_factory)
    damage(job_factory, insert(epochs).values(job_id=job_id, **epoch(4).model_dump()))

    (lines,) = examined(job_factory)

    assert f"{job_id}: its history should have epochs 1 to 3, but has 4 epochs, 1 to 4" in lines


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"number": 7}, "its event log has 4 events, but the last one is number 7"),
        ({"kind": EventKind.best}, "it is succeeded, but its event log has 0 end events"),
    ],
)
def test_an_incomplete_event_log_is_reported(job_factory: JobFactory, values: dict[str, Any], problem: str) -> None:
    job_id = trained(job_factory)
    damage(job_factory, update(events).where(events.c.kind == EventKind.ended).values(**values))

    (lines,) = examined(job_factory)

    assert lines.startswith(f"{job_id}: {problem}; ")


def test_a_job_with_two_end_events_is_reported(job_factory: JobFactory) -> None:
    job_id = trained(job_factory)
    damage(job_factory, update(events).where(events.c.kind == EventKind.best).values(kind=EventKind.ended))

    (lines,) = examined(job_factory)

    assert lines.startswith(f"{job_id}: it is succeeded, but its event log has 2 end events; ")


def test_a_best_epoch_that_contradicts_the_history_is_reported(job_factory: JobFactory) -> None:
    missing, different, unpublished, outdated = (trained(job_factory) for _ in range(4))
    damage(job_factory, change(missing, best_epoch=7, status=Status.failed))
    damage(job_factory, change(different, best_value=0.25))
    damage(job_factory, delete(checkpoints).where(checkpoints.c.job_id == unpublished))
    damage(job_factory, update(checkpoints).where(checkpoints.c.job_id == outdated).values(epoch=2))

    lines = sorted(examined(job_factory))

    assert [line.split(";")[0] for line in lines] == [
        f"{missing}: its best epoch, 7, is not in its history",
        f"{different}: its best val_loss is 0.25, but epoch 3 has {1 / 3}",
        f"{unpublished}: its best checkpoint is not of epoch 3",
        f"{outdated}: its best checkpoint is not of epoch 3",
    ]


def test_a_best_value_of_a_metric_is_compared_with_that_metric(job_factory: JobFactory) -> None:
    job_id = trained(job_factory)
    damage(job_factory, change(job_id, monitor="val_accuracy", best_value=0.5))
    assert examined(job_factory) == []

    damage(job_factory, change(job_id, best_value=0.75))

    assert f"{job_id}: its best val_accuracy is 0.75, but epoch 3 has 0.5" in examined(job_factory)[0]
