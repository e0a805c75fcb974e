"""What a published model gained over simpler ones, in numbers and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.reports.findings import LOSSES
from service.reports.sections.estimate import Estimate
from service.reports.text import number

if TYPE_CHECKING:
    from service.client import Model, Sweep
    from service.reports.sections.importance import Loss

FAST, TREES = "one network (`fast`)", "boosted trees"


@dataclass(frozen=True)
class Gain:
    """The model beside another one, on the same held-out rows."""

    over: str
    missing: str | None = None
    """Why there is no comparison."""
    part: str = ""
    """`test` or `validation` rows."""
    rows: int = 0
    loss: Loss = "log_loss"
    value: float | None = None
    """Of the model."""
    other: float | None = None
    difference: Estimate | None = None
    """The other's loss minus the model's: above 0 the model is better."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        difference = None if self.difference is None else self.difference.model_dump()
        return {**self.__dict__, "difference": difference}


def gains_of(model: Model, fast: Sweep | None) -> list[Gain]:
    """What the model gained over one network, where `fast` trains one, and over boosted trees; waits for `fast`."""
    from service.client import ApiError

    found = list[Gain]()
    try:
        found += [] if fast is None else [_over_fast(model, fast)]
    except ApiError as error:  # the model is published: this must not fail the command
        found.append(Gain(FAST, error.detail))
    try:
        return [*found, _over_trees(model)]
    except ApiError as error:  # a table that is too large for a report, for example
        return [*found, Gain(TREES, error.detail)]


def sentence(preset: str, gain: Gain) -> str:
    """The gain in words; says so where nothing was gained."""
    if gain.difference is None:
        return f"Not compared with {gain.over}: {gain.missing}."
    low, high = gain.difference.low, gain.difference.high
    if low is not None and low > 0:
        verdict = "better"
    elif high is not None and high < 0:
        verdict = "WORSE"
    else:
        verdict = "no clear difference"
    interval = "" if low is None or high is None else f" (95% interval {number(low)} to {number(high)})"
    of_rows = f"{gain.rows:,} {gain.part} rows"
    return (
        f"`{preset}` against {gain.over}, {of_rows}: {verdict}; {LOSSES[gain.loss]} {number(gain.value)} instead of "
        f"{number(gain.other)}, gain {number(gain.difference.value)}{interval}."
    )


def _over_fast(model: Model, fast: Sweep) -> Gain:
    fast.wait()
    best = fast.state.best
    if best is None:
        return Gain(FAST, "its training has failed")
    job = fast.best()
    spec = job.state.spec
    if isinstance(spec, dict) or spec.known_loss.kind not in ("cross_entropy", "squared"):
        return Gain(FAST, "only log loss and RMSE are compared here, and the networks were trained for another loss")
    found = model.compare(job)
    if found is None:
        return Gain(FAST, "no rows are held out from both")
    return Gain(FAST, None, found.part, found.rows, found.loss, found.value, found.other, found.difference)


def _over_trees(model: Model) -> Gain:
    report = model.report()
    if report.baselines is None:
        reasons = [each.reason for each in report.missing if each.section == "baselines"]
        return Gain(TREES, next(iter(reasons), "the report has no baselines"))
    for each in report.baselines.models:
        if each.name == "boosted_trees":
            own, rows = report.baselines.network.value, report.evaluated
            return Gain(TREES, None, rows.part, rows.rows, report.baselines.loss, own, each.loss.value, each.difference)
    return Gain(TREES, report.baselines.missing or "they could not be trained on these rows")
