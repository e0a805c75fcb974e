"""Forks: a new job that continues from the weights of another job, with changes in its spec."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from service.errors import FieldError, InvalidSpec
from service.spec.base import Change, DottedName, Strict
from service.spec.capped_errors import CapErrors
from service.spec.resolve import Resolved, choose_inputs, resolve
from service.spec.resolved import link_of
from service.spec.space import MAX_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.spec.job import JobSpec
    from service.spec.limits import JobLimits
    from service.spec.table import TableProfile

FIXED = ("data", "task", "split", "preprocess")


class ForkSpec(Strict):
    """A new job from the weights of another job."""

    checkpoint: Literal["best", "last"] = "last"
    """`last`: continue after the last saved epoch, with the optimizer's state and the history; without changes, this is
    bit-identical to a longer run of the other job. `best`: start at epoch 1 with the best weights."""
    changes: Annotated[dict[DottedName, Change], Field(max_length=MAX_NAMES), CapErrors()] = {}
    """Dotted paths in the other job's spec and their new values, e.g. `{"early_stopping.patience": 20}`."""


def base_of_fork(parent: JobSpec, changes: Mapping[str, Any]) -> JobSpec:
    """The spec that `changes` apply to: where they change the kind of a part, without the defaults of the old kind,
    which a stored spec has written out."""
    update: dict[str, Any] = {}
    for name in changes:
        part, _, field = name.partition(".")
        old = getattr(parent, part, None) if field in ("kind", "rule") else None
        if isinstance(old, Strict):
            update[part] = type(old).model_validate(old.model_dump(exclude_defaults=True))
    return parent.model_copy(update=update)


def resolve_fork(spec: JobSpec, table: TableProfile, limits: JobLimits, parent: Resolved) -> Resolved:
    """Resolve the fork, with the inputs and rows of `parent`, even if this version would choose others.

    Raises InvalidSpec; `check_fork` compares the parts that must not change.
    """
    if any(getattr(parent.spec, part) != getattr(spec, part) for part in FIXED):
        return resolve(spec, table, limits)
    inputs = replace(choose_inputs(spec, table), features=parent.features)
    same = {name: getattr(parent, name) for name in ("target", "rows", "null_values", "date_format")}
    return replace(resolve(spec, table, limits, inputs), **same)


def check_fork(parent: Resolved, fork: Resolved, asked: ForkSpec) -> None:
    """Raise InvalidSpec, pointing into the spec, where the weights or the optimizer would not fit the fork."""
    errors = [
        FieldError(f"/{part}", "cannot be changed in a fork: the weights depend on it")
        for part in FIXED
        if getattr(parent.spec, part) != getattr(fork.spec, part)
    ]
    if not errors and parent.graph.array_key != fork.graph.array_key:
        errors.append(FieldError("/architecture", "must keep its layers: the weights depend on them"))
    if not errors and link_of(parent.spec) != link_of(fork.spec):
        errors.append(FieldError("/loss/kind", "cannot change to or from `poisson`: the weights depend on it"))
    if asked.checkpoint == "last" and parent.spec.optimizer.kind != fork.spec.optimizer.kind:
        errors.append(
            FieldError(
                "/optimizer/kind",
                "cannot be changed for `last`, which continues the optimizer's state; fork from `best`",
            )
        )
    if errors:
        raise InvalidSpec(f"{errors[0].pointer} {errors[0].message}", tuple(errors))
