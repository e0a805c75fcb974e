"""Writes a model as a file of the requested format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.domain.checkpoint import CheckpointFormat
from service.errors import Conflict, NotInstalled, ServiceError
from service.serving.exports.bundle import to_bundle
from service.serving.exports.documents import documents
from service.serving.exports.program import to_pt2
from service.serving.exports.rows import rows_for

if TYPE_CHECKING:
    from pathlib import Path

    from service.domain.export import Export
    from service.serving.exports.model import TrainedModel


def write_export(model: TrainedModel, asked: Export, target: Path) -> None:
    """Write the file `target`. Raises Conflict if it predicts otherwise than the service, NotInstalled."""
    try:
        target.write_bytes(_exported(model, asked))
    except (ServiceError, OSError):
        raise
    except Exception as error:  # torch or onnx cannot represent the model
        raise Conflict(f"this model cannot be exported as {asked.format.value}: {_first_line(error)}") from error


def _exported(model: TrainedModel, asked: Export) -> bytes:
    rows = rows_for(model, asked.tables)
    match asked.format:
        case CheckpointFormat.onnx:
            try:
                from service.serving.exports.onnx_file import to_onnx  # an extra
            except ImportError as error:
                raise NotInstalled("this server cannot export ONNX: install bestepoch[onnx]") from error
            return to_onnx(model, rows)
        case CheckpointFormat.pt2:
            return to_pt2(model, rows)
        case _:
            return to_bundle(model, rows, documents(model, asked.of))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
