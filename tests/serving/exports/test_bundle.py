"""The bundle export: contents, and a load.py that needs only torch."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from service.data.csv_injection import escape_formula
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing
from service.domain.export import ExportedJob
from service.domain.job import Job
from service.serving.exports import standalone as loader
from service.serving.exports.bundle import to_bundle
from service.serving.exports.curves import Point, curves
from service.serving.exports.documents import documents
from service.serving.exports.model import TrainedModel
from service.training.checkpoint import LoadedCheckpoint
from tests.serving.exports.networks import MIXED_ROWS, TARGETS, mixed, numbers, untrained

HISTORY = "epoch,train_loss,val_loss,reason\n1,0.9,0.8,first\n2,0.5,,\n3,0.4,0.5,best\n"
ASKED: list[dict[str, Any]] = [{"size": "2.5", "city": "Ulm", "when": "1970-01-20T10:30:00Z", "smoker": "true"}, {}]


def job_of(checkpoint: LoadedCheckpoint, **fields: Any) -> Job:
    values = {"name": "birds", "labels": {}, "priority": 0, "sweep": None, "point": None, "forked": None}
    ended = {"status": "succeeded", "stop_reason": "early_stopped", "control": None, "error": None, "attempt": 1}
    rest = {"failures": 0, "device": "cpu", "worker": None, "queue_position": None, "best": None, "test": None}
    times = dict.fromkeys(("created_at", "started_at", "finished_at"), datetime(2026, 1, 1, tzinfo=UTC))
    progress = {"epoch": 5, "max_epochs": 100, "eta_seconds": None}
    known = {"id": "job_1", "spec": checkpoint.spec, "progress": progress, "warnings": []}
    return Job.model_validate({**values, **ended, **rest, **times, **known, **fields})


def bundle_of(checkpoint: LoadedCheckpoint, rows: list[dict[str, Any]], job: Job, history: Path) -> bytes:
    model = TrainedModel([checkpoint])
    return to_bundle(model, rows, documents(model, ExportedJob(job=job, dataset=None, history=history)))


def standalone(checkpoint: LoadedCheckpoint) -> loader.Standalone:
    return TrainedModel([checkpoint]).standalone()


def taken(tmp_path: Path, target: FittedTarget = TARGETS[0], **fields: Any) -> tuple[LoadedCheckpoint, Path]:
    """The network and the folder of its bundle."""
    checkpoint, history = mixed(target), tmp_path / "history.csv"
    history.write_text(HISTORY)
    data = bundle_of(checkpoint, MIXED_ROWS, job_of(checkpoint, **fields), history)
    assert data == bundle_of(checkpoint, MIXED_ROWS, job_of(checkpoint, **fields), history)
    folder = tmp_path / "taken"
    zipfile.ZipFile(io.BytesIO(data)).extractall(folder)
    return checkpoint, folder


def test_it_holds_all_that_its_card_lists(tmp_path: Path) -> None:
    _, folder = taken(tmp_path)

    card = (folder / "README.md").read_text()

    listed = set(re.findall(r"^\| `([\w.]+)` \|", card, re.MULTILINE)) - {"city", "linear", "size", "smoker", "when"}
    assert listed - {"val_loss", "val_accuracy"} == {path.name for path in folder.iterdir()} - {"README.md"}
    assert (folder / "history.csv").read_text() == HISTORY
    assert json.loads((folder / "job.json").read_text())["id"] == "job_1"
    assert json.loads((folder / "model.json").read_text())["target"]["classes"] == ["a", "b", "c"]
    for said in ("`val_accuracy` | 0.75", "early_stopped", "patience 10", "batch norm", "Böblingen", "Epoch 3 of 5"):
        assert said in card


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.classes))
def test_its_loader_predicts_a_csv_file_where_no_service_is_installed(tmp_path: Path, target: FittedTarget) -> None:
    checkpoint, folder = taken(tmp_path, target)
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["size", "city", "when", "linear", "smoker"], restval="unknown")
        writer.writeheader()
        writer.writerows(ASKED)
    # As if neither the service nor what it needs were installed.
    absent = (
        "import sys; sys.modules.update(dict.fromkeys(['service', 'pydantic', 'safetensors', 'duckdb', 'fastapi']))"
    )
    code = f"{absent}; sys.path.insert(0, '.'); import load; load.main(sys.argv[1])"

    printed = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path / "rows.csv")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    answers = list(csv.DictReader(printed.splitlines()))
    expected = standalone(checkpoint).predict(ASKED)
    predictions = [each["prediction"] for each in expected]
    texts = [json.dumps(each) if isinstance(each, bool) else str(each) for each in predictions]
    assert [answer["prediction"] for answer in answers] == texts


def test_its_loader_knows_a_column_by_its_name_in_a_csv_file_of_the_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names, row = ["=a", "'=a", "-b", "'c"], [1.0, 20.0, 300.0, 4.0]
    features = [numbers(name, [0.0, 1.0, 4.0], "standardize") for name in names]
    checkpoint = untrained(Preprocessing(features=features, target=TARGETS[0], null_values=[]))
    (tmp_path / "history.csv").write_text(HISTORY)
    data = bundle_of(checkpoint, [{}], job_of(checkpoint), tmp_path / "history.csv")
    zipfile.ZipFile(io.BytesIO(data)).extractall(tmp_path / "taken")
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([map(escape_formula, names), row])

    loader.main(str(tmp_path / "rows.csv"), tmp_path / "taken")

    [answer] = csv.DictReader(capsys.readouterr().out.splitlines())
    [expected] = standalone(checkpoint).predict([dict(zip(names, row, strict=True))])
    assert answer == {"prediction": expected["prediction"]} | {
        f"probability of {name}": str(share) for name, share in expected["probabilities"].items()
    }


def test_its_loader_imports_nothing_but_torch_and_what_python_brings(tmp_path: Path) -> None:
    _, folder = taken(tmp_path)

    nodes = [node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))]

    imported = {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    own = {path.stem for path in folder.glob("*.py")}
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names - own == {"torch"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"size": "big"}, "column 'size': 'big' is no number"),
        ({"when": "tomorrow"}, "column 'when': 'tomorrow' is no datetime"),
        ({"smoker": "perhaps"}, "column 'smoker': 'perhaps' is no boolean"),
    ],
)
def test_its_loader_names_the_column_of_a_wrong_value(row: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        standalone(mixed(TARGETS[0])).predict([row])


def test_its_picture_is_svg_whatever_was_measured() -> None:
    points = [Point(i, None if i == 2 else 1 / i, None) for i in range(1, 5_001)]

    for some in (points, points[:1], [Point(1, None, None)], [Point(1, 0.5, 0.5)]):
        picture = ElementTree.fromstring(curves(some, 1))
        assert picture.tag.endswith("svg")
    lines = ElementTree.fromstring(curves(points, 7)).findall("{*}polyline")
    assert len(lines) == 1
    assert len(lines[0].attrib["points"].split()) <= 2_000
