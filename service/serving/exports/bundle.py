"""The bundle export: a zip with weights, preprocessing, history, model card, load.py, cells.py and layers.py."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch

from service.serving.exports import cells
from service.serving.exports import standalone as loader
from service.serving.exports.card import card
from service.serving.exports.curves import Point, curves
from service.serving.exports.model import check, standalone
from service.training import modules

if TYPE_CHECKING:
    from service.domain.job import Job
    from service.serving.exports.model import Rows
    from service.spec.table import Dataset
    from service.training.checkpoint import LoadedCheckpoint

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date of zip: a fixed one gives equal bytes each time


def to_bundle(checkpoint: LoadedCheckpoint, rows: Rows, job: Job, dataset: Dataset | None, history: Path) -> bytes:
    """The zip; `history`: every epoch as CSV. Raises Conflict unless it predicts the same for `rows` as the service."""
    model = standalone(checkpoint)
    weights = io.BytesIO()
    torch.save(checkpoint.network.state_dict(), weights)
    with closing(io.BytesIO()) as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
            _write(bundle, "README.md", card(job, checkpoint, dataset))
            source = _source(loader).replace(f"from {modules.__name__} import", "from layers import")
            _write(bundle, "load.py", source.replace(f"from {cells.__name__} import", "from cells import"))
            _write(bundle, "cells.py", _source(cells))
            _write(bundle, "layers.py", _source(modules))
            _write(bundle, "model.json", json.dumps(model.description, ensure_ascii=False))
            _write(bundle, "weights.pt", weights.getvalue())
            _write(bundle, "job.json", job.model_dump_json(indent=2))
            _write(bundle, "history.csv", history.read_bytes())
            _write(bundle, "curves.svg", curves(_points(history), checkpoint.epoch))
        buffer.seek(0)
        with tempfile.TemporaryDirectory() as folder:
            zipfile.ZipFile(buffer).extractall(folder)
            loaded = loader.load(folder)
        with torch.inference_mode():
            check(checkpoint, lambda asked: loaded(*loaded.tensors(asked)), rows, "bundle")
        return buffer.getvalue()


def _write(bundle: zipfile.ZipFile, name: str, content: str | bytes) -> None:
    bundle.writestr(zipfile.ZipInfo(name, ZIP_DATE), content, zipfile.ZIP_DEFLATED)


def _source(module: ModuleType) -> str:
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def _points(history: Path) -> list[Point]:
    with history.open(encoding="utf-8", newline="") as file:
        return [
            Point(int(row["epoch"]), _value(row["train_loss"]), _value(row["val_loss"])) for row in csv.DictReader(file)
        ]


def _value(text: str) -> float | None:
    return float(text) if text else None
