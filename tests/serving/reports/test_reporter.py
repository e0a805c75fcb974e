"""Reports are built in processes that fail, time out and are killed without harm to the next one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.concurrency.cancellation import CancellableTask, Cancelled, set_current
from service.domain.report import ReportInputs, StoredFile
from service.errors import Conflict, PredictionsCorrupt
from service.reports.report import Report
from service.serving.reports.build import build
from service.serving.reports.process import report_text
from service.serving.reports.reporter import Reporter
from tests.data.tables import ALLOWED, PENGUINS, store
from tests.serving.reports.trained import report_inputs, with_member


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    folder = tmp_path_factory.mktemp("penguins")
    return report_inputs(folder, store(folder, PENGUINS), "species", split={"test": 0.25})


@pytest.fixture(autouse=True)
def no_task() -> Iterator[None]:
    yield
    set_current(CancellableTask())


def test_the_report_of_another_process_is_that_of_this_one(asked: ReportInputs, tmp_path: Path) -> None:
    Reporter().write(asked, tmp_path / "report", ALLOWED)

    assert Report.model_validate_json((tmp_path / "report").read_text()) == build(asked)


def test_an_error_is_raised_here_and_the_next_report_is_written(asked: ReportInputs, tmp_path: Path) -> None:
    reporter = Reporter()
    changed = with_member(asked, predictions=StoredFile(asked.members[0].predictions.path, "0"))

    with pytest.raises(PredictionsCorrupt, match="has changed"):
        reporter.write(changed, tmp_path / "report", ALLOWED)
    reporter.write(asked, tmp_path / "report", ALLOWED)

    assert (tmp_path / "report").exists()


def test_a_report_that_takes_too_long_is_stopped(asked: ReportInputs, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"longer than 0\.01 seconds, the limit here \(BESTEPOCH_MAX_INGEST_SECONDS\)"):
        Reporter().write(asked, tmp_path / "report", ALLOWED.model_copy(update={"seconds": 0.01}))


def test_a_cancelled_request_kills_the_process(asked: ReportInputs, tmp_path: Path) -> None:
    task = CancellableTask()
    set_current(task)
    threading.Timer(0.05, task.cancel).start()
    endless = with_member(asked, predictions=StoredFile(Path("/dev/zero"), "0"))
    began = time.monotonic()

    with pytest.raises(Cancelled):
        Reporter().write(endless, tmp_path / "report", ALLOWED)

    assert time.monotonic() - began < ALLOWED.seconds / 2


def test_a_report_that_json_cannot_hold_is_refused(asked: ReportInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    report = build(asked)
    assert report.slices is not None
    infinite = report.slices.model_copy(update={"mean_loss": float("inf")})
    monkeypatch.setattr(
        "service.serving.reports.process.build", lambda _: report.model_copy(update={"slices": infinite})
    )

    with pytest.raises(Conflict, match=r"slices\.mean_loss is beyond the range"):
        report_text(asked)
