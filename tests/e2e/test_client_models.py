"""Publishing, predicting with and moving models, by the Python client and the command line, on a real service."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest

from bestepoch import ApiError, Client
from tests.e2e.conftest import Run

PENGUINS = Path("examples/penguins.csv")
SMALL: dict[str, Any] = {"max_epochs": 5, "architecture": {"hidden": [8]}}
MEASURED: list[dict[str, Any]] = [
    {"bill_length_mm": 39.1, "bill_depth_mm": 18.7, "flipper_length_mm": 181, "island": "Torgersen"},
    {"bill_length_mm": 47.5, "bill_depth_mm": None, "flipper_length_mm": 218, "island": "Biscoe"},
]


def test_a_model_is_published_predicts_moves_and_rolls_back(client: Client, tmp_path: Path) -> None:
    first = client.train(PENGUINS, target="species", **SMALL).wait()
    second = client.train(PENGUINS, target="species", seed=1, **SMALL).wait()
    client.models.create("client-birds", first, description="one network")
    two = client.models.create("client-birds", {first: 3.0, second.id: 1.0})

    model = client.models.get("client-birds")

    assert (two.version, [member.weight for member in two.members]) == (2, [0.75, 0.25])
    assert model.predict(MEASURED) == first.predict(MEASURED)
    expected = _mixed(first.predict(MEASURED), second.predict(MEASURED))
    for mixed, answer in zip(expected, model.at(2).predict(MEASURED), strict=True):
        assert answer["probabilities"] == pytest.approx(mixed, rel=1e-6)
    assert model.promote(2).previous == 1
    assert model.predict(MEASURED) == model.at(2).predict(MEASURED)
    frame = model.predict(pd.DataFrame(MEASURED, columns=two.features))
    assert list(frame["prediction"]) == [each["prediction"] for each in model.predict(MEASURED)]
    bundle = model.at(2).download(tmp_path)
    assert bundle.name == "client-birds-2.zip"
    assert "version.json" in ZipFile(bundle).namelist()
    assert model.at(2).card().startswith("# `client-birds`, version 2\n")
    assert client.models.at("client-birds:1").download(tmp_path / "birds.onnx", "onnx").name == "birds.onnx"
    assert model.rollback().version == 1
    with pytest.raises(LookupError, match="no version to roll back to"):
        model.rollback()
    with pytest.raises(ApiError, match="points to version 1; expected: version 2"):
        model.promote(2, expected=2)
    assert [(move.from_version, move.to_version) for move in model.history()] == [(2, 1), (1, 2), (None, 1)]
    first.delete()
    saved = model.predict(PENGUINS, tmp_path / "species.csv")
    assert len(list(csv.DictReader(saved.read_text().splitlines()))) == 344
    assert [version.version for version in model.versions()] == [2, 1]
    assert repr(model) == "<Model client-birds: 2 versions, champion -> 1>"
    assert [each.name for each in client.models.list(job=second.id)] == ["client-birds"]
    model.delete_alias("champion")
    model.delete_version(2)
    model.delete()


def _mixed(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Three quarters of the one, a quarter of the other."""
    return [
        {name: 0.75 * a["probabilities"][name] + 0.25 * b["probabilities"][name] for name in a["probabilities"]}
        for a, b in zip(one, other, strict=True)
    ]


def test_a_greedy_ensemble_of_a_cross_validated_sweep_has_metrics(client: Client) -> None:
    sweep = client.sweep(
        PENGUINS, "species", grid={"optimizer.lr": [0.0001, 0.01]}, folds=3, data={"features": ["bill_length_mm"]},
        split={"test": 0.2}, **SMALL,
    ).wait(120)  # fmt: skip

    best = client.models.create("greedy-birds", sweep, select="best")
    greedy = client.models.create("greedy-birds", sweep, select="greedy")

    for version in (best, greedy):
        assert version.metrics.validation is not None
        assert version.metrics.test is not None
        assert version.metrics.validation.rows + version.metrics.test.rows == 344
        assert sum(member.weight for member in version.members) == pytest.approx(1.0)
    assert len(best.members) == 3
    log_loss = [
        version.metrics.validation.values["log_loss"] for version in (best, greedy) if version.metrics.validation
    ]
    assert log_loss[1] <= log_loss[0] + 1e-9  # type: ignore[operator]
    job = next(client.jobs(sweep=sweep.id))
    answer = client.models.get("greedy-birds").at(greedy.version).predict([{"bill_length_mm": 39.1}])
    assert np.isclose(sum(answer[0]["probabilities"].values()), 1.0)
    assert answer[0]["prediction"] in job.predict([{"bill_length_mm": 39.1}])[0]["probabilities"]


