"""The prediction helper: loads checkpoints, predicts and exports, in a process with torch."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from service.data.formats.array_columns import write_predictions
from service.data.preprocess.sources import table_from_rows, table_from_staged
from service.domain.prediction import DEFAULT, ModelCalibration, PredictionOptions
from service.errors import CheckpointCorrupt, Conflict, InvalidData, PredictionsCorrupt, ServiceError, StorageError
from service.serving.answers import column_names, predict_rows, row_bytes
from service.serving.calibration import apply_calibration, calibration_of
from service.serving.exports.export import write_export
from service.serving.exports.model import TrainedModel
from service.serving.exports.version_card import version_card
from service.serving.messages import Applied, Batch, PredictionSchema
from service.serving.weighted_model import WeightedModel
from service.spec.table import Value
from service.training.checkpoint import from_bytes, to_pt
from service.training.inference import InferenceModel

if TYPE_CHECKING:
    from collections.abc import Callable, Set
    from multiprocessing.connection import Connection

    from service.domain.export import Export
    from service.domain.model import ModelVersion
    from service.domain.model_ref import ModelRef
    from service.serving.messages import Answer

Rows = list[dict[str, Value | None]]

MAX_PROBABILITIES = 1_000_000  # in one response


class ModelCache:
    """An LRU cache of loaded models, at most `max_bytes` together; a larger model is not kept."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, str], InferenceModel] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Memory of the cached models."""
        return sum(model.size_bytes for model in self._kept.values())

    def weighted(self, ref: ModelRef) -> WeightedModel:
        """The model, its members loaded unless they are cached; raises CheckpointCorrupt, Conflict.

        Members do not evict each other: of those that do not fit together, only the rest is loaded again.
        """
        keys = [(member.path, member.sha256) for member in ref.members]
        together = set(keys)
        members = [self.load(*key, together) for key in keys]
        return WeightedModel(members, [member.weight for member in ref.members])

    def load(self, path: str, sha256: str, together: Set[tuple[str, str]] = frozenset()) -> InferenceModel:
        """The model of this checkpoint, loaded unless it is cached; raises CheckpointCorrupt.

        `together`: checkpoints that are not evicted for it.
        """
        key = path, sha256
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        model = InferenceModel(from_bytes(_read(path, sha256)))
        staying = sum(self._kept[each].size_bytes for each in together & self._kept.keys())
        if staying + model.size_bytes <= self.max_bytes:
            self._make_room(model.size_bytes, together)
            self._kept[key] = model
        return model

    def _make_room(self, more: int, staying: Set[tuple[str, str]]) -> None:
        for key in [key for key in self._kept if key not in staying]:
            if self.size_bytes + more <= self.max_bytes:
                return
            del self._kept[key]


MODELS = ModelCache(2**30)  # of the helper process


def serve(pipe: Connection, model_bytes: int) -> None:
    """Serve calls until the pipe closes: (function name, arguments) -> (True, result) or (False, error)."""
    torch.set_num_threads(1)
    MODELS.max_bytes = model_bytes
    served = (
        warm_up,
        preload,
        check_rows,
        check_options,
        calibration,
        predict,
        prediction_schema,
        predict_part,
        export_pt,
        export,
        card,
    )
    functions: dict[str, Callable[..., Any]] = {function.__name__: function for function in served}
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, functions[name](*arguments)))
        except ServiceError as error:
            pipe.send((False, error))
        except OSError as error:
            pipe.send((False, StorageError(f"a file cannot be read or written: {error.strerror}")))


def warm_up() -> None:
    """Do nothing: the process has started, and torch is loaded."""


def preload(ref: ModelRef) -> None:
    """Load the model, and predict a row without values; raises CheckpointCorrupt, Conflict."""
    predict(ref, [[{}]])


def check_rows(ref: ModelRef, rows: Rows, options: PredictionOptions = DEFAULT) -> Applied:
    """Validate rows: raises InvalidData with row and column of a wrong value, or for too many rows.

    Returns what calibrates their predictions; raises Conflict, PredictionsCorrupt.
    """
    applied = check_options(ref, options)
    fitted = MODELS.weighted(ref).preprocessing
    classes = fitted.target.classes
    if len(rows) * len(classes or ()) > MAX_PROBABILITIES:
        most = MAX_PROBABILITIES // len(classes or ())
        raise InvalidData(f"{len(rows):,} rows are too many for so many classes; send at most {most:,} at once")
    table_from_rows(rows, fitted)
    return applied


