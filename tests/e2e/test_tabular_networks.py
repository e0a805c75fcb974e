"""ResNet, TabM and FT-Transformer over HTTP: planned, trained, asked for predictions, exported."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import upload
from tests.examples import some
from tests.processes import wait_for_end

PENGUINS = Path("examples/penguins.csv")
ROW = {"island": "Biscoe", "sex": None, "bill_length_mm": 46.1, "bill_depth_mm": 13.2, "flipper_length_mm": 211.0}

NETWORKS: dict[str, dict[str, Any]] = {
    "resnet": {"kind": "resnet", "width": 48, "scaling": True},
    "tabm_mini": {"kind": "tabm", "hidden": [64, 64], "heads": 8, "periodic": {"frequencies": 8}},
    "tabm_full": {"kind": "tabm", "mode": "full", "hidden": [64, 64], "heads": 8},
    "ft_transformer": {"kind": "ft_transformer", "width": 32, "attention_heads": 4},
}


@pytest.fixture(scope="module")
def dataset(service: httpx2.Client) -> str:
    return str(upload(service, PENGUINS)["id"])


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("name", "target"),
    some(
        [("ft_transformer", "species"), ("resnet", "species"), ("tabm_mini", "body_mass_g"), ("tabm_full", "species")],
        2,
    ),
)
def test_a_network_is_planned_trained_asked_and_exported(
    service: httpx2.Client, dataset: str, name: str, target: str, tmp_path: Path
) -> None:
    spec = {
        "data": {"kind": "dataset", "id": dataset, "target": target},
        "preprocess": {"categorical": "embedding"},
        "architecture": NETWORKS[name],
        "split": {"test": 0.2},
        "optimizer": {"lr": 0.002},
        "max_epochs": 40,
    }

    planned = service.post("/v1/jobs/plan", json=spec)
    created = service.post("/v1/jobs", json=spec)
    job = wait_for_end(service, created.headers["location"])
    predicted = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": [ROW]}).json()["predictions"][0]

    assert planned.status_code == 200, planned.text
    assert job["status"] == "succeeded", job
    if target == "species":
        assert predicted["prediction"] == "Gentoo"
        assert sum(predicted["probabilities"].values()) == pytest.approx(1.0)
    else:
        assert predicted["prediction"] == pytest.approx(5_000, rel=0.2)
    assert exported(service, job, "onnx")  # compared with the service's predictions as it is written
    zipfile.ZipFile(io.BytesIO(exported(service, job, "bundle"))).extractall(tmp_path)
    assert bundled(tmp_path) == pytest.approx(predicted["prediction"])


def exported(service: httpx2.Client, job: dict[str, Any], kind: str) -> bytes:
    response = service.get(f"/v1/jobs/{job['id']}/checkpoints/best/download", params={"format": kind})
    assert response.status_code == 200, response.text
    return response.content


def bundled(folder: Path) -> Any:
    """The prediction for ROW of a bundle, in a process that has torch alone."""
    code = f"import load, json; print(json.dumps(load.load().predict([{ROW!r}])[0]['prediction']))"
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.')\n{code}"],
                          cwd=folder, capture_output=True, text=True, check=True)  # fmt: skip
    answer = done.stdout.strip()
    return answer.strip('"') if answer.startswith('"') else float(answer)
