"""A table as people have them, from outside: dates, booleans, gaps, many texts, split by patient, and new rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import numpy as np
import pytest

from tests.e2e.conftest import upload
from tests.processes import wait_for_end

SPEC = {"architecture": {"hidden": [16]}, "max_epochs": 40, "optimizer": {"lr": 0.01}}


@pytest.fixture(scope="module")
def visits(service: httpx2.Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """600 visits of 60 patients; summer, morning and the common cities decide, and some rows lack a value."""
    rng = np.random.default_rng(0)
    lines = ["when,city,smoker,dose,patient,late"]
    for i in range(600):
        when = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=int(rng.integers(4 * 8_766)))
        city = f"c{rng.integers(4)}" if rng.random() < 0.8 else f"village {i}"
        late = (5 <= when.month <= 9) == (city in ("c0", "c1"))
        gap = rng.random() < 0.1
        cells = [
            f"{when:%Y-%m-%d %H:%M}",
            "" if gap else city,
            str(rng.random() < 0.5),
            f"{rng.lognormal(0, 2):.4f}",
            f"p{i % 60}",
        ]
        lines.append(",".join([*cells, "yes" if late else "no"]))
    path = tmp_path_factory.mktemp("visits") / "visits.csv"
    path.write_text("\n".join(lines) + "\n")
    return upload(service, path)


def test_every_kind_of_column_is_learnt_from_and_predicted_with(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]], visits: dict[str, Any]
) -> None:
    data = {"kind": "dataset", "id": visits["id"], "target": "late"}
    spec = {**SPEC, "data": data, "split": {"group": "patient", "test": 0.2}, "preprocess": {"numeric": "quantile"}}

    planned = service.post("/v1/jobs/plan", json=spec).json()
    job = train(spec)

    widths = {item["column"]: item["width"] for item in planned["inputs"]}
    assert widths == {"when": 7, "city": 6, "smoker": 1, "dose": 1}
    assert planned["rows"] == {"train": 360, "validation": 120, "test": 120, "dropped": 0, "exact": False}
    assert {warning["code"] for warning in planned["warnings"]} == {"rows_estimated", "rare_categories"}
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["test"]["metrics"]["accuracy"] > 0.75
    row = {"when": "2023-07-01T08:00:00Z", "city": "c0", "smoker": True, "dose": 1.5}
    rows = [row, dict(reversed(row.items())), {**row, "when": "2023-07-01T10:00:00+02:00"},
            {**row, "city": "never seen"}, {**row, "when": None, "city": None, "patient": "p1"}]  # fmt: skip
    answers = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows}).json()["predictions"]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["prediction"] == "yes"
    assert answers[3] != answers[0]
    wrong = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": [row, {**row, "when": "tomorrow"}]})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/rows/1/when")


@pytest.mark.parametrize("encoding", ["target", "frequency"])
def test_bins_wide_texts_and_clipped_predictions_are_learnt_from_predicted_with_and_exported(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]], visits: dict[str, Any], encoding: str
) -> None:
    data = {"kind": "dataset", "id": visits["id"], "target": "dose", "features": ["when", "city", "smoker", "patient"]}
    preprocess = {"numeric": "piecewise_linear", "bins": 4, "high_cardinality": encoding, "clip_target": True}
    job = train({**SPEC, "data": data, "split": {"test": 0.2}, "max_epochs": 5, "preprocess": preprocess})

    plan = service.post("/v1/jobs/plan", json={"data": data, "preprocess": preprocess}).json()
    row = {"when": "2023-07-01T08:00:00Z", "city": "c0", "smoker": True, "patient": "p1"}
    rows = [row, {**row, "when": "2123-07-01", "city": None, "patient": None}, {**row, "city": "x", "patient": "x"}]
    answers = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows}).json()["predictions"]
    content = "when,city,smoker,patient\n2023-07-01T08:00:00Z,c0,true,p1\n2023-07-01T08:00:00Z,x,true,x\n"
    of_file = service.post(f"/v1/jobs/{job['id']}/predict", content=content, headers={"content-type": "text/csv"})

    assert (job["status"], job["error"]) == ("succeeded", None)
    assert {item["column"]: item["width"] for item in plan["inputs"]} == {
        "when": 11,
        "city": 2,
        "smoker": 1,
        "patient": 1,
    }
    assert all(0 < answer["prediction"] < 1e4 for answer in answers)
    assert of_file.status_code == 200, of_file.text
    for kind in ("onnx", "pt2", "bundle"):  # each is compared with the service's predictions
        response = service.get(f"/v1/jobs/{job['id']}/checkpoints/best/download", params={"format": kind})
        assert response.status_code == 200, response.text


def test_cross_validation_by_patient_gives_each_setting_a_mean_and_a_deviation(
    service: httpx2.Client, visits: dict[str, Any]
) -> None:
    data = {"kind": "dataset", "id": visits["id"], "target": "late"}
    asked = {
        "base": {**SPEC, "data": data, "split": {"group": "patient"}, "max_epochs": 5},
        "grid": {"preprocess.numeric": ["piecewise_linear", "quantile"]},
        "folds": 3,
        "replicates": 2,
    }

    created = service.post("/v1/sweeps", json=asked)
    sweep = wait_for_end(service, created.headers["location"])

    assert (sweep["status"], sweep["counts"]["succeeded"]) == ("finished", 12)
    points = service.get(f"/v1/sweeps/{sweep['id']}/summary").json()["data"]
    assert [(point["jobs"], point["value"]["n"]) for point in points] == [(6, 3), (6, 3)]
    results = service.get(f"/v1/sweeps/{sweep['id']}/results").json()["data"]
    means = {}
    for fold in (1, 2, 3):
        of_fold = [r for r in results if r["point"]["split.fold"] == fold]
        means[fold] = np.mean([r["value"] for r in of_fold if r["point"]["preprocess.numeric"] == "quantile"])
    (point,) = (p for p in points if p["point"]["preprocess.numeric"] == "quantile")
    assert point["value"]["mean"] == pytest.approx(np.mean(list(means.values())))
    assert point["value"]["std"] == pytest.approx(np.std(list(means.values()), ddof=1))