def test_members_with_different_columns_are_averaged(client: Client) -> None:
    grid = {"data.features": [["bill_length_mm"], ["bill_depth_mm", "island"]]}
    sweep = client.sweep(PENGUINS, "species", grid=grid, **SMALL).wait(120)
    jobs = sorted(client.jobs(sweep=sweep.id), key=lambda job: job.id)

    greedy = client.models.create("columns", sweep, select="greedy")
    both = client.models.create("columns", dict.fromkeys(jobs, 1.0))

    assert greedy.metrics.validation is not None
    assert both.features == ["bill_length_mm", "bill_depth_mm", "island"]
    answers = [
        job.predict([{name: MEASURED[0][name] for name in names}])
        for job, names in zip(jobs, *grid.values(), strict=True)
    ]
    [answer] = client.models.get("columns").at(both.version).predict(MEASURED[:1])
    for name, probability in answer["probabilities"].items():
        mean = np.mean([answer[0]["probabilities"][name] for answer in answers])
        assert probability == pytest.approx(mean, rel=1e-6)


def test_the_commands_publish_promote_predict_download_and_roll_back(client: Client, run: Run, tmp_path: Path) -> None:
    job = client.train(PENGUINS, target="species", **SMALL).wait()

    def said(*arguments: str) -> str:
        ended = run(*arguments)
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    assert said("publish", "shop", job.id) == "Published shop:1 with 1 member, alias champion\n"
    assert json.loads(said("publish", "shop", f"{job.id}=2", "--alias", "next", "--json"))["aliases"] == ["next"]
    assert said("promote", "shop", "2") == "shop@champion is version 2; rollback would move it to 1\n"
    assert said("rollback", "shop") == "shop@champion is version 1\n"
    ended = run("rollback", "shop")
    assert (ended.exit_code, str(ended.exception)) == (
        1,
        "the alias 'champion' of 'shop' has no version to roll back to",
    )
    assert "shop" in said("models")
    assert said("models", "shop").splitlines()[0].split()[:3] == ["version", "aliases", "members"]
    assert [each["version"] for each in json.loads(said("models", "shop", "--json"))] == [2, 1]
    for address in ("shop", "shop@next", "shop:2"):
        assert said("predict", address, str(PENGUINS)) == said("predict", job.id, str(PENGUINS))
    saved = tmp_path / "shop-2.zip"
    assert said("download", "shop@next", "--out", str(tmp_path)) == f"Saved {saved}\n"
    calibrated, raw = saved.read_bytes(), tmp_path / "raw.zip"
    assert json.loads(said("download", "shop:2", "--raw", "--out", str(raw), "--json")) == {"path": str(raw)}
    assert set(ZipFile(saved).namelist()) == set(ZipFile(raw).namelist())
    assert calibrated == raw.read_bytes()  # too few validation rows for a temperature
    assert said("download", "shop@next", "--raw", "--out", str(tmp_path)) == f"Saved {tmp_path / 'shop-2-raw.zip'}\n"
    program = tmp_path / "my.pt2"
    said("download", "shop:2", "--out", str(program))
    assert {Path(name).name for name in ZipFile(program).namelist()} >= {"model.json"}
    for wrong in (("--format", "pt"), ("--last",), ("--out", str(tmp_path / "my.pt"))):
        ended = run("download", "shop", *wrong)
        assert (ended.exit_code, str(ended.exception)[:41]) == (1, "a model is downloaded as bundle, onnx or ")
