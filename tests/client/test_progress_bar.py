"""The progress bar of a preset's epochs, in a terminal and without one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from service.client import progress_bar
from service.domain.status import Status


def results(*jobs: tuple[Status, int]) -> Any:
    return [SimpleNamespace(status=status, epochs=epochs) for status, epochs in jobs]


def sweep(published: tuple[str, int] | None = None) -> Any:
    version = None if published is None else SimpleNamespace(model=published[0], version=published[1])
    best = SimpleNamespace(monitor="val_loss", value=0.25, epoch=7)
    return SimpleNamespace(jobs=2, published=version, best=best)


def test_epochs_of_running_jobs_count_and_those_of_ended_ones_are_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with progress_bar.of_planned_epochs(200) as update:
        assert update is not None
        update(sweep(), results((Status.succeeded, 30), (Status.running, 10)))
    assert "110/200" in capsys.readouterr().err

    with progress_bar.of_planned_epochs(200) as update:
        assert update is not None
        update(sweep(("churn", 3)), results((Status.succeeded, 30), (Status.succeeded, 20)))
    shown = capsys.readouterr().err
    assert "200/200" in shown
    assert "published churn:3" in shown


def test_without_a_terminal_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    with progress_bar.of_planned_epochs(200) as update:
        assert update is None
