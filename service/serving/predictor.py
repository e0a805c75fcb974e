"""Predictions and exports for the API, made by prediction helpers, which have torch."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from service.concurrency.cancellation import current
from service.data.processes.ingest_prediction_rows import ingest_rows
from service.data.processes.join_predictions import join_predictions
from service.domain.drift import DriftInputs
from service.domain.prediction import DEFAULT, PredictedRows, PredictionOptions
from service.errors import InvalidData, TooLarge, Unavailable
from service.serving.helper_pool import HelperPool
from service.serving.helper_process import MODEL_BYTES, HelperProcess
from service.serving.reports.reporter import Reporter
from service.serving.request_queue import batch_rows

if TYPE_CHECKING:
    from pathlib import Path

    from service.data.processes.runner import Allowance
    from service.domain.export import Export
    from service.domain.model import ModelVersion
    from service.domain.model_ref import ModelRef
    from service.domain.prediction import AppliedCalibration, ModelCalibration
    from service.domain.report import EvaluationInputs, ReportInputs, StoredFile
    from service.serving.messages import Applied, PredictionSchema
    from service.spec.read_options import ReadOptions

PART_CELLS = 2**20
"""Values of a file's rows and predictions that the helper holds at once."""
PART_SECONDS = 1.0
"""Target time of one part, for which other callers wait; networks differ 100,000-fold in time per row."""
VALUE_BYTES = 8
EXPORT_SECONDS = 600.0
"""After which an export is given up: one of 200 members whose preprocessing differs takes minutes."""


