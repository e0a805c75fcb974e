"""What people take home answers as the service does, from raw rows, without the service."""

from __future__ import annotations

import csv
import io
import json
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
from service.serving.exports.standalone import Standalone
from service.training.checkpoint import from_bytes
from tests.e2e.conftest import upload
from tests.processes import wait_for_end

PENGUINS = Path("examples/penguins.csv")
NUMBERS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year")
TEXTS = ("island", "sex")


@pytest.fixture(scope="module")
def job(service: httpx2.Client) -> dict[str, Any]:
    data = {"kind": "dataset", "id": upload(service, PENGUINS)["id"], "target": "species"}
    spec = {"data": data, "split": {"test": 0.2}, "early_stopping": {"patience": 5}}
    created = service.post("/v1/jobs", json=spec)
    return wait_for_end(service, created.headers["location"])


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


@pytest.fixture
def ensemble(service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """A version of three networks of different columns and encodings."""
    data = {"kind": "dataset", "id": upload(service, PENGUINS)["id"], "target": "species"}
    fewer = {**data, "features": ["bill_length_mm", "sex", "island"]}
    specs: list[dict[str, Any]] = [
        {"data": data, "preprocess": {"numeric": "quantile"}},
        {"data": fewer, "preprocess": {"categorical": "embedding", "numeric": "robust"}},
        {"data": data, "architecture": {"kind": "tabm", "heads": 2, "hidden": [8]}, "seed": 3},
    ]
    jobs = [train({**spec, "split": {"test": 0.2}, "max_epochs": 4}) for spec in specs]
    members = [{"job": job["id"], "weight": place} for place, job in enumerate(jobs, start=1)]
    created = service.post("/v1/models", json={"name": "taken-home", "from": {"members": members}})
    assert created.status_code == 201, created.text
    found: dict[str, Any] = created.json()
    return found


def test_an_ensemble_is_one_file_that_agrees_with_the_service_on_all_rows(
    service: httpx2.Client, ensemble: dict[str, Any], tmp_path: Path
) -> None:
    answers = service.post("/v1/models/taken-home/predict", json={"rows": asked_of(rows())}).json()["predictions"]
    expected = np.array([list(answer["probabilities"].values()) for answer in answers])

    def taken(kind: str) -> bytes:
        response = service.get("/v1/models/taken-home:1/download", params={"format": kind}, timeout=600.0)
        assert response.status_code == 200, response.text
        assert response.headers["model-version"] == "1"
        return response.content

    session = onnxruntime.InferenceSession(taken("onnx"), providers=["CPUExecutionProvider"])
    columns = {
        name: np.array([[np.nan if row[name] == "NA" else float(row[name])] for row in rows()]) for name in NUMBERS
    }
    columns |= {name: np.array([[row[name]] for row in rows()], dtype=object) for name in TEXTS}
    (onnx_answers,) = session.run(["probabilities"], columns)
    zipfile.ZipFile(io.BytesIO(taken("bundle"))).extractall(tmp_path)
    command = [sys.executable, "load.py", str(PENGUINS.absolute())]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    found = list(csv.DictReader(printed.splitlines()))
    bundle_answers = [[float(row[f"probability of {name}"]) for name in answers[0]["probabilities"]] for row in found]
    program = torch.export.load(io.BytesIO(taken("pt2"))).module()
    model = Standalone(json.loads((tmp_path / "model.json").read_text()))
    pt2_answers = program(*model.tensors(rows())).detach()

    for each in (onnx_answers, bundle_answers, pt2_answers):
        np.testing.assert_allclose(each, expected, rtol=0, atol=1e-5)
    card = (tmp_path / "README.md").read_text()
    assert "as the weighted mean of the predictions of 3 jobs" in card
    assert all(member["job"] in card and member["sha256"] in card for member in ensemble["members"])


def test_a_job_is_exported_with_calibrated_probabilities_unless_raw_ones_are_asked_for(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    x = np.random.default_rng(0).normal(size=(600, 8))
    y = np.random.default_rng(1).integers(0, 2, 600)  # nothing can be learnt: what is sure is too sure
    spec = {
        "data": {"kind": "inline", "x": x.tolist(), "y": y.tolist()},
        "early_stopping": {"monitor": "train_loss", "patience": 50},
        "max_epochs": 40,
    }
    job = train(spec)
    asked = [{f"x{i}": value for i, value in enumerate(row)} for row in x.tolist()]

    for calibrated in (True, False):
        answer = service.post(
            f"/v1/jobs/{job['id']}/predict", params={"calibrated": calibrated}, json={"rows": asked}
        ).json()
        expected = np.array([list(each["probabilities"].values()) for each in answer["predictions"]])
        params = {"format": "onnx", "calibrated": calibrated}
        file = service.get(f"/v1/jobs/{job['id']}/checkpoints/best/download", params=params).content
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        (found,) = session.run(["probabilities"], {f"x{i}": x[:, [i]] for i in range(8)})
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        temperature = None if answer["calibration"] is None else answer["calibration"]["temperature"]
        assert (temperature is not None and temperature > 1.5) == calibrated
