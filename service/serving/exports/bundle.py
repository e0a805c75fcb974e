"""The bundle export: a zip with weights, preprocessing, documents, and load.py, which needs only torch."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from service import errors
from service.data import column_names, csv_injection, number_formats
from service.data.formats import csv_dialect, encoding
from service.serving.exports import cells, csv_columns, inputs
from service.serving.exports import standalone as loader
from service.serving.exports.model import check
from service.training import modules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.serving.exports.model import Rows, TrainedModel

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date of zip: a fixed one gives equal bytes each time
SOURCES = {
    "load": loader,
    "inputs": inputs,
    "cells": cells,
    "layers": modules,
    "csv_columns": csv_columns,
    "csv_dialect": csv_dialect,
    "csv_injection": csv_injection,
    "column_names": column_names,
    "encoding": encoding,
    "number_formats": number_formats,
    "errors": errors,
}
"""The modules of a bundle, by their names there."""


def to_bundle(model: TrainedModel, rows: Rows, documents: Mapping[str, str | bytes]) -> bytes:
    """The zip; `documents`: other files by name. Raises Conflict unless it predicts the same for `rows` as the service.

    `weights.pt` is the state dict of the network, or the list of those of the members.
    """
    states = [checkpoint.network.state_dict() for checkpoint in model.checkpoints]
    weights = io.BytesIO()
    torch.save(states if len(states) > 1 else states[0], weights)
    with closing(io.BytesIO()) as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, module in SOURCES.items():
                _write(bundle, f"{name}.py", _source(Path(str(module.__file__))))
            _write(bundle, "model.json", json.dumps(model.description, ensure_ascii=False))
            _write(bundle, "weights.pt", weights.getvalue())
            for name, content in documents.items():
                _write(bundle, name, content)
        buffer.seek(0)
        with tempfile.TemporaryDirectory() as folder:
            zipfile.ZipFile(buffer).extractall(folder)
            loaded = loader.load(folder)
        with torch.inference_mode():
            check(model, lambda asked: loaded(*loaded.tensors(asked)), rows, "bundle")
        return buffer.getvalue()


def _write(bundle: zipfile.ZipFile, name: str, content: str | bytes) -> None:
    bundle.writestr(zipfile.ZipInfo(name, ZIP_DATE), content, zipfile.ZIP_DEFLATED)


def _source(path: Path) -> str:
    """The source of a module, which imports others by their names in the bundle."""
    source = path.read_text(encoding="utf-8")
    for name, module in SOURCES.items():
        source = source.replace(f"from {module.__name__} import", f"from {name} import")
    return source
