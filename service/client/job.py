"""A job of the service, from Python."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import httpx2

from service.client import bar
from service.client.optional_imports import needs
from service.client.tables import CsvRows, as_file, history_frame
from service.client.transport import AGAIN, ApiError
from service.domain.epoch import Epoch
from service.domain.job import Job as State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pandas import DataFrame

    from service.client.transport import Transport
    from service.training.models import Network

Kind = Literal["best", "last"]
Format = Literal["safetensors", "pt", "onnx", "pt2", "bundle"]


class Job:
    """One job: `state` is what the service said last; `refresh()` asks anew."""

    def __init__(self, transport: Transport, state: State) -> None:
        self._transport, self.state = transport, state
        self._path = f"/v1/jobs/{state.id}"

    def __repr__(self) -> str:
        best = self.state.best
        found = "" if best is None else f", best {best.monitor} {best.value:.4g} at epoch {best.epoch}"
        return f"<Job {self.id}: {self.state.status}, epoch {self.state.progress.epoch}{found}>"

    @property
    def id(self) -> str:
        """Its id."""
        return self.state.id

    def refresh(self, wait: float = 0.0) -> Job:
        """Ask how it stands; with `wait` the answer comes at its end, or after so many seconds (60 at most)."""
        options = {"params": {"wait": wait}, "timeout": wait + 30.0} if wait else {}
        self.state = State.model_validate(self._transport.json("GET", self._path, **options))
        return self

    def wait(
        self, seconds: float | None = None, each: Callable[[Epoch], None] | None = None, *, progress: bool = False
    ) -> Job:
        """Return when it has ended; `each` is called with every epoch on the way. Raises TimeoutError.

        `progress`: in a terminal, a bar with the curve of the last losses in place of `each`.
        """
        if progress:
            with bar.of_epochs(self.state.progress.max_epochs) as shown:
                return self.wait(seconds, shown or each)
        deadline = None if seconds is None else time.monotonic() + seconds
        if each is not None:
            for epoch in self.follow():
                each(epoch)
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(f"{self!r} has not ended within {seconds:g} s")
        while not self.state.status.terminal:
            left = 60.0 if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{self!r} has not ended within {seconds:g} s")
            self.refresh(min(left, 60.0))
        return self

    def follow(self) -> Iterator[Epoch]:
        """Its epochs as they happen, from the first on, until it ends; lost connections are taken up again."""
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
            except httpx2.TransportError:
                pass
            except ApiError as error:
                if error.status not in AGAIN:
                    raise
            pause = next(pauses)
            if pause is None:
                raise ConnectionError(f"the stream of {self.id} breaks again and again")
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
        """Every epoch so far, or those after one.

        `as_frame`: a row each in a pandas DataFrame, NaN where a number is undefined.
        """
        rows, after = list[Epoch](), after_epoch
        while after is not None:
            page = self._transport.json("GET", f"{self._path}/history", params={"after_epoch": after})
            rows += map(Epoch.model_validate, page["data"])
            after = page["next"]
        return history_frame(rows) if as_frame else rows

    def cancel(self) -> Job:
        """Stop it for good; its best epoch stays."""
        return self._ask("cancel")

    def pause(self) -> Job:
        """Set it aside."""
        return self._ask("pause")

    def resume(self) -> Job:
        """Let it go on."""
        return self._ask("resume")

    def fork(self, checkpoint: Kind = "last", **changes: Any) -> Job:
        """A new job that goes on from its weights; `changes`: of the spec, by dotted name with `__` for each dot."""
        named = {name.replace("__", "."): value for name, value in changes.items()}
        made = self._transport.create(f"{self._path}/fork", {"checkpoint": checkpoint, "changes": named})
        return Job(self._transport, State.model_validate(made))

    def delete(self) -> None:
        """Take an ended job away, with its history and its weights; one that is gone already is fine."""
        try:
            self._transport.request("DELETE", self._path)
        except ApiError as error:
            if error.status != 404:  # which a try says whose forerunner's answer was lost
                raise

    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The best epoch's answer to each row, given by column name."""
        answer = self._transport.json("POST", f"{self._path}/predict", json={"rows": rows}, timeout=120.0)
        return list(answer["predictions"])

    def predict_file(self, rows: str | Path | CsvRows) -> bytes:
        """The best epoch's answers to the rows of a CSV file, given by its path, as CSV."""
        content = rows if isinstance(rows, CsvRows) else as_file(rows)[0]
        headers = {"Content-Type": "text/csv"}
        answer = self._transport.request(
            "POST", f"{self._path}/predict", content=content, headers=headers, timeout=900.0
        )
        return answer.content

    def checkpoint(self, kind: Kind = "best", format: Format = "safetensors") -> bytes:  # noqa: A002
        """The weights as a file; `onnx`, `pt2` and `bundle` hold the preprocessing too."""
        path = f"{self._path}/checkpoints/{kind}/download"
        return self._transport.request("GET", path, params={"format": format}, timeout=300.0).content

    def download(self, path: str | Path, kind: Kind = "best", format: Format = "safetensors") -> Path:  # noqa: A002
        """Save the weights at `path`, or in that folder under a name of their own; see `checkpoint`."""
        target, data = Path(path), self.checkpoint(kind, format)
        if target.is_dir():
            target /= f"{self.id}-{kind}.{'zip' if format == 'bundle' else format}"
        target.write_bytes(data)
        return target

    def best_model(self) -> Network:
        """The network with the best epoch's weights, in evaluation mode: (B, inputs) float32 -> (B, outputs).

        Its inputs are preprocessed rows; `predict` takes raw ones. Raises ImportError without PyTorch.
        """
        with needs("best_model()", "PyTorch", "bestepoch[server]"):
            from service.training.checkpoint import from_bytes

        return from_bytes(self.checkpoint()).network

    def _ask(self, what: str) -> Job:
        self.state = State.model_validate(self._transport.json("POST", f"{self._path}/{what}"))
        return self
