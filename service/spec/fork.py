"""What a client may ask of a fork: a new job that goes on from another's weights, with some of its spec changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from service.errors import FieldError, InvalidSpec
from service.spec.base import Strict
from service.spec.capped_errors import CapErrors
from service.spec.layers import Dropout, Layer
from service.spec.resolve import Resolved, choose_inputs, resolve
from service.spec.sweep import MAX_NAMES, Change, DottedName

if TYPE_CHECKING:
    from service.spec.job import JobSpec
    from service.spec.limits import JobLimits
    from service.spec.table import TableProfile

FIXED = ("data", "task", "split", "preprocess")


class ForkSpec(Strict):
    """A new job from the weights of another."""

    checkpoint: Literal["best", "last"] = "last"
    """`last`: go on after the last saved epoch, with the optimizer's state and the history; nothing changed, that is
    what the other job would have done. `best`: begin at epoch 1 with the best weights in place of random ones."""
    changes: Annotated[dict[DottedName, Change], Field(max_length=MAX_NAMES), CapErrors()] = {}
    """Dotted names into the other job's spec with their new values, e.g. `{"early_stopping.patience": 20}`."""


def resolve_fork(spec: JobSpec, table: TableProfile, limits: JobLimits, parent: Resolved) -> Resolved:
    """The fork, with the inputs and rows that `parent` is trained on, though this version might choose others.

    Raises InvalidSpec; what has to stay, `check_fork` compares.
    """
    if any(getattr(parent.spec, part) != getattr(spec, part) for part in FIXED):
        return resolve(spec, table, limits)
    inputs = replace(choose_inputs(spec, table), features=parent.features)
    same = {name: getattr(parent, name) for name in ("target", "rows", "null_values", "date_format")}
    return replace(resolve(spec, table, limits, inputs), **same)


def check_fork(parent: Resolved, fork: Resolved, asked: ForkSpec) -> None:
    """Raise InvalidSpec, pointing into the spec, where the weights or the optimizer would not fit the fork."""
    faults = [
        FieldError(f"/{part}", "must stay: the weights belong to it")
        for part in FIXED
        if getattr(parent.spec, part) != getattr(fork.spec, part)
    ]
    if not faults and list(map(_shape, parent.layers)) != list(map(_shape, fork.layers)):
        faults.append(FieldError("/architecture", "must keep its layers: the weights belong to them"))
    if asked.checkpoint == "last" and parent.spec.optimizer.kind != fork.spec.optimizer.kind:
        faults.append(FieldError("/optimizer/kind", "must stay for `last`, whose optimizer goes on; fork from `best`"))
    if faults:
        raise InvalidSpec(f"{faults[0].pointer} {faults[0].message}", tuple(faults))


def _shape(layer: Layer) -> Layer:
    return replace(layer, p=0.5) if isinstance(layer, Dropout) else layer
