"""The drift of new rows against a version of real jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.artifacts import sha256_of
from service.data.processes.ingest_prediction_rows import ingest_rows
from service.domain.drift import DriftInputs, ProfiledMember
from service.domain.model_ref import Member, ModelRef
from service.domain.report import StoredFile
from service.drift.process import write_profile
from service.drift.report import ColumnDrift, DriftReport
from service.errors import CheckpointCorrupt, DatasetCorrupt, InvalidData
from service.serving.reports import drift
from service.serving.reports.drift import measure
from service.spec.read_options import FileFormat, ReadOptions
from service.training.checkpoint import from_bytes
from tests.data.tables import ALLOWED, Stored, store
from tests.serving.reports.trained import trained

RNG = np.random.default_rng(0)
FEATURES = ["mass", "island", "when", "flag", "noise"]


def rows(number: int, *, shift: float = 0.0, islands: tuple[str, ...] = ("Dream", "Torgersen")) -> list[dict[str, Any]]:
    """Heavy birds and those of Dream are `yes`; `noise` and `when` mean nothing."""
    found = []
    for place in range(number):
        mass, island = RNG.normal(10 + shift, 2), str(RNG.choice(islands))
        found.append(
            {
                "mass": round(float(mass), 4),
                "island": island,
                "when": f"2024-05-{1 + place % 28:02}",
                "flag": bool(place % 2),
                "noise": round(float(RNG.standard_normal()), 4),
                "class": "yes" if mass + 2 * (island == "Dream") + 0.5 * RNG.standard_normal() > 11 else "no",
                "y": round(float(3 * mass + RNG.standard_normal()), 3),
            }
        )
    return found


def csv(some: list[dict[str, Any]]) -> str:
    lines = [
        ",".join(str(value).lower() if isinstance(value, bool) else str(value) for value in row.values())
        for row in some
    ]
    return "\n".join([",".join(some[0]), *lines]) + "\n"


class Version:
    """A version of one or two jobs, with its profile."""

    def __init__(self, folder: Path, stored: Stored, target: str, jobs: int = 1) -> None:
        members, profiled = [], []
        for place in range(jobs):
            work = folder / f"{target}{place}"
            work.mkdir()
            spec: dict[str, Any] = {
                "max_epochs": 15,
                "seed": place,
                "split": {"test": 0.2, "folds": 3, "fold": 1 + place},
            }
            resolved = stored.resolve(target, data={"features": FEATURES}, **spec)
            (job,) = trained(work, resolved, stored.parquet).members
            files = job.checkpoint.path, job.predictions.path
            members.append(Member(str(files[0]), sha256_of(files[0]), 1.0 + place))
            profiled.append(
                ProfiledMember(files[0], resolved.spec.model_dump(mode="json"), 1.0 + place, stored.parquet, files[1])
            )
        self.ref = ModelRef(tuple(members))
        profile = folder / f"{target}.json"
        write_profile(profiled, profile, ALLOWED)
        self.profile = StoredFile(profile, sha256_of(profile))
        self.preprocessing = from_bytes(Path(members[0].path).read_bytes()).preprocessing.model_dump_json()
        self.folder = folder

    def inputs(self, some: list[dict[str, Any]]) -> DriftInputs:
        source = self.folder / "rows.json"
        source.write_text(json.dumps(some))
        return DriftInputs(self.ref, self.profile, self.preprocessing, source, None)

    def drift(self, some: list[dict[str, Any]]) -> DriftReport:
        return measure(self.inputs(some))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Version:
    folder = tmp_path_factory.mktemp("classifier")
    return Version(folder, store(folder, csv(rows(1_500))), "class", jobs=2)


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Version:
    folder = tmp_path_factory.mktemp("regressor")
    return Version(folder, store(folder, csv(rows(600))), "y")


def by_name(report: DriftReport) -> dict[str, ColumnDrift]:
    return {each.column: each for each in [*report.columns, *report.predictions]}


def test_rows_like_those_of_the_training_have_not_drifted(classifier: Version) -> None:
    report = classifier.drift(rows(600))

    assert {each.drift for each in [*report.columns, *report.predictions]} == {"none"}
    assert [each.text for each in report.findings] == [
        "None of the 5 columns has drifted.",
        "The predictions have not drifted.",
    ]
    assert (report.rows, report.compared_rows, report.predicted_rows) == (600, 600, 600)
    assert report.training_rows == 1_200
    assert report.moved is not None
    assert report.moved.by == []
    assert report.missing == []


def test_a_drifted_column_is_found_with_what_it_did_to_the_predictions(classifier: Version) -> None:
    report = classifier.drift(rows(2_000, shift=2))

    found = by_name(report)
    assert report.columns[0].column == "mass"
    assert found["mass"].drift == "large"
    assert {name for name, each in found.items() if each.drift != "none"} == {
        "mass",
        "prediction",
        "probability of yes",
    }
    assert report.moved is not None
    assert report.moved.outputs == ["no", "yes"]
    (moved,) = report.moved.by
    went = np.subtract(report.moved.rows, report.moved.training)
    assert moved.column == "mass"
    assert went[1] > 0.2
    assert moved.change == pytest.approx(went.tolist(), abs=0.05)  # nothing else has changed
    assert sum(moved.change) == pytest.approx(0, abs=1e-9)
    assert report.findings[0].text.startswith("1 of 5 columns has drifted: mass (PSI ")
    assert "of which 0." in report.findings[1].text
    assert report.findings[1].text.endswith("by the column mass.")


def test_a_column_that_the_network_ignores_drifts_and_moves_nothing(regressor: Version) -> None:
    some = [{**row, "noise": row["noise"] + 3} for row in rows(1_000, shift=1)]

    report = regressor.drift(some)

    assert report.moved is not None
    assert [each.column for each in report.moved.by] == ["mass", "noise"]
    mass, noise = (each.change[0] for each in report.moved.by)
    assert mass == pytest.approx(3, abs=0.6)
    assert abs(noise) < 1.0
    assert report.moved.outputs == ["y"]


def test_unseen_texts_and_missing_values_are_counted(classifier: Version) -> None:
    some = [{**row, "island": None} if place % 4 else row for place, row in enumerate(rows(400, islands=("Ross",)))]

    report = classifier.drift(some)

    found = by_name(report)["island"]
    assert (found.unseen, found.unseen_texts) == (0.25, ["Ross"])
    assert (found.missing, found.training_missing) == (0.75, 0)
    assert "25% of the rows have a text in island that no training row has: 'Ross'." in [
        each.text for each in report.findings
    ]


def test_a_few_rows_drift_only_where_it_is_certain(classifier: Version) -> None:
    report = classifier.drift([{**row, "mass": 25.0} for row in rows(12)])

    found = by_name(report)
    assert found["mass"].drift == "large"
    assert found["noise"].drift == "none"
    assert found["noise"].psi > 0.1
    assert report.predicted_rows == 12
    assert report.moved is not None
    assert report.moved.by[0].column == "mass"
    assert any("more rows would tell" in each.text for each in report.findings)


def test_a_file_gives_the_answer_of_the_same_rows_in_json(classifier: Version, tmp_path: Path) -> None:
    some = rows(300, shift=1)
    source = tmp_path / "source"
    source.write_text(csv(some))
    staged = ingest_rows(source, tmp_path, ReadOptions(format=FileFormat.csv), classifier.preprocessing, ALLOWED)

    found = measure(replace(classifier.inputs(some), source=source, staged_rows=staged))

    assert staged == 300
    assert found == classifier.drift(some)


def test_of_a_large_file_every_so_many_rows_are_compared(
    classifier: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_text(csv(rows(300)))
    staged = ingest_rows(source, tmp_path, ReadOptions(format=FileFormat.csv), classifier.preprocessing, ALLOWED)
    monkeypatch.setattr(drift, "MAX_CELLS", 500)
    monkeypatch.setattr(drift, "MAX_PREDICTED", 20)

    found = measure(replace(classifier.inputs(rows(1)), source=source, staged_rows=staged))

    assert (found.rows, found.compared_rows, found.predicted_rows) == (300, 100, 20)


def test_the_answer_is_the_same_each_time(classifier: Version) -> None:
    asked = classifier.inputs(rows(200, shift=1, islands=("Dream",)))

    assert measure(asked) == measure(asked)


def test_a_version_without_kept_predictions_has_no_drift_of_them(classifier: Version, tmp_path: Path) -> None:
    document = json.loads(classifier.profile.path.read_text()) | {"predictions": [], "predicted_rows": 0, "means": []}
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(document))

    report = measure(replace(classifier.inputs(rows(50)), profile=StoredFile(profile, sha256_of(profile))))

    assert (report.predictions, report.moved, report.predicted_rows) == ([], None, 0)
    assert [each.section for each in report.missing] == ["predictions", "moved"]
    assert len(report.columns) == 5


@pytest.mark.parametrize("value", [1.7e308, np.nan])
def test_predictions_without_a_finite_mean_leave_out_what_moved_them(
    regressor: Version, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift._Average, "__call__", lambda self, columns: np.full((500, 1), value))

    report = regressor.drift(rows(500, shift=2))

    assert DriftReport.model_validate_json(report.model_dump_json()) == report
    assert report.moved is None
    assert [each.section for each in report.missing] == ["moved"]
    assert not any("went from" in each.text for each in report.findings)


def test_a_wrong_value_is_refused_with_its_place(classifier: Version) -> None:
    with pytest.raises(InvalidData) as error:
        classifier.drift([*rows(2), {**rows(1)[0], "mass": "heavy"}])

    assert [each.pointer for each in error.value.field_errors] == ["/rows/2/mass"]


@pytest.mark.parametrize("damaged", ["profile", "checkpoint"])
def test_damaged_files_are_errors(classifier: Version, damaged: str) -> None:
    asked = classifier.inputs(rows(2))
    (member, *others) = asked.model.members
    if damaged == "profile":
        asked = replace(asked, profile=StoredFile(asked.profile.path, "0" * 64))
    else:
        asked = replace(asked, model=ModelRef((member._replace(sha256="0" * 64), *others)))

    with pytest.raises(DatasetCorrupt if damaged == "profile" else CheckpointCorrupt):
        measure(asked)
