"""Client of the prediction helper: a process that runs `helper.py`, started on first use, replaced if it dies."""

from __future__ import annotations

import multiprocessing
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Self

from service.concurrency.cancellation import current
from service.concurrency.fair_slots import FairLimiter
from service.data.processes.ingest_prediction_rows import ingest_rows
from service.data.processes.join_predictions import join_predictions
from service.errors import ServiceError, TooLarge, Unavailable

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from service.data.processes.runner import Allowance
    from service.domain.job import Export
    from service.domain.model_ref import ModelRef
    from service.spec.read_options import ReadOptions

ANSWER_SECONDS = 120.0
PART_CELLS = 2**20
"""Values of a file's rows and predictions that the helper holds at once."""
FIRST_PART_ROWS = 32
PART_SECONDS = 1.0
"""Target time of one part, for which other callers wait; networks differ 100,000-fold in time per row."""
MODEL_BYTES = 2**30
"""Memory of the models that the helper caches, in bytes."""
VALUE_BYTES = 8


class Helper:
    """A process with torch, started on first use and replaced if it dies; it serves one call at a time.

    Calls of several threads wait in an order that is fair between tenants, so cut long work into calls of about a
    second.
    """

    def __init__(self, model_bytes: int = MODEL_BYTES) -> None:
        self._model_bytes = model_bytes
        self._turns = FairLimiter(1)
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process."""
        with self._lock:
            self._drop()

    def kill(self) -> None:
        """Kill the process; a call that waits for it raises Unavailable."""
        process = self._process
        if process is not None:
            process.kill()

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the function `name` of `helper.py`. Raises what it raises; Unavailable if the process dies or times out.

        Raises Cancelled if the current task is cancelled before its turn.
        """
        with self._turns.slot(current()), self._lock:
            pipe = self._connected()
            current().check()  # after the start of the process: a cancellation from now on kills it
            try:
                pipe.send((name, arguments))
                if not pipe.poll(ANSWER_SECONDS):
                    raise TimeoutError
                fine, answer = pipe.recv()
            except (OSError, EOFError) as error:
                self._drop()
                raise Unavailable("the prediction helper did not answer; try again") from error
        if not fine:
            assert isinstance(answer, ServiceError)
            raise answer
        return answer

    def _connected(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self._drop()
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._model_bytes), daemon=True)
            process.start()
            self._process = process  # not before the start: a process that has not started cannot be killed
            theirs.close()
        return self._pipe

    def _drop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None


class Predictor:
    """Predictions and exports without torch in this process."""

    def __init__(self, model_bytes: int = MODEL_BYTES) -> None:
        """`model_bytes`: memory of the cached models."""
        self._helper = Helper(model_bytes)

    def predict(self, ref: ModelRef, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """See `helper.predict`; raises Unavailable if the helper dies or times out.

        Many rows are validated as a whole, then predicted in parts, so that other callers get turns in between.
        """
        answers: list[dict[str, Any]] = []
        if len(rows) > FIRST_PART_ROWS:
            self._helper.call("check_rows", ref, rows)
        step = FIRST_PART_ROWS
        while len(answers) < len(rows):
            part, seconds = self._helper.call("predict", ref, rows[len(answers) : len(answers) + step])
            answers += part
            step = _next_step(step, seconds, len(rows))
        return answers

    def predict_file(self, ref: ModelRef, source: Path, options: ReadOptions, allowed: Allowance) -> Path:
        """Predict the rows of the file `source`; returns a file of the same format beside it.

        A separate process ingests and validates the whole file first, so that a long or malicious file does not block
        other callers; then the helper predicts it in parts, with other callers in between. Raises InvalidData with what
        is wrong and where, TooLarge if the predictions would take more than `allowed.unpacked_bytes`, StorageError,
        Unavailable.
        """
        assert options.format is not None
        answer = source.with_name("answer")
        schema = self._helper.call("prediction_schema", ref)
        rows = ingest_rows(source, source.parent, options, schema.preprocessing, allowed)
        most = allowed.unpacked_bytes // (VALUE_BYTES * len(schema.answers))
        if rows > most:
            raise TooLarge(f"{rows:,} rows are too many for one file; send at most {most:,} at once")
        at_once = max(FIRST_PART_ROWS, PART_CELLS // (schema.features + len(schema.answers)))
        parts = self._predict_parts(ref, source.parent, rows, at_once)
        join_predictions(parts, schema.answers, options.format, answer, allowed)
        return answer

    def _predict_parts(self, ref: ModelRef, folder: Path, rows: int, at_once: int) -> list[Path]:
        """Predict the rows staged in `folder`, in parts that grow while calls are fast."""
        parts, start, step = [], 0, FIRST_PART_ROWS
        while start < rows:
            parts.append(folder / f"part{start}.parquet")
            asked = range(start, min(start + step, rows))
            seconds = self._helper.call("predict_part", ref, str(folder), asked, str(parts[-1]))
            start += step
            step = _next_step(step, seconds, at_once)
        return parts

    def to_pt(self, checkpoint: Path, sha256: str, target: Path) -> None:
        """See `helper.export_pt`; raises Unavailable if the helper dies or times out."""
        self._helper.call("export_pt", str(checkpoint), sha256, str(target))

    def export(self, checkpoint: Path, sha256: str, asked: Export, target: Path) -> None:
        """See `helper.export`. Runs in a separate process: it takes seconds and loads other libraries.

        The process is killed if the current task is cancelled. Raises Conflict, NotInstalled, Unavailable, Cancelled.
        """
        with Helper() as helper, current().on_cancel(helper.kill):
            try:
                helper.call("export", str(checkpoint), sha256, asked, str(target))
            except Unavailable:
                current().check()  # killed by a cancellation
                raise

    def close(self) -> None:
        """Stop the helper."""
        self._helper.close()


def _next_step(rows: int, seconds: float, most: int) -> int:
    """The size of the next part, at most `most` rows, after one of `rows` rows that took `seconds`."""
    if seconds > PART_SECONDS:
        return max(1, rows // 2)
    return min(2 * rows, most) if seconds < PART_SECONDS / 2 else rows


def _serve(pipe: Connection, model_bytes: int) -> None:
    """Entry point of the helper process; only this process imports torch."""
    from service.serving import helper

    helper.serve(pipe, model_bytes)
