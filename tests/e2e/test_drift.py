"""Drift of next month's rows against a published model, by client and command line, on a real service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pandas as pd
import pytest

from bestepoch import ApiError, Client
from examples.local_service import running_service
from service.drift.report import DriftReport
from tests.e2e.conftest import Run

PENGUINS = Path("examples/penguins.csv")
SMALL: dict[str, Any] = {"max_epochs": 15, "architecture": {"hidden": [16]}, "split": {"test": 0.2}}


@pytest.fixture
def heavier(tmp_path: Path) -> Path:
    """The penguins, two kilograms heavier, some on an island that was not there before."""
    frame = pd.read_csv(PENGUINS)
    frame["body_mass_g"] += 2_000
    frame.loc[frame.index % 10 == 0, "island"] = "Ross"
    path = tmp_path / "next_month.csv"
    frame.drop(columns="species").to_csv(path, index=False)
    return path


def drifted(report: DriftReport) -> list[str]:
    return [each.column for each in report.columns if each.drift != "none"]


def test_next_months_rows_are_compared_with_those_of_the_training(
    client: Client, service: httpx2.Client, heavier: Path
) -> None:
    dataset = client.upload(PENGUINS)
    job = client.train(dataset, target="species", **SMALL).wait()
    client.models.create("drifting", job)
    job.delete()
    assert service.delete(f"/v1/datasets/{dataset.id}").status_code == 204
    model = client.models.get("drifting")

    same, shifted = model.drift(PENGUINS), model.drift(heavier)

    assert drifted(same) == []
    assert drifted(shifted)[0] == "body_mass_g"
    assert shifted.moved is not None
    assert "body_mass_g" in {each.column for each in shifted.moved.by}
    island = next(each for each in shifted.columns if each.column == "island")
    assert island.unseen_texts == ["Ross"]
    assert island.unseen == pytest.approx(35 / 344)
    frame = pd.read_csv(heavier)
    rows = json.loads(frame.to_json(orient="records"))
    assert model.drift(frame) == model.drift(rows) == model.at("champion").drift(heavier) == shifted
    assert (shifted.model.version, shifted.model.alias, shifted.sampled_since) == (1, "champion", None)
    assert model.at(1).drift(rows).columns == shifted.columns
    with pytest.raises(ApiError, match="no column 'island'"):
        model.drift(frame.drop(columns="island"))


def test_an_ensemble_of_folds_knows_all_rows_that_any_of_them_was_trained_on(client: Client) -> None:
    sweep = client.sweep(PENGUINS, target="body_mass_g", grid={"optimizer.lr": [0.01, 0.02]}, folds=3, **SMALL).wait()
    client.models.create("weights", sweep, select="greedy")

    report = client.models.get("weights").drift(PENGUINS)

    assert report.training_rows == 342 - 68
    assert [each.column for each in report.predictions] == ["prediction"]
    assert report.moved is not None
    assert report.moved.outputs == ["body_mass_g"]


def test_the_command_names_drifted_columns(client: Client, run: Run, heavier: Path) -> None:
    client.models.create("command", client.train(PENGUINS, target="species", **SMALL).wait())

    ended = run("drift", "command@champion", str(heavier))

    lines = ended.stdout.splitlines()
    assert ended.exit_code == 0, ended.output
    assert "columns have drifted: body_mass_g (PSI " in lines[0]
    assert any(line.split()[:2] == ["body_mass_g", "large"] for line in lines)
    found = json.loads(run("drift", "command", str(heavier), "--json").stdout)
    assert found["object"] == "drift_report"
    missing = run("drift", "nothing", str(heavier))
    assert (missing.exit_code, str(missing.exception)) == (1, "no model 'nothing'")


def test_a_server_that_samples_compares_what_it_was_asked(tmp_path: Path) -> None:
    options = {"BESTEPOCH_TRAINERS": "1", "BESTEPOCH_SAMPLE_ROWS": "200"}
    with running_service(tmp_path, **options) as http, Client(str(http.base_url)) as client:
        client.models.create("asked", client.train(PENGUINS, target="species", **SMALL).wait())
        model = client.models.get("asked")
        with pytest.raises(ApiError, match="asked:1 was not asked to predict rows in JSON yet"):
            model.drift()
        rows = json.loads(pd.read_csv(PENGUINS).to_json(orient="records"))
        for row in rows:
            model.predict([{**row, "body_mass_g": (row["body_mass_g"] or 0) + 3_000}])

        report = model.drift()

    assert 100 <= report.rows <= 200
    assert report.sampled_since is not None
    assert drifted(report)[0] == "body_mass_g"
