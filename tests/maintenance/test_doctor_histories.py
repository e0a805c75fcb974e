"""Histories and logs that cannot be so are found by the doctor: holes, epochs too many, ends too many, a wrong best."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from service.domain.event import EventKind
from service.domain.status import Status
from service.store.schema import checkpoints, epochs, events
from tests.api.states import Kitchen
from tests.maintenance.test_doctor import change, damage, examined, trained
from tests.store.records import epoch


@pytest.mark.parametrize(
    ("lost", "what"),
    [
        ([2], "it speaks of epochs 1 to 4, but there are 3 of them, 1 to 4"),
        ([1], "it speaks of epochs 1 to 4, but there are 3 of them, 2 to 4"),
        ([4], "it speaks of epochs 1 to 4, but there are 3 of them, 1 to 3"),
        ([1, 2, 3, 4], "it speaks of epochs 1 to 4, but there are none"),
    ],
)
def test_a_history_with_a_hole_is_found(kitchen: Kitchen, lost: list[int], what: str) -> None:
    claim = kitchen.running()
    kitchen.record(claim, *(epoch(number) for number in range(1, 5)))
    damage(kitchen, change(claim.job_id, best_epoch=None))
    damage(kitchen, delete(epochs).where(epochs.c.epoch.in_(lost)))

    (said,) = examined(kitchen)

    assert said.startswith(f"{claim.job_id}: {what}")


def test_a_history_longer_than_the_job_speaks_of_is_found(kitchen: Kitchen) -> None:
    job_id = trained(kitchen)
    damage(kitchen, insert(epochs).values(job_id=job_id, **epoch(4).model_dump()))

    (said,) = examined(kitchen)

    assert f"{job_id}: it speaks of epochs 1 to 3, but there are 4 of them, 1 to 4" in said


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"number": 7}, "its log has 4 entries, the last of which is number 7"),
        ({"kind": EventKind.best}, "it is succeeded, but its log tells of 0 ends"),
    ],
)
def test_a_log_that_lacks_something_is_found(kitchen: Kitchen, values: dict[str, Any], what: str) -> None:
    job_id = trained(kitchen)
    damage(kitchen, update(events).where(events.c.kind == EventKind.ended).values(**values))

    (said,) = examined(kitchen)

    assert said.startswith(f"{job_id}: {what}; ")


def test_a_job_that_ends_twice_is_found(kitchen: Kitchen) -> None:
    job_id = trained(kitchen)
    damage(kitchen, update(events).where(events.c.kind == EventKind.best).values(kind=EventKind.ended))

    (said,) = examined(kitchen)

    assert said.startswith(f"{job_id}: it is succeeded, but its log tells of 2 ends; ")


def test_a_best_that_its_history_does_not_know_is_found(kitchen: Kitchen) -> None:
    elsewhere, otherwise, unpublished, outdated = (trained(kitchen) for _ in range(4))
    damage(kitchen, change(elsewhere, best_epoch=7, status=Status.failed))
    damage(kitchen, change(otherwise, best_value=0.25))
    damage(kitchen, delete(checkpoints).where(checkpoints.c.job_id == unpublished))
    damage(kitchen, update(checkpoints).where(checkpoints.c.job_id == outdated).values(epoch=2))

    said = sorted(examined(kitchen))

    assert [line.split(";")[0] for line in said] == [
        f"{elsewhere}: its best epoch, 7, is not in its history",
        f"{otherwise}: its best val_loss is 0.25, but epoch 3 measured {1 / 3}",
        f"{unpublished}: the checkpoint of its best epoch, 3, should be published",
        f"{outdated}: the checkpoint of its best epoch, 3, should be published",
    ]


def test_a_best_by_another_number_than_a_loss_is_compared_with_that_number(kitchen: Kitchen) -> None:
    job_id = trained(kitchen)
    damage(kitchen, change(job_id, monitor="val_accuracy", best_value=0.5))
    assert examined(kitchen) == []

    damage(kitchen, change(job_id, best_value=0.75))

    assert f"{job_id}: its best val_accuracy is 0.75, but epoch 3 measured 0.5" in examined(kitchen)[0]
