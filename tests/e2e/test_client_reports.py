"""Reports and evaluations of models, by the Python client and the command line, on a real service."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from bestepoch import ApiError, Client
from tests.e2e.conftest import Run
from tests.e2e.test_client_models import PENGUINS, SMALL


def test_a_model_is_reported_and_evaluated(client: Client, run: Run, tmp_path: Path) -> None:
    sweep = client.sweep(PENGUINS, "species", folds=3, split={"test": 0.2}, **SMALL).wait()
    made = client.models.create("report-birds", dict.fromkeys(client.jobs(sweep=sweep.id), 1.0))
    model = client.models.get("report-birds")
    frame = pd.read_csv(PENGUINS)

    report, evaluation = model.report(), model.evaluate(frame)

    assert made.metrics.test is not None
    assert (report.evaluated.part, report.evaluated.rows) == ("test", made.metrics.test.rows)
    assert report.classification is not None
    assert report.classification.accuracy.value == pytest.approx(made.metrics.test.values["accuracy"])
    assert report.missing == []
    assert evaluation.rows == frame["species"].notna().sum()
    assert evaluation.compared_with is not None
    assert evaluation.compared_with.classification == report.classification
    rows = model.at(1).evaluate(frame.astype(object).where(frame.notna(), None).to_dict("records"))
    assert rows == evaluation
    duckdb.read_csv(str(PENGUINS), na_values="NA").write_parquet(str(tmp_path / "rows.parquet"))
    assert model.evaluate(tmp_path / "rows.parquet") == evaluation
    assert "Version 1 of report-birds, the weighted average of 3 networks" in model.report("markdown")
    printed = run("report", "report-birds@champion").stdout
    assert printed.rstrip() == model.report("markdown").rstrip()
    assert json.loads(run("evaluate", "report-birds", str(PENGUINS), "--json").stdout)["rows"] == evaluation.rows
    run("evaluate", "report-birds:1", str(PENGUINS), "--html", str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_labels_that_are_no_class_are_refused_with_line_and_column(client: Client, tmp_path: Path) -> None:
    job = client.train(PENGUINS, target="species", **SMALL).wait()
    client.models.create("label-birds", job)
    model = client.models.get("label-birds")
    lines = PENGUINS.read_text().splitlines()
    (tmp_path / "rows.csv").write_text("\n".join([*lines[:4], lines[4].replace("Adelie", "Dodo"), ""]))

    with pytest.raises(ApiError, match=r"line 5, column 'species': 'Dodo' is none of the classes") as raised:
        model.evaluate(tmp_path / "rows.csv")
    assert raised.value.status == 422
    with pytest.raises(ApiError, match="the file has no column 'species', the target"):
        model.evaluate(pd.read_csv(PENGUINS).drop(columns="species"))
    with pytest.raises(ApiError) as unknown:
        model.evaluate([{"bill_length_mm": 39.0, "species": "Dodo"}])
    assert unknown.value.errors[0]["pointer"] == "/rows/0/species"
