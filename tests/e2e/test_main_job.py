"""The main job from outside: submit, watch, download, load in plain PyTorch, predict."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load
from torch import nn

from tests.documents import DOCS, blocks
from tests.e2e.conftest import upload
from tests.processes import wait_for_end
from tests.specs import REFERENCE

Train = Callable[[dict[str, Any]], dict[str, Any]]
PENGUINS = Path("examples/penguins.csv")


class Lesson(nn.Module):
    """The class of the lesson that the service grew from."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(20, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 32),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Linear(32, 2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def reference_rows() -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of the reference job, made anew from their documented recipe."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((1000, 20)).astype(np.float32)
    y = generator.permutation(np.arange(1000) % 2)
    return torch.from_numpy(x), torch.from_numpy(y)


def plain_loop(hold_biases: bool) -> tuple[list[tuple[float, float]], int]:
    """(train loss, val loss) of each epoch and the best epoch, by a loop that knows nothing of the service."""
    x, y = reference_rows()
    torch.manual_seed(0)
    model, criterion = Lesson(), nn.CrossEntropyLoss()
    if hold_biases:
        for index in (0, 3):
            model.layers[index].bias.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.001)
    history: list[tuple[float, float]] = []
    best, best_epoch, wait = float("inf"), 0, 0
    for epoch in range(1, 51):
        model.train()
        optimizer.zero_grad()
        loss = criterion(model(x[:800]), y[:800])
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            value = criterion(model(x[800:]), y[800:]).item()
        history.append((loss.item(), value))
        if value < best:
            best, best_epoch, wait = value, epoch, 0
        else:
            wait += 1
            if wait >= 5:
                break
    return history, best_epoch


@pytest.fixture(scope="module")
def reference(service: httpx2.Client) -> dict[str, Any]:
    created = service.post("/v1/jobs", json=REFERENCE).json()
    job = wait_for_end(service, f"/v1/jobs/{created['id']}")
    assert job["status"] == "succeeded", job
    return job


@pytest.mark.parametrize(("hold_biases", "tolerance"), [(True, 1e-6), (False, 1e-3)])
def test_the_reference_job_equals_a_plain_pytorch_loop(
    service: httpx2.Client, reference: dict[str, Any], hold_biases: bool, tolerance: float
) -> None:
    history, best_epoch = plain_loop(hold_biases)

    rows = service.get(f"/v1/jobs/{reference['id']}/history").json()["data"]

    assert reference["stop_reason"] == "early_stopped"
    assert len(rows) == len(history)
    assert [(row["train_loss"], row["val_loss"]) for row in rows] == [
        pytest.approx(pair, abs=tolerance) for pair in history
    ]
    assert reference["best"]["epoch"] == best_epoch


def test_the_checkpoint_loads_into_the_lessons_class_and_gives_the_recorded_value(
    service: httpx2.Client, reference: dict[str, Any]
) -> None:
    best = reference["best"]
    model = Lesson()

    model.load_state_dict(load(service.get(best["checkpoint"]["download_url"]).content), strict=True)

    x, y = reference_rows()
    with torch.no_grad():
        value = nn.functional.cross_entropy(model.eval()(x[800:]), y[800:]).item()
    assert value == pytest.approx(best["value"], abs=1e-6)


def test_the_last_checkpoint_is_another_epochs(service: httpx2.Client, reference: dict[str, Any]) -> None:
    """Keeping references instead of copies would publish the last epoch's weights as the best ones."""
    x, y = reference_rows()
    values = {}
    for kind in ("best", "last"):
        model = Lesson().eval()
        model.load_state_dict(load(service.get(f"/v1/jobs/{reference['id']}/checkpoints/{kind}/download").content))
        with torch.no_grad():
            values[kind] = nn.functional.cross_entropy(model(x[800:]), y[800:]).item()

    rows = service.get(f"/v1/jobs/{reference['id']}/history").json()["data"]
    assert values["best"] == pytest.approx(min(row["val_loss"] for row in rows), abs=1e-6)
    assert values["last"] == pytest.approx(rows[-1]["val_loss"], abs=1e-6)
    assert values["last"] > values["best"] + 1e-4


