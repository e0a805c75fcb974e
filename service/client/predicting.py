"""What a job and a version of a model have in common: they predict rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from service.client.predictions import PredictOptions, Predictor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from service.client.predictions import Frame
    from service.client.transport import Transport
    from service.client.uploads import CsvRows
    from service.domain.prediction import AppliedCalibration


class Predicting:
    """Predicts with what the service has at `_path`."""

    _transport: Transport
    _path: str

    @overload
    def predict(self, rows: Iterable[Mapping[str, Any]], **options: Unpack[PredictOptions]) -> list[dict[str, Any]]: ...
    @overload
    def predict(
        self, rows: str | Path, out: None = None, **options: Unpack[PredictOptions]
    ) -> list[dict[str, Any]]: ...
    @overload
    def predict(self, rows: str | Path, out: str | Path, **options: Unpack[PredictOptions]) -> Path: ...
    @overload
    def predict(self, rows: Frame, **options: Unpack[PredictOptions]) -> Frame: ...
    def predict(
        self, rows: Any, out: str | Path | None = None, *, calibrated: bool = True, interval: float | None = None
    ) -> Any:
        """Predict rows, with the best epoch's weights or the version's members; no prediction depends on other rows.

        `rows`: dicts by column name; the path of a CSV, JSON Lines or Parquet file; or a pandas or polars DataFrame.
        Returns a dict a row, `{"prediction": ..., "probabilities": {...}}`, the latter for classes; for a DataFrame,
        one of the same library with the columns `prediction` and `probability of CLASS`, and the same index.

        `calibrated`: false gives raw probabilities. `interval`: also answer `lower` and `upper`, or for classes `set`,
        which contain the truth about this often, 0.9 for example; less often with few validation rows, because they
        also chose the best epoch.
        `out`: for a path, where to save the predictions, in the format of the rows; returns that path. Predictions for
        a Parquet file need it. Raises ApiError, OSError, ValueError.
        """
        options = PredictOptions(calibrated=calibrated, interval=interval)
        return Predictor(self._transport, self._path, options).of(rows, out)

    def calibration(self, interval: float | None = None) -> AppliedCalibration | None:
        """How predictions are calibrated, or why they stay raw; None for regression without `interval`."""
        return Predictor(self._transport, self._path, PredictOptions(interval=interval)).calibration()

    def predict_file(self, rows: str | Path | CsvRows, **options: Unpack[PredictOptions]) -> bytes:
        """The predictions for a file of rows, given by its path, as the bytes of a file of the same format."""
        return Predictor(self._transport, self._path, options).bytes_of(rows)
