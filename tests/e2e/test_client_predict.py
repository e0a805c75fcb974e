"""`job.predict` with rows, files and DataFrames: the same predictions, in the matching shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pandas
import pytest

from bestepoch import Client, Job
from tests.e2e.conftest import Run

TABLE = "size,kind,day,{target}\n"
TARGETS: dict[str, list[str]] = {
    "text": ["=a", "two words, and a comma", '"quoted"'],
    "integer": ["7", "10", "100"],
    "boolean": ["true", "false", "true"],
    "number": ["0.5", "10.25", "-3"],
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    kinds, days = ["x", "y", None], ["2026-01-31", "2026-02-01"]
    return [{"size": n / 4, "kind": kinds[n % 3], "day": days[n % 2]} for n in range(90)]


@pytest.fixture(params=list(TARGETS))
def job(client: Client, rows: list[dict[str, Any]], request: pytest.FixtureRequest) -> Job:
    """A job whose target has values of this type."""
    values = TARGETS[request.param]
    table = pandas.DataFrame(rows).assign(target=[values[n % 3].strip('"') for n in range(len(rows))])
    task = "regression" if request.param == "number" else "classification"
    return client.train(table, target="target", task=task, max_epochs=2).wait(60)


def test_rows_files_and_data_frames_get_the_same_predictions(
    job: Job, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    frame = pandas.DataFrame(rows, index=range(1000, 1090))
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)

    expected = job.predict(rows)
    predicted = job.predict(frame)

    assert job.predict(tmp_path / "rows.csv") == expected
    assert job.predict(str(tmp_path / "rows.jsonl")) == expected
    assert isinstance(predicted, pandas.DataFrame)
    assert list(predicted.index) == list(frame.index)
    flat = [
        {"prediction": each["prediction"]}
        | {f"probability of {label}": share for label, share in each.get("probabilities", {}).items()}
        for each in expected
    ]
    assert predicted.to_dict("records") == flat
    assert {type(each["prediction"]) for each in expected} == {type(each) for each in predicted["prediction"].tolist()}


def test_predictions_are_saved_in_the_format_of_the_rows(
    client: Client, rows: list[dict[str, Any]], run: Run, tmp_path: Path
) -> None:
    job = client.train(pandas.DataFrame(rows), target="kind", max_epochs=2).wait(60)
    expected = job.predict(rows)
    frame = pandas.DataFrame(rows)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    table = duckdb.read_csv(str(tmp_path / "rows.csv"))
    table.write_parquet(str(tmp_path / "rows.parquet"))
    shares = [(each["prediction"], *each["probabilities"].values()) for each in expected]

    for name in ("rows.csv", "rows.parquet", "rows.jsonl"):
        assert job.predict(tmp_path / name, out=tmp_path / f"out-{name}") == tmp_path / f"out-{name}"
        saved = run("predict", job.id, str(tmp_path / name), "--out", str(tmp_path / "again"))
        assert saved.stdout == f"Saved {tmp_path / 'again'}\n"
        assert (tmp_path / "again").read_bytes() == (tmp_path / f"out-{name}").read_bytes()

    assert duckdb.read_csv(str(tmp_path / "out-rows.csv")).fetchall() == shares
    assert duckdb.read_parquet(str(tmp_path / "out-rows.parquet")).fetchall() == shares
    lines = (tmp_path / "out-rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == expected
    assert json.loads(run("predict", job.id, str(tmp_path / "rows.jsonl"), "--json").stdout) == expected


def test_invalid_rows_and_arguments_are_errors(
    client: Client, rows: list[dict[str, Any]], run: Run, tmp_path: Path
) -> None:
    job = client.train(pandas.DataFrame(rows), target="kind", max_epochs=1).wait(60)
    duckdb.sql("SELECT 1 AS size").write_parquet(str(tmp_path / "rows.parquet"))
    (tmp_path / "rows.jsonl").write_text('{"size": 1}\n{"size": "large"}\n')

    with pytest.raises(ValueError, match="say where to save it"):
        job.predict(tmp_path / "rows.parquet")
    with pytest.raises(TypeError, match="out="):
        job.predict(rows, out=tmp_path / "out.csv")  # type: ignore[call-overload]
    with pytest.raises(FileNotFoundError):
        job.predict(tmp_path / "nowhere.csv")
    assert "/rows/1/size" in str(run("predict", job.id, str(tmp_path / "rows.jsonl")).exception)
    (tmp_path / "rows.jsonl").write_text('{"size": 1}\nsize\n')
    assert "rows.jsonl:2 is not JSON" in str(run("predict", job.id, str(tmp_path / "rows.jsonl")).exception)


def test_intervals_and_sets_come_in_every_shape(job: Job, rows: list[dict[str, Any]], run: Run, tmp_path: Path) -> None:
    frame = pandas.DataFrame(rows)
    frame.to_csv(tmp_path / "rows.csv", index=False)

    expected = job.predict(rows, interval=0.8)
    predicted = job.predict(frame, interval=0.8)

    assert job.predict(tmp_path / "rows.csv", interval=0.8) == expected
    added = ("lower", "upper") if "lower" in expected[0] else ("set",)
    assert ("set" in added) == ("probabilities" in expected[0])
    assert [[each[name] for name in added] for each in expected] == predicted[list(added)].to_numpy().tolist()
    printed = run("predict", job.id, str(tmp_path / "rows.csv"), "--interval", "0.8", "--raw", "--json").stdout
    assert [[each[name] for name in added] for each in json.loads(printed)] == predicted[list(added)].values.tolist()
    found = job.calibration(0.8)
    assert found is not None
    assert found.level == 0.8
    assert found.rows > 0
    assert (job.calibration() is None) == ("lower" in added)
    raw = job.predict(rows, interval=0.8, calibrated=False)
    assert [set(each) - {"prediction"} for each in json.loads(printed)] == [
        {f"probability of {name}" for name in each.get("probabilities", {})} | set(added) for each in raw
    ]
