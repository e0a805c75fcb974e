"""What people take home answers as the service does, from raw rows, without the service."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits

from bestepoch import Client
from service.data.preprocess.sources import table_from_rows
from service.training.checkpoint import from_bytes
from tests.e2e.conftest import upload

PENGUINS = Path("examples/penguins.csv")
NUMBERS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year")
TEXTS = ("island", "sex")


@pytest.fixture(scope="module")
def job(service: httpx2.Client) -> dict[str, Any]:
    data = {"kind": "dataset", "id": upload(service, PENGUINS)["id"], "target": "species"}
    spec = {"data": data, "split": {"test": 0.2}, "early_stopping": {"patience": 5}}
    created = service.post("/v1/jobs", json=spec)
    found: dict[str, Any] = service.get(created.headers["location"], params={"wait": 60}).json()
    return found


def rows() -> list[dict[str, Any]]:
    """As the file has them, NA and all."""
    with PENGUINS.open() as file:
        return list(csv.DictReader(file))


def asked_of(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As JSON has them."""
    return [
        {name: None if row[name] == "NA" else float(row[name]) if name in NUMBERS else row[name] for name in row}
        for row in found
    ]


def answers(service: httpx2.Client, job: dict[str, Any]) -> np.ndarray[Any, Any]:
    """(344, 3) probabilities of the service."""
    found = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": asked_of(rows())}).json()["predictions"]
    return np.array([list(answer["probabilities"].values()) for answer in found])


def exported(service: httpx2.Client, job: dict[str, Any], kind: str) -> bytes:
    response = service.get(f"/v1/jobs/{job['id']}/checkpoints/best/download", params={"format": kind})
    assert response.status_code == 200, response.text
    return response.content


def test_an_onnx_file_takes_raw_columns_and_agrees_with_service_and_module(
    service: httpx2.Client, job: dict[str, Any]
) -> None:
    session = onnxruntime.InferenceSession(exported(service, job, "onnx"), providers=["CPUExecutionProvider"])
    columns = {
        name: np.array([[np.nan if row[name] == "NA" else float(row[name])] for row in rows()]) for name in NUMBERS
    }
    columns |= {name: np.array([[row[name]] for row in rows()], dtype=object) for name in TEXTS}

    prediction, probabilities = session.run(["prediction", "probabilities"], columns)

    np.testing.assert_allclose(probabilities, answers(service, job), rtol=0, atol=1e-5)
    assert set(prediction) == {"Adelie", "Chinstrap", "Gentoo"}
    assert (prediction == [row["species"] for row in rows()]).mean() > 0.95
    with Client(str(service.base_url)) as client:
        taken = client.job(job["id"])
        model, preprocessing = taken.best_model(), from_bytes(taken.checkpoint()).preprocessing
    inputs = torch.from_numpy(preprocessing.inputs(table_from_rows(asked_of(rows()), preprocessing)))
    with torch.inference_mode():
        logits = model(inputs)
    np.testing.assert_allclose(probabilities, torch.softmax(logits.double(), 1), rtol=0, atol=1e-5)


def test_an_exported_program_agrees_too(service: httpx2.Client, job: dict[str, Any]) -> None:
    extra = {"model.json": ""}
    program = torch.export.load(io.BytesIO(exported(service, job, "pt2")), extra_files=extra).module()

    numbers = [[np.nan if row[name] == "NA" else float(row[name]) for name in NUMBERS] for row in rows()]
    islands, sexes = ["Biscoe", "Dream", "Torgersen"], ["female", "male"]
    codes = [[islands.index(row["island"]), sexes.index(row["sex"]) if row["sex"] in sexes else -2] for row in rows()]

    found = program(torch.tensor(numbers, dtype=torch.float64), torch.tensor(codes))
    np.testing.assert_allclose(found.detach(), answers(service, job), rtol=0, atol=1e-5)


def test_a_bundle_predicts_the_uploaded_file_itself(
    service: httpx2.Client, job: dict[str, Any], tmp_path: Path
) -> None:
    zipfile.ZipFile(io.BytesIO(exported(service, job, "bundle"))).extractall(tmp_path)

    command = [sys.executable, "load.py", str(PENGUINS.absolute())]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    found = list(csv.DictReader(printed.splitlines()))
    shares = [[float(row[f"probability of {name}"]) for name in ("Adelie", "Chinstrap", "Gentoo")] for row in found]
    np.testing.assert_allclose(shares, answers(service, job), rtol=0, atol=1e-5)
    card = (tmp_path / "README.md").read_text()
    assert re.search(r"penguins(\.csv)?`, 344 rows and 8 columns", card)  # by whoever uploaded it first
    assert (
        f"| `val_accuracy` | {job['best']['metrics']['val_accuracy']:.4g} | {job['test']['metrics']['accuracy']:.4g} |"
        in card
    )


def test_images_are_taken_home_as_they_come(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    x, y = load_digits(return_X_y=True)
    np.savez(tmp_path / "digits.npz", X=x[:400], y=y[:400])
    dataset = upload(service, tmp_path / "digits.npz")
    data = {"kind": "dataset", "id": dataset["id"], "target": "y"}
    job = train({"data": data, "architecture": {"kind": "cnn", "shape": [1, 8, 8], "channels": [8]}, "max_epochs": 3})
    assert service.delete(f"/v1/datasets/{dataset['id']}").status_code == 204  # what it learnt stays

    session = onnxruntime.InferenceSession(exported(service, job, "onnx"), providers=["CPUExecutionProvider"])

    columns = {f"x{i}": x[:50, [i]] for i in range(64)}
    (probabilities,) = session.run(["probabilities"], columns)
    asked = [{f"x{i}": value for i, value in enumerate(row)} for row in x[:50].tolist()]
    found = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": asked}).json()["predictions"]
    expected = np.array([list(answer["probabilities"].values()) for answer in found])
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