class Predictor:
    """Predictions and exports without torch in this process."""

    def __init__(self, model_bytes: int = MODEL_BYTES, helpers: int = 1) -> None:
        """`model_bytes`: memory of the cached models, of all `helpers` processes together."""
        self.model_bytes = model_bytes // helpers
        """Memory of the models that each helper caches."""
        self._pool = HelperPool(helpers, model_bytes)
        self._reporter = Reporter()

    def start(self) -> None:
        """Start the helpers now, rather than at the first prediction. Does not wait for them."""

        def warm_up() -> None:
            with suppress(Unavailable):  # closed meanwhile; a prediction would start it again
                self._pool.call_each("warm_up")

        threading.Thread(target=warm_up, daemon=True).start()

    def preload(self, ref: ModelRef) -> None:
        """Load a model and predict a row without values, so that the first answer is as fast as the next.

        Raises CheckpointCorrupt, Conflict for members that do not fit together, Unavailable.
        """
        self._pool.call_each("preload", ref)

    def calibration(self, ref: ModelRef) -> ModelCalibration:
        """How a model is calibrated, or why it is not."""
        return cast("ModelCalibration", self._pool.call("calibration", ref))

    def check_options(self, ref: ModelRef, options: PredictionOptions) -> None:
        """Raise Conflict or PredictionsCorrupt if the model has no predictions with these options."""
        self._pool.call("check_options", ref, options)

    async def predict_few(
        self, tenant: str, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT
    ) -> PredictedRows:
        """`predict` for a few rows, without a thread: together with others that wait for the same model."""
        answers, calibration, _ = await asyncio.wrap_future(self._pool.submit(tenant, ref, rows, options))
        return PredictedRows(answers, calibration)

    def predict(self, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT) -> PredictedRows:
        """See `helper.predict`; raises Unavailable if the helper dies or times out.

        Many rows are validated as a whole, then predicted in parts, so that other callers get turns in between; what
        calibrates the first part calibrates all.
        """
        answers: list[dict[str, Any]] = []
        calibration: AppliedCalibration | None = None
        step, asked = batch_rows(ref), cast("PredictionOptions | Applied", options)
        if len(rows) > step:
            asked = self._pool.call("check_rows", ref, rows, options)
        while len(answers) < len(rows):
            part, calibration, seconds = self._pool.predict(ref, rows[len(answers) : len(answers) + step], asked)
            answers += part
            step = _next_step(step, seconds, len(rows))
        return PredictedRows(answers, calibration)

    def predict_file(
        self,
        ref: ModelRef,
        source: Path,
        reading: ReadOptions,
        allowed: Allowance,
        options: PredictionOptions = DEFAULT,
    ) -> tuple[Path, AppliedCalibration | None]:
        """Predict the rows of the file `source`; returns a file of the same format beside it, and its calibration.

        A separate process ingests and validates the whole file first, so that a long or malicious file does not block
        other callers; then the helper predicts it in parts, with other callers in between. Raises InvalidData with what
        is wrong and where, TooLarge if the predictions would take more than `allowed.unpacked_bytes`, Conflict,
        PredictionsCorrupt, StorageError, Unavailable.
        """
        assert reading.format is not None
        answer = source.with_name("answer")
        schema: PredictionSchema = self._pool.call("prediction_schema", ref, options)
        rows = ingest_rows(source, source.parent, reading, schema.preprocessing, allowed)
        most = allowed.unpacked_bytes // schema.row_bytes
        if rows > most:
            raise TooLarge(f"{rows:,} rows are too many for one file; send at most {most:,} at once")
        parts = self._predict_parts(ref, schema, source.parent, rows)
        join_predictions(parts, schema.columns, reading.format, answer, allowed)
        return answer, schema.applied.description

    def _predict_parts(self, ref: ModelRef, schema: PredictionSchema, folder: Path, rows: int) -> list[Path]:
        """Predict the rows staged in `folder`, in parts that grow while calls are fast."""
        at_once = max(batch_rows(ref), PART_CELLS // (schema.features + schema.row_bytes // VALUE_BYTES))
        parts, start, step = [], 0, batch_rows(ref)
        while start < rows:
            parts.append(folder / f"part{start}.parquet")
            asked = range(start, min(start + step, rows))
            seconds = self._pool.call("predict_part", ref, schema.applied, str(folder), asked, str(parts[-1]))
            start += step
            step = _next_step(step, seconds, at_once)
        return parts

    def to_pt(self, checkpoint: Path, sha256: str, target: Path) -> None:
        """See `helper.export_pt`; raises Unavailable if the helper dies or times out."""
        self._pool.call("export_pt", str(checkpoint), sha256, str(target))

    def export(self, ref: ModelRef, asked: Export, target: Path) -> None:
        """See `helper.export`. Runs in a separate process: it takes seconds and loads other libraries.

        The process is killed if the current task is cancelled. Raises Conflict, NotInstalled, Unavailable, Cancelled.
        """
        with HelperProcess(answer_seconds=EXPORT_SECONDS) as helper, current().on_cancel(helper.kill):
            try:
                helper.call("export", ref, asked, str(target))
            except Unavailable:
                current().check()  # killed by a cancellation
                raise

    def card(self, ref: ModelRef, version: ModelVersion) -> str:
        """See `helper.card`; raises Unavailable if the helper dies or times out."""
        return cast("str", self._pool.call("card", ref, version))

    def stage_labelled(self, ref: ModelRef, source: Path, reading: ReadOptions, allowed: Allowance) -> int:
        """Stage the rows of the file `source`, with their labels, beside it; returns their number.

        Raises InvalidData with what is wrong and where, StorageError, Unavailable.
        """
        schema: PredictionSchema = self._pool.call("prediction_schema", ref, PredictionOptions(calibrated=False))
        return ingest_rows(source, source.parent, reading, schema.preprocessing, allowed, labelled=True)

    def report(self, asked: ReportInputs | EvaluationInputs, target: Path, allowed: Allowance) -> None:
        """See `Reporter.write`."""
        self._reporter.write(asked, target, allowed)

    def drift(
        self, ref: ModelRef, profile: StoredFile, source: Path, reading: ReadOptions | None, allowed: Allowance
    ) -> Path:
        """Compare the rows of the file `source`, a list in JSON without `reading`, with the profile of a version.

        Returns a file with a DriftReport beside it. Raises what `measure` raises, InvalidData with what is wrong in the
        file, Conflict beyond the limits, StorageError, Unavailable, Cancelled.
        """
        schema: PredictionSchema = self._pool.call("prediction_schema", ref, PredictionOptions(calibrated=False))
        staged = None
        if reading is not None:
            staged = ingest_rows(source, source.parent, reading, schema.preprocessing, allowed)
            if not staged:
                raise InvalidData("the file has no rows")
        target = source.with_name("drift.json")
        self._reporter.write(DriftInputs(ref, profile, schema.preprocessing, source, staged), target, allowed)
        return target

    def close(self) -> None:
        """Stop the helper."""
        self._pool.close()


def _next_step(rows: int, seconds: float, most: int) -> int:
    """The size of the next part, at most `most` rows, after one of `rows` rows that took `seconds`."""
    if seconds > PART_SECONDS:
        return max(1, rows // 2)
    return min(2 * rows, most) if seconds < PART_SECONDS / 2 else rows
