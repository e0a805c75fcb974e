"""The API's end of the prediction helper: a process around `serving.py`, started on first use, replaced if it dies."""

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
    from service.spec.read_options import ReadOptions

ANSWER_SECONDS = 120.0
PART_CELLS = 2**20
"""Values of a file's rows and of their answers that the helper holds at once."""
FIRST_PART_ROWS = 32
PART_SECONDS = 1.0
"""What a part may take; others wait so long, and a network may need 100,000 times the work of another for a row."""
MODEL_BYTES = 2**30
"""Memory in bytes of the models that the helper keeps ready."""
VALUE_BYTES = 8


class Helper:
    """A process with torch, started on first use and replaced if it dies; calls from several threads take turns.

    The turns are fair between tenants, so long work is to be cut into calls of a second or so.
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
        """End the process; the call that waits for it raises Unavailable."""
        process = self._process
        if process is not None:
            process.kill()

    def call(self, name: str, *arguments: Any) -> Any:
        """What the function `name` of `serving` returns or raises; Unavailable when it dies or takes too long.

        Raises Cancelled where the current work is cancelled before its turn.
        """
        with self._turns.slot(current()), self._lock:
            pipe = self._connected()
            current().check()  # after the process is there: who cancels from now on finds it
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
            self._process = process  # not before: one that has not been started cannot be killed
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
        """`model_bytes`: of the models that are kept ready, the least recently used going first."""
        self._helper = Helper(model_bytes)

    def predict(self, checkpoint: Path, sha256: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """See `serving.predict`; raises Unavailable when the helper dies or takes too long.

        Many rows are checked as a whole, and then answered some at a time, other callers in between.
        """
        model = str(checkpoint), sha256
        answers: list[dict[str, Any]] = []
        if len(rows) > FIRST_PART_ROWS:
            self._helper.call("check_rows", *model, rows)
        step = FIRST_PART_ROWS
        while len(answers) < len(rows):
            part, seconds = self._helper.call("predict", *model, rows[len(answers) : len(answers) + step])
            answers += part
            step = _next_step(step, seconds, len(rows))
        return answers

    def predict_file(
        self, checkpoint: Path, sha256: str, source: Path, options: ReadOptions, allowed: Allowance
    ) -> Path:
        """The answers to the rows of the file `source`, as a file of the same format beside it.

        The file is read and checked as a whole before the first row is answered, by a process of its own, so that a
        long or hostile one costs no other caller; then the helper answers some rows at a time, and others in between.
        Raises InvalidData naming what is wrong and where, TooLarge when the answers would need more than
        `allowed.unpacked_bytes`, StorageError, Unavailable.
        """
        assert options.format is not None
        model, answer = (str(checkpoint), sha256), source.with_name("answer")
        learnt = self._helper.call("learnt", *model)
        rows = ingest_rows(source, source.parent, options, learnt.preprocessing, allowed)
        most = allowed.unpacked_bytes // (VALUE_BYTES * len(learnt.answers))
        if rows > most:
            raise TooLarge(f"{rows:,} rows are too many to answer in one file; send at most {most:,} at once")
        at_once = max(FIRST_PART_ROWS, PART_CELLS // (learnt.features + len(learnt.answers)))
        parts = self._predict_parts(model, source.parent, rows, at_once)
        join_predictions(parts, learnt.answers, options.format, answer, allowed)
        return answer

    def _predict_parts(self, model: tuple[str, str], folder: Path, rows: int, at_once: int) -> list[Path]:
        """Answer rows staged in `folder`, more and more of them in a call as long as it is quick."""
        parts, start, step = [], 0, FIRST_PART_ROWS
        while start < rows:
            parts.append(folder / f"part{start}.parquet")
            asked = range(start, min(start + step, rows))
            seconds = self._helper.call("predict_part", *model, str(folder), asked, str(parts[-1]))
            start += step
            step = _next_step(step, seconds, at_once)
        return parts

    def to_pt(self, checkpoint: Path, sha256: str, target: Path) -> None:
        """See `serving.export_pt`; raises Unavailable when the helper dies or takes too long."""
        self._helper.call("export_pt", str(checkpoint), sha256, str(target))

    def export(self, checkpoint: Path, sha256: str, asked: Export, target: Path) -> None:
        """See `serving.export`. In a process of its own, for it takes seconds, and libraries that predictions don't.

        The process is killed when the current work is cancelled. Raises Conflict, NotInstalled, Unavailable, Cancelled.
        """
        with Helper() as helper, current().on_cancel(helper.kill):
            try:
                helper.call("export", str(checkpoint), sha256, asked, str(target))
            except Unavailable:
                current().check()  # killed for this
                raise

    def close(self) -> None:
        """Stop the helper."""
        self._helper.close()


def _next_step(rows: int, seconds: float, most: int) -> int:
    """Of so many rows that took so long to answer: how many come next, `most` at most."""
    if seconds > PART_SECONDS:
        return max(1, rows // 2)
    return min(2 * rows, most) if seconds < PART_SECONDS / 2 else rows


def _serve(pipe: Connection, model_bytes: int) -> None:
    """Entry point of the helper process; torch is imported there alone."""
    from service.serving import helper

    helper.serve(pipe, model_bytes)
