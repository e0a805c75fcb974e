"""Adds the answers of retrained networks to a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.domain.sweep import Sweep, SweepStatus
from service.reports.report import Report
from service.reports.retraining import RetrainedJob, retraining_section, with_retraining
from service.spec.retraining import FEATURES, FRACTION, SEED
from service.store import retraining

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.store.retraining import RetrainedResult

HOW = "POST /v1/jobs/{job}/retraining starts it, GET says before what it costs"


def report_with_retraining(context: RequestContext, job_id: str, stored: bytes) -> bytes:
    """The stored report with the section `retraining`, or with the reason why there is none."""
    report = Report.model_validate_json(stored)
    with context.database.reading() as connection:
        sweep = retraining.find(connection, job_id)
        results = [] if sweep is None else retraining.results(connection, sweep.id)
    how = HOW.format(job=job_id)
    if sweep is None:
        found = with_retraining(report, f"the job was not retrained: {how}")
    elif sweep.status is SweepStatus.running:
        ended = sum(count for status, count in sweep.counts.items() if status.terminal)
        found = with_retraining(report, f"{ended} of {sweep.jobs} jobs of the sweep {sweep.id} have ended")
    elif sweep.status is SweepStatus.cancelled:
        found = with_retraining(report, f"the sweep {sweep.id} was cancelled: {how}")
    elif not results:
        found = with_retraining(report, f"the jobs of the sweep {sweep.id} were deleted: {how}")
    else:
        section = retraining_section(report, sweep.id, _jobs(sweep, results))
        none = f"none of the jobs of the sweep {sweep.id} has a result: {how}"
        found = with_retraining(report, section if section.jobs else none)
    return found.model_dump_json().encode()


def _jobs(sweep: Sweep, results: list[RetrainedResult]) -> list[RetrainedJob]:
    features = sweep.base["data"].get("features") or []
    return [
        RetrainedJob(
            fraction=result.point.get(FRACTION),
            column=_dropped(features, result.point.get(FEATURES)),
            seed=result.point[SEED],
            rows=result.rows,
            validation=result.metrics,
            test=result.test_metrics,
        )
        for result in results
    ]


def _dropped(features: list[str], kept: list[str] | None) -> str | None:
    """The column that is missing among the kept ones; None if nothing was left out."""
    return None if kept is None else next(name for name in features if name not in kept)
