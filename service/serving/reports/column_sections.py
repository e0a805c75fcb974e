"""The sections of a report that need the columns of its rows, as far as they can be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.domain.report import ReportedMember, ReportInputs
from service.errors import CheckpointCorrupt
from service.reports.baselines import MAX_FITS, compare
from service.reports.booleans import effects_with_booleans, slices_with_booleans
from service.reports.report import MissingSection
from service.reports.sections.baselines import Baselines
from service.reports.sections.effects import Effects
from service.reports.sections.importance import Importance
from service.reports.sections.slices import SlicesSection
from service.reports.slices import find_slices
from service.serving.reports.columns import importance_and_effects, sampled_rows
from service.serving.reports.held_out import HeldOutPredictions
from service.serving.reports.rows import ReportRows, features_of
from service.serving.verified import check_sha256
from service.spec.table import ColumnType
from service.training.checkpoint import LoadedCheckpoint, from_bytes

MAX_NUMBER = 1e60
"""Of targets and predictions: the squares of squared errors of larger ones are beyond the range of float64."""


@dataclass
class ColumnSections:
    """The sections that need columns."""

    baselines: Baselines | None = None
    importance: Importance | None = None
    effects: Effects | None = None
    slices: SlicesSection | None = None
    missing: list[MissingSection] = field(default_factory=list)

    def leave_out(self, reason: str, *sections: str) -> None:
        """Say why these sections are missing."""
        self.missing += [MissingSection(section=section, reason=reason) for section in sections]


def column_sections(
    asked: ReportInputs,
    rows: ReportRows | str,
    evaluated: HeldOutPredictions,
    losses: NDArray[np.float64],
    names: list[str],
) -> ColumnSections:
    """The sections about the evaluated rows and their losses (N,); `names`: of the classes, or of the target.

    `rows`: the rows' columns, or why there are none. Raises CheckpointCorrupt.
    """
    found, outputs = ColumnSections(), evaluated.outputs
    if isinstance(rows, str):
        found.leave_out(rows, "baselines", "importance", "effects", "slices")
        return found
    numbers = [outputs, rows.every.truth.values]
    if max(np.abs(each).max(initial=0) for each in numbers) > MAX_NUMBER:
        reason = f"targets or predictions beyond {MAX_NUMBER:g} are too large for squared errors"
        found.leave_out(reason, "baselines", "importance", "effects", "slices")
        return found
    if len(rows.splits) <= MAX_FITS:
        found.baselines = compare(rows.every, rows.splits, rows.evaluated, outputs)
    else:
        reason = f"the members were trained on {len(rows.splits)} different sets of rows, more than {MAX_FITS}"
        found.leave_out(reason, "baselines")
    booleans = [name for name, kind in column_types(asked).items() if kind is ColumnType.boolean]
    found.slices = slices_with_booleans(find_slices(rows.evaluated.columns, losses), booleans)
    checkpoints = [load_checkpoint(member) for member in asked.members]
    sampled = sampled_rows(checkpoints, len(losses))
    if isinstance(sampled, str):
        found.leave_out(sampled, "importance", "effects")
    else:
        of_members = checkpoints, evaluated.weights
        found.importance, effects = importance_and_effects(*of_members, rows.evaluated, sampled, names)
        found.effects = effects_with_booleans(effects, booleans)
    return found


def column_types(asked: ReportInputs) -> Mapping[str, ColumnType]:
    """The types of the feature columns of all members, as far as they are known."""
    features = features_of([each.resolved for each in asked.members if each.resolved is not None])
    return {feature.column: feature.type for feature in features}


def load_checkpoint(member: ReportedMember) -> LoadedCheckpoint:
    """The member's network; raises CheckpointCorrupt."""
    check_sha256(member.checkpoint, CheckpointCorrupt("the checkpoint's file is missing or has changed"))
    return from_bytes(member.checkpoint.path.read_bytes())
