"""A checkpoint -> predictions and exports. Runs in a helper process, where torch may be imported."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from service.data.formats.array_columns import write_predictions
from service.data.preprocess.sources import table_from_rows, table_from_staged
from service.domain.checkpoint import CheckpointFormat
from service.errors import CheckpointCorrupt, Conflict, InvalidData, NotInstalled, ServiceError, StorageError
from service.serving.exports.bundle import to_bundle
from service.serving.exports.program import to_pt2
from service.serving.exports.rows import rows_for
from service.training.checkpoint import from_bytes, to_pt
from service.training.inference import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from service.data.preprocess.preprocessing import Table
    from service.domain.job import Export
    from service.serving.exports.model import Rows
    from service.spec.table import Value
    from service.training.checkpoint import Checkpoint

MAX_PROBABILITIES = 1_000_000  # in one answer


class Learnt(NamedTuple):
    """What a network needs of a file of rows, for those who read it."""

    preprocessing: str  # as JSON
    features: int
    answers: list[str]  # names of the values that it answers to each row


class Models:
    """Models that are ready to predict, the least recently used dropped where they would take more than `most_bytes`.

    One that takes more alone is not kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, str], Model] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Memory of those that are kept."""
        return sum(model.size_bytes for model in self._kept.values())

    def load(self, path: str, sha256: str) -> Model:
        """The model of this checkpoint; raises CheckpointCorrupt."""
        key = path, sha256
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        model = Model(from_bytes(_read(path, sha256)))
        if model.size_bytes <= self.most_bytes:
            self._make_room(model.size_bytes)
            self._kept[key] = model
        return model

    def _make_room(self, more: int) -> None:
        while self._kept and self.size_bytes + more > self.most_bytes:
            self._kept.popitem(last=False)


MODELS = Models(2**30)  # of this process


def serve(pipe: Connection, model_bytes: int) -> None:
    """Answer (function name, arguments) with (True, result) or (False, error) until the pipe closes."""
    torch.set_num_threads(1)
    MODELS.most_bytes = model_bytes
    offered = (check_rows, predict, learnt, predict_part, export_pt, export)
    answers: dict[str, Callable[..., Any]] = {function.__name__: function for function in offered}
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, answers[name](*arguments)))
        except ServiceError as error:
            pipe.send((False, error))
        except OSError as error:
            pipe.send((False, StorageError(f"a file cannot be read or written: {error.strerror}")))


def check_rows(path: str, sha256: str, rows: list[dict[str, Value | None]]) -> None:
    """Raise InvalidData naming the row and column of a value that does not fit, and for too many rows."""
    fitted = MODELS.load(path, sha256).preprocessing
    classes = fitted.target.classes
    if len(rows) * len(classes or ()) > MAX_PROBABILITIES:
        most = MAX_PROBABILITIES // len(classes or ())
        raise InvalidData(f"{len(rows):,} rows are too many for so many classes; send at most {most:,} at once")
    table_from_rows(rows, fitted)


def predict(path: str, sha256: str, rows: list[dict[str, Value | None]]) -> tuple[list[dict[str, Any]], float]:
    """`{"prediction": ...}` a row, for classes with `"probabilities": {class: share}`; and the seconds that it took.

    `rows` are raw values by column name, and the seconds without reading the checkpoint. Raises InvalidData naming the
    row and column of a value that does not fit.
    """
    model = MODELS.load(path, sha256)
    began = time.monotonic()
    return _answers(model, rows), time.monotonic() - began


def _answers(model: Model, rows: list[dict[str, Value | None]]) -> list[dict[str, Any]]:
    fitted = model.preprocessing
    classes = fitted.target.classes
    table = table_from_rows(rows, fitted)
    if classes is None:
        values = model.numbers(table).tolist()
        return [{"prediction": value if isfinite(value) else None} for value in values]
    names = [_name(value) for value in classes]
    shares = model.shares(table)
    return [
        {"prediction": classes[best], "probabilities": dict(zip(names, row, strict=True))}
        for best, row in zip(shares.argmax(dim=1).tolist(), shares.tolist(), strict=True)
    ]


def learnt(path: str, sha256: str) -> Learnt:
    """What the network needs of a file of rows."""
    fitted = MODELS.load(path, sha256).preprocessing
    answers = ["prediction", *(f"probability of {_name(value)}" for value in fitted.target.classes or ())]
    return Learnt(fitted.model_dump_json(), len(fitted.features), answers)


def predict_part(path: str, sha256: str, staged: str, rows: range, answers: str) -> float:
    """Write the answers to some of the rows that `read_rows` has staged to the new Parquet file `answers`.

    The seconds that it took, without reading the checkpoint.
    """
    model = MODELS.load(path, sha256)
    began = time.monotonic()
    _write_part(model, table_from_staged(Path(staged), model.preprocessing, rows), Path(answers))
    return time.monotonic() - began


def _write_part(model: Model, table: Table, answers: Path) -> None:
    classes = model.preprocessing.target.classes
    if classes is None:
        values = model.numbers(table)
        write_predictions(answers, [np.where(np.isfinite(values), values, np.nan)])
        return
    shares = model.shares(table)
    best = _array(classes)[shares.argmax(dim=1).numpy()]
    write_predictions(answers, [best, *shares.numpy().T])


def export_pt(path: str, sha256: str, target: str) -> None:
    """Write the weights as torch.save does a state dict; `torch.load(..., weights_only=True)` reads it."""
    Path(target).write_bytes(to_pt(_read(path, sha256)))


def export(path: str, sha256: str, asked: Export, target: str) -> None:
    """Write the network with its preprocessing as a file of its own, once it answers as `predict` does; see `exports/`.

    Raises Conflict where the answers differ or there is no writing it, NotInstalled.
    """
    checkpoint = from_bytes(_read(path, sha256))
    rows = rows_for(checkpoint, asked.parquet)
    try:
        data = _exported(checkpoint, rows, asked)
    except (ServiceError, OSError):
        raise
    except Exception as error:  # whatever torch and onnx cannot write is not offered
        raise Conflict(f"this network cannot be written as {asked.format.value}: {_first_line(error)}") from error
    Path(target).write_bytes(data)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _exported(checkpoint: Checkpoint, rows: Rows, asked: Export) -> bytes:
    match asked.format:
        case CheckpointFormat.onnx:
            try:
                from service.serving.exports.onnx_file import to_onnx  # an extra
            except ImportError as error:
                raise NotInstalled("this server cannot write ONNX: install bestepoch[onnx] beside it") from error
            return to_onnx(checkpoint, rows)
        case CheckpointFormat.pt2:
            return to_pt2(checkpoint, rows)
        case _:
            return to_bundle(checkpoint, rows, asked.job, asked.dataset, asked.history)


def _read(path: str, sha256: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointCorrupt(f"the checkpoint's file cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointCorrupt("the checkpoint's file has changed: its SHA-256 is another")
    return data


def _array(classes: Sequence[Value]) -> NDArray[Any]:
    return np.array(classes, dtype=object if isinstance(classes[0], str) else None)


def _name(value: Value) -> str:
    """A class as a JSON key: true and false as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)
