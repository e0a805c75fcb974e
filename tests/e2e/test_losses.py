"""A job with another loss, a schedule by step and averaged weights: planned, refused, trained and used over HTTP."""

from __future__ import annotations

import io
from typing import Any

import httpx2
import numpy as np
import onnxruntime
import torch

from tests.processes import wait_for_end

RNG = np.random.default_rng(0)
X = RNG.uniform(-1.0, 1.0, (400, 2)).round(4)
NOISY = (5.0 + 3.0 * X[:, 0] + RNG.exponential(2.0, 400)).round(4)
COUNTS = RNG.poisson(np.exp(3.0 + X[:, 0])).astype(float)
SPEC: dict[str, Any] = {
    "data": {"kind": "inline", "x": X.tolist(), "y": NOISY.tolist()},
    "loss": {"kind": "quantile", "q": 0.9},
    "schedule": {"kind": "coslog4", "warmup_steps": 5},
    "averaging": {"kind": "ema", "decay": 0.95},
    "optimizer": {"kind": "adamw", "lr": 0.01, "weight_decay": 0.01, "decay_schedule": "flat_cos"},
    "max_epochs": 45,
    "early_stopping": None,
}


def trained(service: httpx2.Client, spec: dict[str, Any]) -> dict[str, Any]:
    created = service.post("/v1/jobs", json=spec)
    assert created.status_code == 201, created.text
    job = wait_for_end(service, created.headers["location"])
    assert job["status"] == "succeeded", job
    return job


def predictions(service: httpx2.Client, job: dict[str, Any]) -> np.ndarray[Any, Any]:
    rows = [{"x0": a, "x1": b} for a, b in X.tolist()]
    answer = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    return np.array([each["prediction"] for each in answer.json()["predictions"]])


def exported(service: httpx2.Client, job: dict[str, Any], kind: str) -> bytes:
    response = service.get(f"/v1/jobs/{job['id']}/checkpoints/best/download", params={"format": kind})
    assert response.status_code == 200, response.text
    return response.content


def by_onnx(data: bytes) -> Any:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(["prediction"], {"x0": X[:, :1], "x1": X[:, 1:]})[0]


def test_a_quantile_is_learnt_with_coslog4_and_averaged_weights(service: httpx2.Client) -> None:
    job = trained(service, SPEC)

    found = predictions(service, job)
    rates = [row["lr"] for row in service.get(f"/v1/jobs/{job['id']}/history").json()["data"]]
    assert (found > NOISY).mean() > 0.8
    assert len(rates) == 45
    assert rates[2] < 0.001  # a fifteenth of the way: a valley
    assert max(rates) > 0.009
    np.testing.assert_allclose(by_onnx(exported(service, job, "onnx")), found, rtol=1e-4, atol=1e-4)


def test_counts_are_predicted_as_rates_by_the_service_and_every_export(service: httpx2.Client) -> None:
    data = {"kind": "inline", "x": X.tolist(), "y": COUNTS.tolist()}
    job = trained(service, {**SPEC, "data": data, "loss": {"kind": "poisson"}})

    found = predictions(service, job)

    assert np.abs(np.log(found) - (3.0 + X[:, 0])).mean() < 0.1
    assert job["best"]["metrics"]["val_poisson_deviance"] > 0
    np.testing.assert_allclose(by_onnx(exported(service, job, "onnx")), found, rtol=1e-4)
    program = torch.export.load(io.BytesIO(exported(service, job, "pt2"))).module()
    numbers, codes = torch.tensor(X), torch.zeros(len(X), 0, dtype=torch.int64)
    np.testing.assert_allclose(program(numbers, codes).detach(), found, rtol=1e-4)
    exported(service, job, "bundle")  # which itself compares the answers


def test_nonsense_is_refused_with_a_pointer(service: httpx2.Client) -> None:
    classes = {"kind": "synthetic", "rows": 60}
    wrong: list[tuple[str, dict[str, Any]]] = [
        (
            "/loss/kind",
            {"loss": {"kind": "poisson"}, "data": {"kind": "inline", "x": [[1], [2]] * 9, "y": [-1, 3] * 9}},
        ),
        ("/loss/kind", {"data": classes, "task": "classification"}),
        ("/optimizer/rates/conv2d", {"optimizer": {"rates": {"conv2d": 2.0}}}),
        ("/averaging/start", {"averaging": {"kind": "swa", "start": 99}}),
        ("/early_stopping/monitor", {"early_stopping": {"monitor": "val_poisson_deviance"}}),
    ]

    for pointer, fields in wrong:
        response = service.post("/v1/jobs", json={**SPEC, **fields})
        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
