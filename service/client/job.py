"""A job: follow it, control it, download its weights, predict with them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import httpx2

from service.client import downloads, progress_bar
from service.client.optional_imports import needs
from service.client.predicting import Predicting
from service.client.predictions import held_out_rows
from service.client.reports import SECONDS as REPORT_SECONDS
from service.client.reports import read_report
from service.client.transport import RETRIED, ApiError, ServiceUnavailable
from service.client.uploads import history_frame, predictions_frame
from service.domain.checkpoint import CheckpointFormat
from service.domain.epoch import Epoch
from service.domain.job import Job as State
from service.domain.retraining import RetrainingPlan
from service.domain.sweep import Sweep as SweepState
from service.reports.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pandas import DataFrame

    from service.client.predictions import Row
    from service.client.transport import Transport
    from service.training.modules import Network

Kind = Literal["best", "last"]
Part = Literal["validation", "test"]
Format = Literal["safetensors", "pt", "onnx", "pt2", "bundle"]


class Job(Predicting):
    """A job; `state` is its last known state, updated by `refresh()` and `wait()`."""

    def __init__(self, transport: Transport, state: State) -> None:
        self._transport, self.state = transport, state
        self._path = f"/v1/jobs/{state.id}"

    def __repr__(self) -> str:
        best = self.state.best
        summary = "" if best is None else f", best {best.monitor} {best.value:.4g} at epoch {best.epoch}"
        return f"<Job {self.id}: {self.state.status}, epoch {self.state.progress.epoch}{summary}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.state.id

    def refresh(self, wait: float = 0.0) -> Job:
        """Update `state`; with `wait`, once the job has ended or after that many seconds (60 at most)."""
        options = {"params": {"wait": wait}, "timeout": wait + 30.0} if wait else {}
        self.state = State.model_validate(self._transport.json("GET", self._path, **options))
        return self

    def wait(
        self, seconds: float | None = None, each: Callable[[Epoch], None] | None = None, *, progress: bool = False
    ) -> Job:
        """Wait until the job has ended; `each` is called with every epoch. Raises TimeoutError after `seconds`.

        `progress`: in a terminal, show a progress bar with the latest loss curve instead of calling `each`.
        """
        if progress:
            with progress_bar.of_epochs(self.state.progress.max_epochs) as update:
                return self.wait(seconds, update or each)
        deadline = None if seconds is None else time.monotonic() + seconds
        if each is not None:
            for epoch in self.follow():
                each(epoch)
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(f"{self!r} has not ended within {seconds:g} s")
        while not self.state.status.terminal:
            remaining = 60.0 if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"{self!r} has not ended within {seconds:g} s")
            self.refresh(min(remaining, 60.0))
        return self

    def follow(self) -> Iterator[Epoch]:
        """Stream the job's epochs, from the first one, until it ends; reconnects where a connection broke."""
        last, pauses = 0, self._transport.pauses()
        while True:
            try:
                for event, data in self._events(last):
                    pauses = self._transport.pauses()
                    if event == "epoch":
                        epoch = Epoch.model_validate(data)
                        last = epoch.epoch
                        yield epoch
                    elif event == "job":
                        self.state = State.model_validate(data)
                    elif event == "end":
                        self.refresh()
                        return
            except httpx2.TransportError as error:
                reason: object = error
            except ApiError as error:
                if error.status not in RETRIED:
                    raise
                reason = error
            pause = next(pauses)
            if pause is None:
                raise ServiceUnavailable(self._transport.url, f"the stream of {self.id} broke: {reason}")
            time.sleep(pause)

    def _events(self, after: int) -> Iterator[tuple[str, Any]]:
        with self._transport.stream(
            f"{self._path}/stream", params={"after_epoch": after}, timeout=httpx2.Timeout(30.0, read=90.0)
        ) as response:
            event = ""
            for line in response.iter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield event, json.loads(line.removeprefix("data: "))

    @overload
    def history(self, after_epoch: int = 0, *, as_frame: Literal[False] = False) -> list[Epoch]: ...
    @overload
    def history(self, after_epoch: int = 0, *, as_frame: Literal[True]) -> DataFrame: ...
    def history(self, after_epoch: int = 0, *, as_frame: bool = False) -> list[Epoch] | DataFrame:
        """The recorded epochs, or those after `after_epoch`.

        `as_frame`: as a pandas DataFrame, a row per epoch, NaN where a number is undefined.
        """
        rows, after = list[Epoch](), after_epoch
        while after is not None:
            page = self._transport.json("GET", f"{self._path}/history", params={"after_epoch": after})
            rows += map(Epoch.model_validate, page["data"])
            after = page["next"]
        return history_frame(rows) if as_frame else rows

    @overload
    def predictions(self, part: Part | None = None, *, as_frame: Literal[False] = False) -> list[Row]: ...
    @overload
    def predictions(self, part: Part | None = None, *, as_frame: Literal[True]) -> DataFrame: ...
    def predictions(self, part: Part | None = None, *, as_frame: bool = False) -> list[Row] | DataFrame:
        """What the best epoch predicts for the validation and test rows of an ended job, or for those of one part.

        Dicts with `row` (its number in the data set, from 0), `part`, `truth`, `prediction` and, for classes,
        `probabilities`. `as_frame`: as a pandas DataFrame with the columns `probability of CLASS`. Raises ApiError
        where none were kept.
        """
        rows = held_out_rows(self._transport, self._path, part)
        return predictions_frame(rows) if as_frame else rows

    def cancel(self) -> Job:
        """Cancel the job; its best checkpoint is kept."""
        return self._control("cancel")

    def pause(self) -> Job:
        """Pause the job after the current epoch."""
        return self._control("pause")

    def resume(self) -> Job:
        """Resume a paused job, or train one that its sweep has pruned to its end."""
        return self._control("resume")

    def fork(self, checkpoint: Kind = "last", **changes: Any) -> Job:
        """Submit a new job that continues from this job's weights.

        `changes`: of the spec, by dotted name with `__` for each dot, as in `optimizer__lr=0.001`.
        """
        dotted = {name.replace("__", "."): value for name, value in changes.items()}
        made = self._transport.create(f"{self._path}/fork", {"checkpoint": checkpoint, "changes": dotted})
        return Job(self._transport, State.model_validate(made))

    def delete(self) -> None:
        """Delete an ended job with its history and weights; idempotent."""
        self._transport.delete(self._path)

    def checkpoint(
        self,
        kind: Kind = "best",
        format: Format = "safetensors",  # noqa: A002
        *,
        calibrated: bool = True,
    ) -> bytes:
        """The bytes of a checkpoint; `onnx`, `pt2` and `bundle` include the preprocessing.

        `calibrated`: whether the probabilities of these three are the calibrated ones, as those of `predict` are.
        """
        return downloads.read(self._transport, *self._download(kind, format, calibrated=calibrated))

    def download(
        self,
        path: str | Path,
        kind: Kind = "best",
        format: Format = "safetensors",  # noqa: A002
        *,
        calibrated: bool = True,
    ) -> Path:
        """Save a checkpoint as the file `path`, or in the folder `path` under a default name; see `checkpoint`."""
        name = f"{self.id}-{kind}{CheckpointFormat(format).file_ending(calibrated=calibrated)}"
        of = self._download(kind, format, calibrated=calibrated)
        return downloads.save(self._transport, *of, target=path, name=lambda _: name)

    def _download(self, kind: Kind, format: Format, *, calibrated: bool) -> tuple[str, dict[str, Any]]:  # noqa: A002
        """Path and query of the download of a checkpoint."""
        params: dict[str, Any] = {"format": format, **({} if calibrated else {"calibrated": False})}
        return f"{self._path}/checkpoints/{kind}/download", params

    @overload
    def report(
        self, format: Literal["object"] = "object", *, costs: Mapping[str, float] | None = None, retrain: bool = False
    ) -> Report: ...
    @overload
    def report(
        self, format: Literal["markdown", "html"], *, costs: Mapping[str, float] | None = None, retrain: bool = False
    ) -> str: ...
    def report(
        self,
        format: Literal["object", "markdown", "html"] = "object",  # noqa: A002
        *,
        costs: Mapping[str, float] | None = None,
        retrain: bool = False,
    ) -> Report | str:
        """The report of an ended job, made at the first call; as an object, or as a document in Markdown or HTML.

        `costs`: of a `false_positive`, `false_negative`, `true_positive` and `true_negative`, for two classes.
        `retrain`: with the answers of the jobs that `retrain()` has queued, once they have ended.
        """
        return read_report(self._transport, self._path, Report, format, costs, retrain=retrain)

    def retraining(self) -> RetrainingPlan:
        """What `retrain()` would cost: number of jobs, epochs, an estimate of the time, and what is left out."""
        found = self._transport.json("GET", f"{self._path}/retraining", timeout=REPORT_SECONDS)
        return RetrainingPlan.model_validate(found)

    def retrain(self) -> SweepState:
        """Queue the jobs of a learning curve, and of networks without one column each; their sweep, which a second
        call returns again. `client.sweep_of(sweep.id)` waits for it; then `report(retrain=True)` has the answers."""
        found = self._transport.json("POST", f"{self._path}/retraining", timeout=REPORT_SECONDS)
        return SweepState.model_validate(found)

    def best_model(self) -> Network:
        """The PyTorch module with the best epoch's weights, in evaluation mode: (B, inputs) float32 -> (B, outputs).

        Its inputs are preprocessed rows; `predict` takes raw ones. Raises ImportError without PyTorch.
        """
        with needs("best_model()", "PyTorch", "bestepoch[server]"):
            from service.training.checkpoint import from_bytes

        return from_bytes(self.checkpoint()).network

    def _control(self, action: str) -> Job:
        self.state = State.model_validate(self._transport.json("POST", f"{self._path}/{action}"))
        return self
