"""From a table to a published model by a preset, with the command and the client, against a real service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas
import pytest

from bestepoch import Client
from service.cli.common import CommandError
from service.domain.sweep import DecisionKind, SweepStatus
from tests.e2e.conftest import Run

PENGUINS = Path("examples/penguins.csv")
SHORT = {"max_epochs": 4}
DIVERGING = {"max_epochs": 1, "batch_size": 2, "optimizer": {"kind": "sgd", "lr": 10.0}}


def test_fit_trains_a_preset_and_returns_its_model(client: Client) -> None:
    model = client.fit(PENGUINS, "species", preset="good", **SHORT)

    assert (model.name, model.address) == ("penguins", f"penguins:{model.version().version}")
    assert len(model.version().members) == 8
    assert len(model.predict(str(PENGUINS))) == 344
    report = model.report()
    assert report.baselines is not None
    assert (report.baselines.fits, report.evaluated.rows) == (8, 344)
    sweep = next(client.sweeps())
    assert (sweep.state.preset, sweep.state.status, sweep.state.model) == ("good", SweepStatus.finished, "penguins")
    assert [decision.kind for decision in sweep.decisions()] == [DecisionKind.published]
    assert sweep.published is not None
    assert sweep.published.address == model.address


def test_a_second_fit_is_the_next_version_and_predicts_with_it(client: Client) -> None:
    frame = pandas.read_csv(PENGUINS)

    first = client.fit(frame, "sex", preset="fast", model="twice", **SHORT)
    second = client.fit(frame, "sex", preset="fast", model="twice", seed=1, **SHORT)

    assert (first.address, second.address) == ("twice:1", "twice:2")
    rows = frame.head(20).drop(columns="sex")
    champion = client.models.get("twice").predict(rows)
    assert champion.equals(first.predict(rows))
    assert not champion.equals(second.predict(rows))
    assert second.promote(2).version == 2
    assert client.models.get("twice").predict(rows).equals(second.predict(rows))


def test_fit_says_why_there_is_no_model(client: Client) -> None:
    with pytest.raises(RuntimeError, match=r"swp_\w+ has published no model"):
        client.fit(PENGUINS, "body_mass_g", preset="fast", **DIVERGING)


def test_the_plan_of_a_sweep_is_that_of_its_submission(client: Client) -> None:
    data = client.upload(PENGUINS)

    plan = client.plan_sweep(data, "species", preset="best", max_epochs=2)
    grid = client.plan_sweep(data, "species", grid={"optimizer.lr": [0.1, 0.01]}, replicates=2, max_epochs=5)

    assert plan["jobs"] == 8 * plan["points"]
    assert plan["epochs"] == 2 * plan["jobs"]
    assert (grid["jobs"], grid["epochs"], grid["recipes"]) == (4, 20, None)


def test_train_publishes_a_preset_and_says_what_it_gained(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "birds.zip"
    ended = run(
        *("train", str(PENGUINS), "--target", "species", "--model", "trained-birds", "--max-epochs", "5"),
        *("--out", str(out)),
    )

    assert ended.exit_code == 0, ended.output
    plan, published, fast, trees, saved = ended.stdout.splitlines()
    assert plan.startswith("Preset `good`: 8 networks on 8 folds in 1 array, at most 40 epochs, ")
    assert plan.endswith("; then 1 network (`fast`) to compare with.")
    assert published == "Published trained-birds:1."
    assert fast.startswith("`good` against one network (`fast`), 69 validation rows: ")
    verdict = "(better|WORSE|no clear difference); log loss [0-9.]+ instead of [0-9.]+, gain -?[0-9.]+ "
    assert re.match(rf"`good` against boosted trees, 344 validation rows: {verdict}\(95% interval ", trees)
    assert saved == f"Saved {out}"
    assert out.read_bytes().startswith(b"PK")


def test_train_warns_of_a_messy_table(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "messy.csv"
    table.write_text("id,half,y\n" + "".join(f"{i},{i % 7},{i % 7 * 2.5}\n" for i in range(1000, 1200)))

    for options in (("--preset", "fast"), ("--patience", "2", "--out", str(tmp_path / "best.pt"))):
        ended = run("train", str(table), "--target", "y", "--set", "max_epochs=2", *options)

        assert ended.exit_code == 0, ended.output
        warnings = [line for line in ended.stderr.splitlines() if line.startswith("Warning: ")]
        assert warnings[0] == "Warning: likely ID columns, distinct in nearly every row: 'id'."
        assert warnings[1].startswith("Warning: possible target leakage: column 'half' alone nearly determines 'y'")


def test_train_prints_its_gains_as_json_on_the_same_test_rows(run: Run) -> None:
    options = ("--preset", "fast", "--set", "split.test=0.25", "--max-epochs", "3", "--json")

    document: dict[str, Any] = json.loads(run("train", str(PENGUINS), "--target", "body_mass_g", *options).stdout)

    assert document["published"]["model"] == "penguins"
    assert (document["plan"]["jobs"], document["path"]) == (1, None)
    (trees,) = document["gains"]
    assert (trees["over"], trees["part"], trees["rows"], trees["loss"]) == ("boosted trees", "test", 86, "rmse")
    assert trees["difference"]["value"] == pytest.approx(trees["other"] - trees["value"])


def test_one_network_has_the_test_rows_of_the_folds(run: Run) -> None:
    options = ("--set", "split.test=0.2", "--set", "max_epochs=2", "--json")

    ended = run("train", str(PENGUINS), "--target", "species", *options)

    compared = [(gain["part"], gain["rows"]) for gain in json.loads(ended.stdout)["gains"]]
    assert compared == [("test", 69), ("test", 69)], "rows are drawn by class, differently with folds and without"


def test_a_preset_without_a_model_is_an_error(run: Run) -> None:
    settings = [text for name, value in DIVERGING.items() for text in ("--set", f"{name}={json.dumps(value)}")]

    ended = run("train", str(PENGUINS), "--target", "body_mass_g", "--preset", "good", *settings)

    assert ended.exit_code == 1
    assert "has published no model" in ended.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "good", "--out", "best.safetensors"), "weights are those of one network"),
        (("--preset", "none", "--model", "birds"), "use `bestepoch publish` afterwards"),
        (("--preset", "best", "--out", "nowhere/model.zip"), "there is no folder nowhere"),
        (("--model", "Not A Label"), "should be 1 to 63 lower-case letters"),
    ],
)
def test_options_that_contradict_each_other_are_refused(run: Run, options: tuple[str, ...], message: str) -> None:
    error = run("train", str(PENGUINS), "--target", "species", *options).exception

    assert isinstance(error, CommandError)
    assert message in str(error)
