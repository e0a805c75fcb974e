"""Jobs that trained on a stored table, with the files that a report is made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from service.artifacts import sha256_of
from service.data.formats import prediction_table
from service.data.formats.prediction_table import PredictionSource
from service.data.preprocess.dataset import prepare
from service.domain.report import ReportedMember, ReportInputs, StoredFile
from service.spec.resolve import Resolved
from service.training.checkpoint import Metadata, to_bytes
from service.worker.predictions import prediction_table as in_terms_of_data
from tests.data.tables import Stored
from tests.training.jobs import CPU, train


def stored_file(path: Path) -> StoredFile:
    return StoredFile(path, sha256_of(path))


def report_inputs(folder: Path, table: Stored, target: str, **fields: Any) -> ReportInputs:
    """Train on the table; the files are in `folder`."""
    return trained(folder, table.resolve(target, **{"max_epochs": 3, **fields}), table.parquet)


def trained(folder: Path, resolved: Resolved, parquet: Path | None) -> ReportInputs:
    data = prepare(resolved.preparation, parquet)
    *_, (last,) = train([resolved], data, CPU)
    checkpoint, predictions = folder / "best.safetensors", folder / "predictions.parquet"
    checkpoint.write_bytes(to_bytes(last.best_state, Metadata.of(resolved, data.preprocessing, last.row)))
    source = PredictionSource(
        job="job_1",
        epoch=last.row.epoch,
        sha256=sha256_of(checkpoint),
        task=resolved.spec.task,
        target=resolved.target.column,
        classes=resolved.target.classes,
    )
    assert last.outputs is not None
    validation, test = last.outputs
    predictions.write_bytes(prediction_table.to_bytes(in_terms_of_data(source, data, (validation, test))))
    table = None if parquet is None else stored_file(parquet)
    member = ReportedMember(stored_file(predictions), stored_file(checkpoint), resolved)
    return ReportInputs((member,), table, None)


def with_member(asked: ReportInputs, **fields: Any) -> ReportInputs:
    """The inputs with other fields of their only member."""
    (member,) = asked.members
    return replace(asked, members=(replace(member, **fields),))
