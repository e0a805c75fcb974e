"""The profile of a version, made in a child process from real jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.data.formats import prediction_table
from service.data.preprocess.dataset import prepare
from service.domain.drift import ProfiledMember
from service.drift.bins import number_profile, text_profile
from service.drift.process import write_profile
from service.drift.profile import NumberProfile, Profile
from service.errors import DatasetCorrupt
from service.spec.resolve import Resolved
from service.spec.table import ColumnType
from tests.data.tables import ALLOWED, PENGUINS, Stored, store
from tests.serving.reports.trained import trained
from tests.specs import synthetic


def member(folder: Path, resolved: Resolved, parquet: Path | None, weight: float = 1.0) -> ProfiledMember:
    folder.mkdir()
    (job,) = trained(folder, resolved, parquet).members
    files = {"checkpoint": job.checkpoint.path, "predictions": job.predictions.path}
    return ProfiledMember(spec=resolved.spec.model_dump(mode="json"), weight=weight, table=parquet, **files)


def profile(folder: Path, members: list[ProfiledMember]) -> Profile:
    target = folder / f"profile of {len(members)}.json"
    write_profile(members, target, ALLOWED)
    return Profile.model_validate_json(target.read_bytes())


def penguins(folder: Path) -> Stored:
    return store(folder, PENGUINS)


def test_the_profile_is_that_of_the_rows_that_the_job_was_trained_on(tmp_path: Path) -> None:
    stored = penguins(tmp_path)
    resolved = stored.resolve("species", max_epochs=2, split={"test": 0.2}, seed=3)

    found = profile(tmp_path, [member(tmp_path / "one", resolved, stored.parquet)])

    prepared = prepare(resolved.preparation, stored.parquet)
    assert prepared.train.row is not None
    rows = np.array(stored.values(), dtype=object)[prepared.train.row]
    places = {column.name: place for place, column in enumerate(stored.columns)}
    assert found.rows == len(prepared.train.y)
    assert [each.column for each in found.columns] == [feature.column for feature in resolved.features]
    by_name = {each.column: each for each in found.columns}
    mass = rows[:, places["body_mass_g"]].astype(np.float64)
    assert by_name["body_mass_g"] == number_profile("body_mass_g", ColumnType.integer, mass)
    assert by_name["island"] == text_profile("island", rows[:, places["island"]])
    assert found.no_columns is None


def test_the_predictions_are_those_for_held_out_rows(tmp_path: Path) -> None:
    stored = penguins(tmp_path)
    one = member(tmp_path / "one", stored.resolve("species", max_epochs=2, split={"test": 0.2}), stored.parquet)

    found = profile(tmp_path, [one])

    assert one.predictions is not None
    kept = prediction_table.read(one.predictions)
    assert kept.probabilities is not None
    assert found.predicted_rows == len(kept.row)
    assert found.means == pytest.approx(kept.probabilities.astype(np.float64).mean(axis=0).tolist(), abs=1e-12)
    classes, *shares = found.predictions
    assert (classes.column, sum(classes.counts)) == ("prediction", len(kept.row))
    assert [each.column for each in shares] == [f"probability of {name}" for name in ("Adelie", "Chinstrap", "Gentoo")]


def test_the_folds_of_a_table_are_one_set_of_rows_each_counted_once(tmp_path: Path) -> None:
    stored = penguins(tmp_path)
    split: dict[str, Any] = {"folds": 3, "test": 0.2}
    jobs = [stored.resolve("body_mass_g", max_epochs=1, split={**split, "fold": fold}) for fold in (1, 2, 3)]
    members = [member(tmp_path / f"{place}", each, stored.parquet) for place, each in enumerate(jobs)]

    found = profile(tmp_path, members)

    prepared = prepare(jobs[0].preparation, stored.parquet)
    tested = len(prepared.test.y)
    assert found.rows == len(prepared.train.y) + len(prepared.validation.y)
    assert found.predicted_rows == tested  # a fold is predicted by one member, new rows by all
    assert [each.column for each in found.predictions] == ["prediction"]
    assert isinstance(found.predictions[0], NumberProfile)


def test_members_over_different_columns_and_data_inside_the_spec(tmp_path: Path) -> None:
    stored = penguins(tmp_path)
    wide = stored.resolve("species", max_epochs=1, data={"features": ["island", "bill_length_mm"]})
    narrow = stored.resolve("species", max_epochs=1, data={"features": ["flipper_length_mm"]})
    both = [member(tmp_path / name, each, stored.parquet) for name, each in (("a", wide), ("b", narrow))]
    inside = member(tmp_path / "c", synthetic(max_epochs=1), None)

    found = profile(tmp_path, both)

    assert [each.column for each in found.columns] == ["island", "bill_length_mm", "flipper_length_mm"]
    assert found.rows == wide.rows.train == narrow.rows.train  # the same rows, once
    assert [each.column for each in profile(tmp_path, [inside]).columns][:2] == ["x0", "x1"]


def test_without_kept_predictions_the_profile_has_none(tmp_path: Path) -> None:
    one = member(tmp_path / "one", synthetic(max_epochs=1), None)

    found = profile(tmp_path, [ProfiledMember(one.checkpoint, one.spec, 1.0, None, None)])

    assert (found.predicted_rows, found.predictions, found.means) == (0, [], [])
    assert found.columns


def test_members_without_common_held_out_rows_have_no_predictions_and_say_why(tmp_path: Path) -> None:
    stored = penguins(tmp_path)
    jobs = [stored.resolve("body_mass_g", max_epochs=1, split={"folds": 3, "fold": fold}) for fold in (1, 2, 3)]

    found = profile(tmp_path, [member(tmp_path / f"{n}", job, stored.parquet) for n, job in enumerate(jobs)])

    assert (found.predicted_rows, found.predictions, found.means) == (0, [], [])
    assert (found.no_predictions or "").startswith("there are no rows that all members predicted")


def test_a_spec_of_a_newer_version_leaves_the_columns_out(tmp_path: Path) -> None:
    one = member(tmp_path / "one", synthetic(max_epochs=1), None)

    found = profile(tmp_path, [ProfiledMember(one.checkpoint, {"new": 1}, 1.0, None, one.predictions)])

    assert found.columns == []
    assert found.no_columns == "a newer version of the service trained a member"
    assert found.predictions


@pytest.mark.parametrize("damaged", ["checkpoint", "table"])
def test_damaged_files_are_an_error_of_the_service(tmp_path: Path, damaged: str) -> None:
    stored = penguins(tmp_path)
    one = member(tmp_path / "one", stored.resolve("species", max_epochs=1), stored.parquet)
    (one.checkpoint if damaged == "checkpoint" else stored.parquet).write_bytes(b"damaged")

    with pytest.raises(DatasetCorrupt, match="the training rows cannot be profiled"):
        profile(tmp_path, [one])
