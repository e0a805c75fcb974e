"""Text columns with embeddings, from outside: plan, training, prediction of new rows, folds as one array, exports."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import onnxruntime
import pytest

from tests.e2e.conftest import upload
from tests.processes import wait_for_end

SPEC: dict[str, Any] = {
    "preprocess": {"categorical": "embedding"},
    "architecture": {"hidden": [16], "scaling": True, "periodic": {"frequencies": 8, "sigma": 1.0}},
    "optimizer": {"lr": 0.01},
    "split": {"test": 0.2},
    "max_epochs": 60,
}
CITIES = ["c0", "c1", "c2", "c3"]


@pytest.fixture(scope="module")
def table(service: httpx2.Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """400 rows: a wave of the dose decides, reversed in half of the cities; some cities are rare or missing."""
    rng = np.random.default_rng(0)
    lines = ["dose,city,shift,late"]
    for place in range(400):
        dose, city = rng.uniform(-2, 2), CITIES[rng.integers(4)]
        late = (np.sin(3 * dose) > 0) == (city in CITIES[:2])
        text = f"village {place}" if rng.random() < 0.05 else "" if rng.random() < 0.05 else city
        lines.append(f"{dose:.4f},{text},{'day' if place % 3 else 'night'},{'yes' if late else 'no'}")
    path = tmp_path_factory.mktemp("cities") / "cities.csv"
    path.write_text("\n".join(lines) + "\n")
    return upload(service, path)


@pytest.fixture(scope="module")
def job(service: httpx2.Client, table: dict[str, Any]) -> dict[str, Any]:
    spec = {**SPEC, "data": {"kind": "dataset", "id": table["id"], "target": "late"}}
    created = service.post("/v1/jobs", json=spec)
    assert created.status_code == 201, created.text
    return wait_for_end(service, created.headers["location"])


def test_texts_with_embeddings_are_planned_learnt_from_and_predicted_with(
    service: httpx2.Client, job: dict[str, Any]
) -> None:
    planned = service.post("/v1/jobs/plan", json=job["spec"]).json()

    embedded = {item["column"]: (item["width"], item["embedding_size"]) for item in planned["inputs"]}
    # 7 codes: none, 4 cities, (other), missing; 3 codes: none, day, night
    assert embedded == {"dose": (1, None), "city": (0, 5), "shift": (0, 3)}
    kinds = [(layer["kind"], layer["inputs"]) for layer in planned["layers"][:4]]
    assert kinds == [
        ("periodic", ["numbers"]),
        ("embedding", ["codes"]),
        ("concat", ["layers.0", "layers.1"]),
        ("scaling", ["layers.2"]),
    ]
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["test"]["metrics"]["accuracy"] > 0.8
    rows = [{"dose": 0.5, "city": city, "shift": "day"} for city in (*CITIES, "c0", "never seen", "village 3", None)]
    answers = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows}).json()["predictions"]
    assert [answer["prediction"] for answer in answers[:4]] == ["yes", "yes", "no", "no"]
    assert answers[4] == answers[0]
    assert answers[5] == answers[6]
    assert answers[7] != answers[5]


def test_exports_take_the_texts_themselves(service: httpx2.Client, job: dict[str, Any]) -> None:
    rows = [{"dose": 0.1 * place, "city": ["c1", "nowhere", ""][place % 3], "shift": "night"} for place in range(9)]
    url = f"/v1/jobs/{job['id']}/checkpoints/best/download"
    asked = [{**row, "city": row["city"] or None} for row in rows]
    answers = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": asked}).json()["predictions"]

    session = onnxruntime.InferenceSession(
        service.get(url, params={"format": "onnx"}).content, providers=["CPUExecutionProvider"]
    )
    columns = {"dose": np.array([[row["dose"]] for row in rows])}
    columns |= {name: np.array([[row[name]] for row in rows], dtype=object) for name in ("city", "shift")}
    (shares,) = session.run(["probabilities"], columns)

    expected = [[answer["probabilities"][name] for name in ("no", "yes")] for answer in answers]
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-5)
    for kind in ("pt2", "bundle"):  # the service compares each with its own predictions
        assert zipfile.is_zipfile(io.BytesIO(service.get(url, params={"format": kind}).content))


def test_a_client_places_the_layers_itself(
    train: Callable[[dict[str, Any]], dict[str, Any]], table: dict[str, Any]
) -> None:
    layers = [
        {"kind": "periodic", "sigma": 1.0, "name": "waves"},
        {"kind": "embedding", "inputs": ["codes"], "name": "texts"},
        {"kind": "concat", "inputs": ["waves", "texts"]},
        {"kind": "scaling"},
        {"kind": "linear", "out_features": 16},
        {"kind": "activation"},
    ]
    data = {"kind": "dataset", "id": table["id"], "target": "late"}

    job = train({**SPEC, "data": data, "architecture": {"kind": "layers", "layers": layers}})

    assert job["test"]["metrics"]["accuracy"] > 0.75
