"""A job whose layers take named inputs: planned, refused, trained, used and exported over HTTP."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import onnxruntime
import torch

from tests.e2e.conftest import upload
from tests.processes import wait_for_end

PENGUINS = Path("examples/penguins.csv")
LAYERS: list[dict[str, Any]] = [
    {"kind": "linear", "out_features": 24, "name": "first"},
    {"kind": "batch_norm"},
    {"kind": "activation", "function": "silu"},
    {"kind": "linear", "out_features": 24, "name": "second"},
    {"kind": "add", "inputs": ["first", "second"], "name": "sum"},
    {"kind": "concat", "inputs": ["sum", "numbers"]},
]


def spec_of(service: httpx2.Client, layers: list[dict[str, Any]]) -> dict[str, Any]:
    data = {"kind": "dataset", "id": upload(service, PENGUINS)["id"], "target": "species"}
    return {"data": data, "architecture": {"kind": "layers", "layers": layers}, "early_stopping": {"patience": 5}}


def test_the_plan_shows_what_each_layer_takes(service: httpx2.Client) -> None:
    plan = service.post("/v1/jobs/plan", json=spec_of(service, LAYERS)).json()

    taken = [(layer["kind"], layer["name"], layer["inputs"]) for layer in plan["layers"]]
    assert taken[3:] == [
        ("linear", "second", ["layers.2"]),
        ("add", "sum", ["layers.0", "layers.3"]),
        ("concat", None, ["layers.4", "numbers"]),
        ("linear", None, ["layers.5"]),
    ]


def test_an_unknown_input_is_refused_with_a_pointer(service: httpx2.Client) -> None:
    wrong = [*LAYERS[:4], {"kind": "add", "inputs": ["first", "third"]}]

    response = service.post("/v1/jobs", json=spec_of(service, wrong))

    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["pointer"] == "/architecture/layers/4/inputs/1"
    assert "no earlier layer has the name 'third'" in error["message"]


def test_it_trains_and_every_export_agrees_with_the_service(service: httpx2.Client, tmp_path: Path) -> None:
    created = service.post("/v1/jobs", json=spec_of(service, LAYERS))
    job = wait_for_end(service, created.headers["location"])
    assert job["status"] == "succeeded"
    assert job["best"]["metrics"]["val_accuracy"] > 0.9
    with PENGUINS.open() as file:
        rows = list(csv.DictReader(file))
    asked = [{name: None if row[name] == "NA" else row[name] for name in ("island", "sex")} for row in rows]
    found = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": asked}).json()["predictions"]
    expected = np.array([list(answer["probabilities"].values()) for answer in found])

    def exported(kind: str) -> bytes:
        response = service.get(f"/v1/jobs/{job['id']}/checkpoints/best/download", params={"format": kind})
        assert response.status_code == 200, response.text
        return response.content

    session = onnxruntime.InferenceSession(exported("onnx"), providers=["CPUExecutionProvider"])
    columns: dict[str, Any] = {
        each.name: np.full((len(rows), 1), np.nan) for each in session.get_inputs() if "double" in each.type
    }
    columns |= {name: np.array([[row[name] or ""] for row in asked], dtype=object) for name in ("island", "sex")}
    np.testing.assert_allclose(session.run(["probabilities"], columns)[0], expected, rtol=0, atol=1e-5)

    program = torch.export.load(io.BytesIO(exported("pt2"))).module()
    islands, sexes = ["Biscoe", "Dream", "Torgersen"], ["female", "male"]
    codes = [[islands.index(str(row["island"])), sexes.index(row["sex"]) if row["sex"] else -2] for row in asked]
    numbers = torch.full((len(rows), 5), torch.nan, dtype=torch.float64)
    np.testing.assert_allclose(program(numbers, torch.tensor(codes)).detach(), expected, rtol=0, atol=1e-5)

    zipfile.ZipFile(io.BytesIO(exported("bundle"))).extractall(tmp_path / "bundle")
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(columns), restval="NA")
        writer.writeheader()
        writer.writerows({name: value or "NA" for name, value in row.items()} for row in asked)
    command = [sys.executable, "-I", "-c", "import sys; sys.path.insert(0, '.'); import load; load.main('../rows.csv')"]
    printed = subprocess.run(command, cwd=tmp_path / "bundle", capture_output=True, text=True, check=True).stdout
    shares = [
        [float(x) for name, x in row.items() if name != "prediction"] for row in csv.DictReader(printed.splitlines())
    ]
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-5)
    assert "| `sum` | add | `first, second` |" in (tmp_path / "bundle" / "README.md").read_text()