def test_the_state_dict_of_torch_holds_the_same_weights(service: httpx2.Client, reference: dict[str, Any]) -> None:
    url = reference["best"]["checkpoint"]["download_url"]

    state = torch.load(io.BytesIO(service.get(url, params={"format": "pt"}).content), weights_only=True)

    expected = load(service.get(url).content)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_the_same_spec_twice_gives_the_same_bytes(service: httpx2.Client, train: Train) -> None:
    spec = {**copy.deepcopy(REFERENCE), "batch_size": 64, "architecture": {"hidden": [32], "dropout": 0.2}}

    first, second = train(spec), train(spec)

    assert first["best"]["checkpoint"]["sha256"] == second["best"]["checkpoint"]["sha256"]


def test_penguins_reach_097_with_default_settings(service: httpx2.Client, train: Train) -> None:
    dataset = upload(service, PENGUINS)

    job = train({"data": {"kind": "dataset", "id": dataset["id"], "target": "species"}})

    assert (job["status"], job["stop_reason"]) == ("succeeded", "early_stopped")
    assert job["best"]["metrics"]["val_accuracy"] >= 0.97


def test_the_documented_lines_load_the_penguins_checkpoint(
    service: httpx2.Client, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (block.text for block in blocks(DOCS / "how-to/export-a-model.md") if block.kind == "python")
    dataset = upload(service, PENGUINS)
    job = train({"data": {"id": dataset["id"], "target": "species"}, "max_epochs": 2})
    (tmp_path / "best.safetensors").write_bytes(service.get(job["best"]["checkpoint"]["download_url"]).content)
    monkeypatch.chdir(tmp_path)

    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102

    assert names["model"].layers[0].weight.shape == (64, 15)


def test_predictions_on_raw_rows_are_those_of_the_checkpoint_by_hand(
    service: httpx2.Client, train: Train, tmp_path: Path
) -> None:
    dataset = upload(service, PENGUINS)
    job = train({"data": {"id": dataset["id"], "target": "species"}, "max_epochs": 20})
    with PENGUINS.open() as file:
        raw = list(csv.DictReader(file))[::10]
    rows = [{k: None if v == "NA" else float(v) if k[0] in "bfy" else v for k, v in row.items()} for row in raw]

    response = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows})

    assert response.status_code == 200, response.text
    shares = by_hand(service.get(job["best"]["checkpoint"]["download_url"]).content, rows, tmp_path)
    for answer, share in zip(response.json()["predictions"], shares, strict=True):
        assert list(answer["probabilities"].values()) == pytest.approx(share, abs=1e-5)
        assert answer["prediction"] == max(answer["probabilities"], key=answer["probabilities"].get)


def by_hand(checkpoint: bytes, rows: list[dict[str, Any]], folder: Path) -> list[list[float]]:
    """Class shares computed from the file alone: its tensors, and its preprocessing as plain JSON."""
    path = folder / "best.safetensors"
    path.write_bytes(checkpoint)
    with safe_open(path, "pt") as file:
        fitted = json.loads(file.metadata()["bestepoch"])["preprocessing"]
    x = [[value for feature in fitted["features"] for value in encode(feature, row)] for row in rows]
    state = load(checkpoint)
    width = state["layers.0.weight"].shape[1]
    model = Lesson()
    model.layers[0] = nn.Linear(width, 64)
    model.layers[6] = nn.Linear(32, 3)
    model.load_state_dict(state, strict=True)
    with torch.no_grad():
        return model.eval()(torch.tensor(x)).softmax(1).tolist()


def encode(feature: dict[str, Any], row: dict[str, Any]) -> list[float]:
    value = row[feature["column"]]
    if feature["categories"] is not None:
        encoded = [float(value == category) for category in feature["categories"]]
    else:
        encoded = [((feature["mean"] if value is None else value) - feature["mean"]) / feature["scale"]]
    return encoded + ([float(value is None)] if feature["indicator"] else [])
