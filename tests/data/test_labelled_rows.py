"""Rows to evaluate: labels are read beside the features, and wrong ones are refused with line and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.ingest.labelled_rows import read_labelled_rows
from service.data.preprocess.features import FittedFeature
from service.data.preprocess.labels import labelled, true_values, with_label
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing
from service.data.preprocess.sources import table_from_rows, table_from_staged
from service.errors import InvalidData
from service.spec.read_options import ReadOptions
from tests.data.files import parquet
from tests.data.tables import LIMITS
from tests.examples import sampled

CLASSES: list[list[Any]] = [["a", "it's"], [False, True], [1, 2, 30], [0.5, 2.0]]


def fitted(classes: list[Any] | None) -> Preprocessing:
    return Preprocessing(
        features=[FittedFeature(column="x", indicator=True)], target=FittedTarget(column="y", classes=classes)
    )


def read(folder: Path, content: str | bytes, classes: list[Any] | None) -> list[Any]:
    """The labels of the rows: class, or number; None for a row without."""
    preprocessing, source = fitted(classes), folder / "source"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    rows = read_labelled_rows(source, folder, ReadOptions(), preprocessing, LIMITS)
    table = table_from_staged(folder, with_label(preprocessing), range(rows))
    known, values = labelled(preprocessing, table), true_values(preprocessing.target, table.columns["y"])
    labels = values.tolist() if classes is None else [classes[place] for place in values.tolist()]
    return [label if there else None for label, there in zip(labels, known.tolist(), strict=True)]


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@sampled(6, 20)
@given(data=st.data())
@pytest.mark.parametrize("classes", [*CLASSES, None], ids=repr)
def test_labels_are_read_as_the_target_of_training_was(
    tmp_path_factory: pytest.TempPathFactory, classes: list[Any] | None, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    value = st.floats(-1e9, 1e9) if classes is None else st.sampled_from(classes)
    labels = data.draw(st.lists(st.one_of(st.none(), value), min_size=1, max_size=8))
    content = "other,y,x\n" + "".join(f"z,{'' if each is None else text(each)},1\n" for each in labels)

    assert read(folder, content, classes) == labels


@pytest.mark.parametrize("classes", CLASSES, ids=repr)
def test_labels_of_parquet_files_are_read_too(tmp_path: Path, classes: list[Any]) -> None:
    quoted = [repr(each) if not isinstance(each, str) else "'" + each.replace("'", "''") + "'" for each in classes]
    rows = ", ".join(f"(1.0, {each})" for each in [*quoted, "NULL"])

    labels = read(tmp_path, parquet(f"SELECT * FROM (VALUES {rows}) AS t(x, y)"), classes)

    assert labels == [*classes, None]


@pytest.mark.parametrize(
    ("content", "classes", "message"),
    [
        (
            "x,y\n1,a\n2,\n3,b\n",
            ["a", "it's"],
            "line 4, column 'y': 'b' is none of the classes, which are 'a', \"it's\"",
        ),
        ("x,y\n1,1\n2,7\n", [1, 2], "line 3, column 'y': '7' is none of the classes, which are '1', '2'"),
        ("x,y\n1,2.5\n", [1, 2], "line 2, column 'y': '2.5' is none of the classes"),
        ("x,y\n1,maybe\n", [False, True], "line 2, column 'y': true or false is needed, not 'maybe'"),
        ("x,y\n1,2\n1,two\n", None, "line 3, column 'y': a number is needed, not 'two'"),
        ("x\n1\n", None, "the file has no column 'y', the target, whose true values are compared with predictions"),
        ("y\n1\n", None, "the file has no column 'x', which is a feature of the network"),
        ("z\n1\n", None, "the file has no columns 'x', 'y', which the network needs"),
    ],
)
def test_wrong_labels_are_refused_with_line_and_column(
    tmp_path: Path, content: str, classes: list[Any] | None, message: str
) -> None:
    with pytest.raises(InvalidData) as raised:
        read(tmp_path, content, classes)

    assert message in str(raised.value)


def test_rows_as_json_have_the_same_labels(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"x": 1.0, "y": "it's"}, {"x": 2.0, "y": None}, {"x": 3.0}]
    preprocessing = fitted(CLASSES[0])

    table = table_from_rows(rows, with_label(preprocessing))

    assert labelled(preprocessing, table).tolist() == [True, False, False]
    assert true_values(preprocessing.target, table.columns["y"])[:1].tolist() == [1]
    assert np.isfinite(table.columns["x"]).all()
