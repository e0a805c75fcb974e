"""The jobs of a sweep as submitted: of its grid or its points, or of the recipes of its preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.api.sweeps.planning import plan_sweep
from service.api.sweeps.search_steps import first_step
from service.api.table_profiles import profile_for
from service.errors import FieldError, InvalidSpec
from service.spec.presets import VERSION, Preset, expand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.api.context import RequestContext
    from service.domain.sweep import NewDecision
    from service.spec.sweep import SweepSpec
    from service.store.sweeps import SweepJob


@dataclass(frozen=True)
class PlannedSweep:
    """A plain sweep and its jobs."""

    spec: SweepSpec
    """With the points, folds and seeds of its preset."""
    jobs: Sequence[SweepJob]
    recipes: str | None
    """The version of the recipes; None without a preset."""
    decisions: Sequence[NewDecision] = ()
    """Of a search: the proposals of its first trials."""


def planned(context: RequestContext, asked: SweepSpec) -> PlannedSweep:
    """The sweep with its jobs, each resolved; raises InvalidSpec with pointers into `asked`. Blocks."""
    if asked.search is not None:
        jobs, decisions = first_step(context, asked)
        return PlannedSweep(asked, jobs, None, decisions)
    if asked.preset is None:
        return PlannedSweep(asked, plan_sweep(context, asked), None)
    try:
        plain = expand(Preset(asked.preset), asked.base, profile_for(context, asked.base))
    except InvalidSpec as error:
        raise InvalidSpec(error.detail, tuple(_in_base(each) for each in error.field_errors)) from error
    fields = {"points": plain.points, "folds": plain.folds, "replicates": plain.replicates}
    spec = asked.model_copy(update=fields)
    try:
        return PlannedSweep(spec, plan_sweep(context, spec), VERSION)
    except InvalidSpec as error:
        raise InvalidSpec(error.detail, tuple(_of_preset(each) for each in error.field_errors)) from error


def _in_base(error: FieldError) -> FieldError:
    return FieldError(f"/base{error.pointer}", error.message)


def _of_preset(error: FieldError) -> FieldError:
    """The same error at a place that the client has sent."""
    sent = error.pointer.startswith("/base")
    return error if sent else FieldError("/preset", f"{error.message} (at {error.pointer} of the preset's sweep)")