def check_options(ref: ModelRef, options: PredictionOptions) -> Applied:
    """What calibrates predictions of this model; raises Conflict, PredictionsCorrupt."""
    return apply_calibration(ref, options, MODELS.weighted(ref).preprocessing.target.classes)


def calibration(ref: ModelRef) -> ModelCalibration:
    """How the model is calibrated, or why it is not."""
    try:
        return calibration_of(ref).summary
    except (Conflict, PredictionsCorrupt) as error:
        classes = MODELS.weighted(ref).preprocessing.target.classes
        return ModelCalibration(temperature=1.0 if classes else None, rows=0, reason=error.detail)


def predict(ref: ModelRef, requests: list[Rows], options: PredictionOptions | Applied = DEFAULT) -> Batch:
    """Predict the rows of several requests at once.

    A row, given as raw values by column name, is answered by `{"prediction": ...}`, for classification with
    `"probabilities": {class: probability}`, and as asked for by `options`. A request with a wrong value gets an
    InvalidData with row and column, and the others their answers. `options`: or what `check_rows` made of them, so that
    all parts of a request are calibrated alike. Raises Conflict, PredictionsCorrupt.
    """
    model = MODELS.weighted(ref)
    applied = options if isinstance(options, Applied) else check_options(ref, options)
    began = time.monotonic()
    try:
        table = table_from_rows([row for rows in requests for row in rows], model.preprocessing)
    except InvalidData as error:
        each: list[list[Answer] | ServiceError] = [error]
        if len(requests) > 1:
            each = [predict(ref, [rows], applied).answers[0] for rows in requests]
        return Batch(each, applied.description, time.monotonic() - began)
    answers = predict_rows(model, table, applied).to_json()
    ends = list(accumulate(len(rows) for rows in requests))
    parts = [answers[end - len(rows) : end] for rows, end in zip(requests, ends, strict=True)]
    return Batch(list(parts), applied.description, time.monotonic() - began)


def prediction_schema(ref: ModelRef, options: PredictionOptions = DEFAULT) -> PredictionSchema:
    """What the model needs from a file of rows; raises Conflict, PredictionsCorrupt."""
    fitted = MODELS.weighted(ref).preprocessing
    classes = fitted.target.classes
    return PredictionSchema(
        fitted.model_dump_json(),
        len(fitted.features),
        column_names(classes, options),
        row_bytes(classes, options),
        check_options(ref, options),
    )


def predict_part(ref: ModelRef, applied: Applied, staged: str, rows: range, answers: str) -> float:
    """Predict a range of the rows that `read_rows` has staged, into the new Parquet file `answers`.

    Returns the seconds taken, without loading the checkpoints.
    """
    model = MODELS.weighted(ref)
    began = time.monotonic()
    table = table_from_staged(Path(staged), model.preprocessing, rows)
    write_predictions(Path(answers), predict_rows(model, table, applied).to_columns())
    return time.monotonic() - began


def export_pt(path: str, sha256: str, target: str) -> None:
    """Export the weights as a state dict of torch.save, for `torch.load(..., weights_only=True)`."""
    Path(target).write_bytes(to_pt(_read(path, sha256)))


def export(ref: ModelRef, asked: Export, target: str) -> None:
    """Export the model with its preprocessing, after checking that it predicts the same as `predict`; see `exports/`.

    Raises Conflict if the predictions differ or the format cannot represent the model, NotInstalled.
    """
    checkpoints = [from_bytes(_read(member.path, member.sha256)) for member in ref.members]
    weights = [member.weight for member in ref.members]
    classes = checkpoints[0].preprocessing.target.classes
    applied = apply_calibration(ref, PredictionOptions(calibrated=asked.calibrated), classes)
    write_export(TrainedModel.weighted(checkpoints, weights, applied.temperature), asked, Path(target))


def card(ref: ModelRef, version: ModelVersion) -> str:
    """The model card of a version, in Markdown; raises CheckpointCorrupt."""
    return version_card(version, MODELS.weighted(ref).preprocessing.features)


def _read(path: str, sha256: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointCorrupt(f"the checkpoint's file cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointCorrupt("the checkpoint's file has changed: its SHA-256 differs")
    return data
