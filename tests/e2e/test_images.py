"""Images as flat rows of pixels and as files in class folders, trained as what they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from PIL import Image
from safetensors.torch import load
from sklearn.datasets import load_digits
from torch import nn

from tests.e2e.conftest import upload


def test_the_digits_reach_097_with_a_cnn_whose_checkpoint_plain_pytorch_loads(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    digits = load_digits()
    np.savez(tmp_path / "digits.npz", X=digits.images, y=digits.target)
    data = {"kind": "dataset", "id": upload(service, tmp_path / "digits.npz")["id"], "target": "y"}

    job = train({"data": data, "split": {"test": 0.2}, "architecture": {"kind": "cnn", "shape": [1, 8, 8]}})

    assert job["status"] == "succeeded"
    assert job["test"]["metrics"]["accuracy"] >= 0.97
    model = nn.Module()
    model.layers = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(128, 64), nn.BatchNorm1d(64), nn.ReLU()),
        nn.Linear(64, 10),
    )
    content = service.get(job["best"]["checkpoint"]["download_url"]).content
    model.load_state_dict(load(content), strict=True)
    rows = [{f"x{i}": float(v) for i, v in enumerate(image.flatten())} for image in digits.images[:50]]
    answered = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows}).json()["predictions"]
    assert np.mean([p["prediction"] == y for p, y in zip(answered, digits.target[:50], strict=True)]) >= 0.97


def test_a_folder_of_the_digits_as_pngs_reaches_097_with_a_cnn(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    digits = load_digits()
    pixels = (digits.images * 255 / 16).round().astype(np.uint8)
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        folder = tmp_path / "digits" / f"digit {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    dataset = upload(service, Path(shutil.make_archive(str(tmp_path / "digits"), "zip", tmp_path, "digits")))

    job = train(
        {
            "data": {"id": dataset["id"], "target": "label"},
            "split": {"test": 0.2},
            "architecture": {"kind": "cnn", "shape": dataset["read_as"]["shape"]},
        }
    )

    assert (dataset["rows"], dataset["read_as"]["shape"], dataset["warnings"]) == (1_797, [1, 8, 8], [])
    assert job["status"] == "succeeded"
    assert job["test"]["metrics"]["accuracy"] >= 0.97
    rows = [{f"x{i}": int(value) for i, value in enumerate(image.flatten())} for image in pixels[:50]]
    answered = service.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows}).json()["predictions"]
    right = [p["prediction"] == f"digit {label}" for p, label in zip(answered, digits.target[:50], strict=True)]
    assert np.mean(right) >= 0.97
