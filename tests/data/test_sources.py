"""Data sources: stored data sets, synthetic data, inline rows, rows to predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.data.preprocess.features import FittedFeature
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing
from service.data.preprocess.sources import load, table_from_rows
from service.errors import DatasetCorrupt, InvalidData
from service.spec.job import JobSpec
from service.spec.resolve import Resolved, profile_of, resolve
from service.spec.table import ColumnType, Value
from tests.data.tables import PENGUINS, store

MODEL = Preprocessing(
    features=[
        FittedFeature(column="length", indicator=True),
        FittedFeature(column="sex", categories=["None", "f", "m"], indicator=True),
    ],
    target=FittedTarget(column="species", classes=["a", "b"]),
)
TYPED = Preprocessing(
    features=[
        FittedFeature(column="tagged", type=ColumnType.boolean, indicator=True),
        FittedFeature(column="seen", type=ColumnType.datetime, origin=1.7e9, indicator=True),
        FittedFeature(column="at", type=ColumnType.datetime, origin=3_600.0, indicator=True),
    ],
    target=FittedTarget(column="species", classes=["a", "b"]),
)


def resolved(data: dict[str, Any]) -> Resolved:
    spec = JobSpec.model_validate({"data": data})
    return resolve(spec, profile_of(spec.data))  # type: ignore[arg-type]


def synthetic(**fields: Any) -> dict[str, np.ndarray]:
    data = {"kind": "synthetic", "rows": 2_000, "features": 5, "classes": 3, **fields}
    return load(resolved(data).preparation, None).columns


def test_a_stored_table_gives_the_rows_that_have_a_target_in_order(tmp_path: Path) -> None:
    lines = "1.5,u,true,p,1,2024-05-01\n,,,q,2,1969-12-31 12:00:00.5\n2,v,false,,3,2024-05-01\n4,u,,p,4,\n"
    stored = store(tmp_path, "n,t,b,y,other,d\n" + lines + "4,u,,,4,\n" * 5)

    table = load(stored.resolve("y", data={"features": ["t", "n", "b", "d"]}).preparation, stored.parquet)

    assert table.rows == 3
    assert {name: values.tolist() for name, values in table.columns.items() if name in "ty"} == {
        "t": ["u", None, "u"],
        "y": ["p", "q", "p"],
    }
    np.testing.assert_array_equal(table.columns["n"], [1.5, np.nan, 4.0])
    np.testing.assert_array_equal(table.columns["b"], [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(table.columns["d"], [1714521600.0, -43199.5, np.nan])
    assert sorted(table.columns) == ["b", "d", "n", "t", "y"]


def test_column_names_may_be_anything(tmp_path: Path) -> None:
    names = ['a "b"', "it's; --", "größe\n2", "y"]
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    stored = store(tmp_path, header + "\n" + "".join(f"{i},{i % 5},{i}.5,{i % 2}\n" for i in range(9)))

    table = load(stored.resolve("y").preparation, stored.parquet)

    assert list(table.columns) == names


def test_a_damaged_or_missing_table_is_a_corrupt_data_set(tmp_path: Path) -> None:
    stored = store(tmp_path, PENGUINS)
    job = stored.resolve("species")
    stored.parquet.write_bytes(stored.parquet.read_bytes()[:-100])

    with pytest.raises(DatasetCorrupt, match="ds_1 cannot be read"):
        load(job.preparation, stored.parquet)
    with pytest.raises(DatasetCorrupt):
        load(job.preparation, tmp_path / "gone.parquet")


def test_synthetic_rows_are_standard_normal_with_the_promised_classes() -> None:
    columns = synthetic()

    x = np.stack([columns[f"x{i}"] for i in range(5)])
    assert x.shape == (5, 2_000)
    assert np.abs(x.mean(axis=1)).max() < 0.1
    assert np.abs(x.std(axis=1) - 1).max() < 0.1
    assert np.bincount(columns["y"].astype(int)).tolist() == [667, 667, 666]
    assert all(column.flags.c_contiguous for column in columns.values())


def test_the_same_seed_makes_the_same_rows_and_another_seed_others() -> None:
    assert synthetic(seed=1)["x0"].tobytes() == synthetic(seed=1)["x0"].tobytes()
    assert synthetic(seed=1)["y"].tobytes() != synthetic(seed=2)["y"].tobytes()


@pytest.mark.parametrize("signal", [0.0, 4.0])
def test_the_signal_is_the_typical_distance_of_class_centres(signal: float) -> None:
    columns = synthetic(classes=20, features=50, rows=20_000, signal=signal)

    x = np.stack([columns[f"x{i}"] for i in range(50)], axis=1)
    centres = np.stack([x[columns["y"] == c].mean(axis=0) for c in range(20)])
    squared = ((centres[:, None] - centres[None]) ** 2).sum(-1).sum() / (20 * 19)
    noise = 2 * 50 / 1_000
    assert squared - noise == pytest.approx(signal**2, rel=0.1, abs=0.02)


def test_rows_of_a_request_keep_their_gaps_and_lose_those_without_a_target() -> None:
    data = {"kind": "inline", "x": [[1, 5.0], [None, 6], [3, 7], [4, 9]], "y": ["b", "a", None, "b"]}

    table = load(resolved(data).preparation, None)

    np.testing.assert_array_equal(table.columns["x0"], [1.0, np.nan, 4.0])
    np.testing.assert_array_equal(table.columns["x1"], [5.0, 6.0, 9.0])
    assert table.columns["y"].tolist() == ["b", "a", "b"]


def test_rows_to_predict_may_lack_values_and_hold_the_whole_table() -> None:
    rows: list[dict[str, Value | None]] = [
        {"length": 1, "sex": "m", "species": "a", "comment": "no feature"},
        {"length": "NA", "sex": None},
        {"length": True, "sex": "None"},
        {"sex": "NaN", "species": "b"},
        {"length": float("inf"), "sex": "unseen"},
        {},
    ]

    table = table_from_rows(rows, MODEL)

    np.testing.assert_array_equal(table.columns["length"], [1.0, np.nan, 1.0, np.nan, np.nan, np.nan])
    assert table.columns["sex"].tolist() == ["m", None, "None", None, "unseen", None]


@pytest.mark.parametrize(
    ("row", "pointer", "reason"),
    [
        ({"length": "long", "sex": "m"}, "/rows/1/length", "a number is needed, not the text 'long'"),
        ({"length": 1, "sex": 3}, "/rows/1/sex", "a text is needed, not 3"),
        ({"lenght": 1, "sex": "m"}, "/rows/1/lenght", "no such feature; did you mean 'length'"),
        ({"a/b~c": 1}, "/rows/1/a~1b~0c", "no such feature; the row has no value for 'length', 'sex'"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_naming_the_place(row: dict[str, Any], pointer: str, reason: str) -> None:
    with pytest.raises(InvalidData, match=reason) as refused:
        table_from_rows([{"length": 1.0, "sex": "f"}, row], MODEL)

    [fault] = refused.value.field_errors
    assert fault.pointer == pointer


@pytest.mark.parametrize(
    ("row", "pointer", "reason"),
    [
        ({"tagged": 2}, "/rows/1/tagged", "true or false is needed, not '2'"),
        ({"tagged": "true"}, "/rows/1/tagged", "true or false is needed, not 'true'"),
        ({"seen": 1.7e9}, "/rows/1/seen", "a date such as 2024-05-01T10:30:00Z is needed, not '1700000000.0'"),
        ({"seen": "yesterday"}, "/rows/1/seen", "a date such as 2024-05-01T10:30:00Z is needed, not 'yesterday'"),
        ({"seen": "10:30"}, "/rows/1/seen", "a date such as 2024-05-01T10:30:00Z is needed, not '10:30'"),
        ({"seen": "2024-02-30"}, "/rows/1/seen", "a date such as"),
        ({"at": "25:00"}, "/rows/1/at", "a date such as 10:30:00 is needed, not '25:00'"),
    ],
)
def test_a_date_or_boolean_that_is_none_is_refused_naming_the_place(
    row: dict[str, Any], pointer: str, reason: str
) -> None:
    with pytest.raises(InvalidData, match=reason) as refused:
        table_from_rows([{}, row], TYPED)

    assert [fault.pointer for fault in refused.value.field_errors] == [pointer]


def test_dates_to_predict_are_iso_texts_in_utc_where_no_zone_is_named() -> None:
    texts = ["2024-05-01", "2024-05-01T00:00:00Z", "2024-05-01 02:00:00+02:00", "20240501T000000.000", "NA", None]

    table = table_from_rows([{"seen": text, "at": "01:30"} for text in texts], TYPED)

    np.testing.assert_array_equal(table.columns["seen"], [1714521600.0] * 4 + [np.nan] * 2)
    assert table.columns["at"].tolist() == [5_400.0] * 6


def test_true_and_false_are_1_and_0() -> None:
    table = table_from_rows([{"tagged": value} for value in (True, False, 1, 0.0, None)], TYPED)

    np.testing.assert_array_equal(table.columns["tagged"], [1.0, 0.0, 1.0, 0.0, np.nan])


def test_rows_in_another_order_of_columns_are_the_same_rows() -> None:
    row: dict[str, Value | None] = {"tagged": True, "seen": "2024-05-01", "at": "10:00"}

    first, turned = (table_from_rows([dict(items)], TYPED) for items in (row.items(), reversed(row.items())))

    assert TYPED.inputs(first).tobytes() == TYPED.inputs(turned).tobytes()


def test_many_faults_are_reported_together_up_to_twenty() -> None:
    with pytest.raises(InvalidData) as refused:
        table_from_rows([{"length": "x", "sex": 1}] * 50, MODEL)

    assert len(refused.value.field_errors) == 20


def test_a_similar_name_is_suggested_for_the_first_misspelled_feature_only() -> None:
    with pytest.raises(InvalidData) as refused:
        table_from_rows([{"lenght": 1.0, "sexx": "f"}, {"lenght": 1.0, "sex": "m"}], MODEL)

    assert [fault.message for fault in refused.value.field_errors] == [
        "no such feature; did you mean 'length'?",
        "no such feature; the row has no value for 'length', 'sex'",
        "no such feature; the row has no value for 'length'",
    ]
