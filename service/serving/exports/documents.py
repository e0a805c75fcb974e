"""The documents of a bundle: the model card, the record in the service, and the history of a job."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from service.domain.model import ModelVersion
from service.serving.exports.card import card
from service.serving.exports.curves import Point, curves
from service.serving.exports.version_card import version_card

if TYPE_CHECKING:
    from pathlib import Path

    from service.domain.export import ExportedJob
    from service.serving.exports.model import TrainedModel


def documents(model: TrainedModel, of: ExportedJob | ModelVersion) -> dict[str, str | bytes]:
    """Files by name."""
    if isinstance(of, ModelVersion):
        # Aliases move; equal versions give equal bytes.
        return {
            "README.md": version_card(of, model.preprocessing.features, temperature=model.temperature),
            "version.json": of.model_dump_json(indent=2, exclude={"aliases"}),
        }
    [checkpoint] = model.checkpoints
    return {
        "README.md": card(of.job, checkpoint, of.dataset, model.temperature),
        "job.json": of.job.model_dump_json(indent=2),
        "history.csv": of.history.read_bytes(),
        "curves.svg": curves(_points(of.history), checkpoint.epoch),
    }


def _points(history: Path) -> list[Point]:
    with history.open(encoding="utf-8", newline="") as file:
        return [
            Point(int(row["epoch"]), _value(row["train_loss"]), _value(row["val_loss"])) for row in csv.DictReader(file)
        ]


def _value(text: str) -> float | None:
    return float(text) if text else None
