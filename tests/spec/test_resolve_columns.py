"""Resolving a spec against columns: task, classes, inputs, and each error with its pointer."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import InvalidSpec
from service.spec.job import JobSpec, Task
from service.spec.resolve import Feature, RowCounts, Target, profile_of, resolve
from service.spec.table import Column, ColumnType, TableProfile, ValueCount
from tests.spec.tables import TABLE, column, inline, refused, resolved, spec, table

X10 = [[float(i)] for i in range(10)]


def test_a_target_that_is_no_column_is_refused_with_the_columns_there_are() -> None:
    assert refused(target="kind") == ("/data/target", "no column 'kind'; there are: 'length', 'island', 'species'")
    assert refused(target="specie_s") == ("/data/target", "no column 'specie_s'; did you mean 'species'?")


def test_of_many_columns_only_the_first_are_listed() -> None:
    _, message = refused(table(*(column(f"c{i}") for i in range(25))), "y")

    assert message.endswith("'c19' and 5 more")


@pytest.mark.parametrize(
    ("kind", "distinct", "why"), [("text", 0, "no values"), ("text", 1, "a single value"), ("datetime", 9, "dates")]
)
def test_an_unusable_target_is_refused(kind: str, distinct: int, why: str) -> None:
    pointer, message = refused(table(column("x"), column("y", kind, distinct=distinct)), "y")

    assert pointer == "/data/target"
    assert why in message


def test_the_width_of_a_feature_by_its_type_and_missing_values() -> None:
    columns = [
        column("a"),
        column("b", missing=3),
        column("c", "text", distinct=4),
        column("d", "text", distinct=2, missing=1),
        column("e", "boolean"),
        column("f", "datetime", missing=1),
    ]
    result = resolved(table(*columns, column("y", "boolean")), "y")

    assert result.features == (
        Feature("a", ColumnType.number),
        Feature("b", ColumnType.number, indicator=True),
        Feature("c", ColumnType.text, ("v000", "v001", "v002", "v003")),
        Feature("d", ColumnType.text, ("v000", "v001"), indicator=True),
        Feature("e", ColumnType.boolean),
        Feature("f", ColumnType.datetime, indicator=True),
    )
    assert [feature.width for feature in result.features] == [1, 2, 4, 3, 1, 8]
    assert result.inputs == result.layers[0].inputs == 19


def test_bins_are_as_many_as_asked_for_or_one_less_than_the_distinct_values() -> None:
    columns = [
        column("many"),
        column("five", "integer", distinct=5, missing=1),
        column("two", "integer", distinct=2),
        column("when", "datetime"),
        column("flag", "boolean"),
        column("text", "text", distinct=3),
    ]
    preprocess = {"numeric": "piecewise_linear", "bins": 8}
    result = resolved(table(*columns, column("y", "boolean")), "y", preprocess=preprocess)

    assert [feature.bins for feature in result.features] == [8, 4, 0, 8, 0, 0]
    assert [feature.width for feature in result.features] == [9, 6, 1, 15, 1, 3]
    assert result.inputs == 35
    # The scaled values of numbers and dates, each the first input of its column.
    assert result.graph.layout.scaled == (0, 9, 15, 16)


@pytest.mark.parametrize("numeric", ["standardize", "robust", "quantile", "none"])
def test_the_positions_of_scaled_numbers_are_known_for_every_method(numeric: str) -> None:
    columns = [column("text", "text", distinct=3), column("a", missing=1), column("flag", "boolean"), column("b")]
    result = resolved(table(*columns, column("y", "boolean")), "y", preprocess={"numeric": numeric})

    assert result.graph.layout.scaled == (3, 6)


@pytest.mark.parametrize(
    ("target", "kind", "inputs"),
    [("number", "target", 1), ("two", "target", 1), ("three", "target", 3), ("three", "frequency", 1)],
)
def test_a_wide_text_column_has_an_input_or_one_a_class(target: str, kind: str, inputs: int) -> None:
    targets = {
        "number": column("y"),
        "two": column("y", "text", distinct=2),
        "three": column("y", "text", distinct=3),
    }
    columns = [
        column("wide", "text", distinct=60, missing=1),
        column("narrow", "text", distinct=3),
        column("id", "text", distinct=100),
        column("rare", "text", distinct=45),
    ]
    profile = table(*columns, targets[target])
    result = resolved(profile, "y", preprocess={"high_cardinality": kind})

    assert [(f.column, f.value_inputs) for f in result.features] == [("wide", inputs), ("narrow", 0), ("rare", inputs)]
    assert result.features[0] == Feature("wide", ColumnType.text, (), indicator=True, value_inputs=inputs)
    assert result.inputs == 3 + 2 * inputs + 1
    assert [warning.code for warning in result.warnings] == ["column_left_out"]
    assert result.graph.layout.scaled == ()


def test_predictions_are_clipped_in_regression_only() -> None:
    assert resolved(target="length", preprocess={"clip_target": True}).spec.preprocess.clip_target
    pointer, message = refused(preprocess={"clip_target": True})

    assert pointer == "/preprocess/clip_target"
    assert message == (
        "predictions can be clipped in regression only; the task is classification: the target 'species' holds text"
    )


def test_rows_with_a_shape_have_one_input_a_column() -> None:
    pointer, message = refused(
        preprocess={"numeric": "piecewise_linear"}, architecture={"kind": "cnn", "shape": [1, 4], "channels": [2]}
    )

    assert pointer == "/preprocess/numeric"
    assert "several inputs" in message


@pytest.mark.parametrize(
    ("useless", "why"),
    [
        (column("z", distinct=0, missing=100), "it has no values"),
        (column("z", distinct=1), "it is constant"),
        (column("z", "text", distinct=51), "too many rare values: none of its 51 distinct values has 5 rows"),
        (column("z", "text", distinct=1_001), "its texts are too long, or too many"),
    ],
)
def test_a_useless_column_is_left_out_with_a_warning(useless: Any, why: str) -> None:
    result = resolved(table(column("x"), useless, column("y", "boolean")), "y")

    assert [feature.column for feature in result.features] == ["x"]
    (warning,) = result.warnings
    assert (warning.code, warning.pointer) == ("column_left_out", "/data/features")
    assert f"'z' is left out: {why}" in warning.message


def test_a_constant_column_with_gaps_and_a_text_of_twenty_values_are_of_use() -> None:
    columns = [column("gaps", distinct=1, missing=5), column("text", "text", distinct=20)]

    assert resolved(table(*columns, column("y", "boolean")), "y").warnings == ()


def test_named_features_are_taken_in_their_order_and_without_question() -> None:
    wide = table(column("a"), column("b"), column("t", "text", distinct=1), column("y", "boolean"))
    result = resolve(spec("y", ["t", "a"]), wide)

    assert [feature.column for feature in result.features] == ["t", "a"]
    assert result.inputs == 2
    assert result.warnings == ()


def test_every_named_feature_that_cannot_be_used_is_pointed_at() -> None:
    columns = [column("void", distinct=0), column("id", "text"), column("essay", "text", distinct=1_001)]

    with pytest.raises(InvalidSpec) as error:
        resolve(spec("y", ["x", "void", "id", "essay", "nope"]), table(column("x"), *columns, column("y", "boolean")))

    assert [fault.pointer for fault in error.value.field_errors] == [f"/data/features/{i}" for i in (1, 2, 3, 4)]


def test_a_table_without_a_usable_column_is_refused() -> None:
    assert refused(table(column("id", "text"), column("y", "boolean")), "y")[0] == "/data/features"


def test_a_resolved_spec_leaves_nothing_open_and_resolves_to_itself() -> None:
    result = resolved()
    data = result.spec.data.model_dump()

    assert data["features"] == ["length", "island"]
    assert result.spec.task is Task.classification
    assert result.spec.split.stratify is True
    assert resolve(JobSpec.model_validate(result.spec.model_dump(mode="json")), TABLE) == result


def test_inline_rows_resolve_to_the_columns_x0_and_so_on() -> None:
    job = inline(X10, [0, 1] * 5)
    result = resolve(job, profile_of(job.data))

    assert result.features == (Feature("x0", ColumnType.integer),)
    assert result.target == Target("y", (0, 1))
    assert result.rows == RowCounts(8, 2, 0, 0)


def test_inline_targets_that_are_whole_numbers_are_integer_classes() -> None:
    job = inline(X10, [1.0, 2.0] * 5)
    classes = resolve(job, profile_of(job.data)).target.classes

    assert classes == (1, 2)
    assert {type(value) for value in classes or ()} == {int}


def test_inline_targets_with_fractions_are_learnt_as_numbers() -> None:
    job = inline(X10, [0.5, 1.0] * 5)

    assert resolve(job, profile_of(job.data)).spec.task is Task.regression


def test_the_default_synthetic_job_is_the_reference_script() -> None:
    job = JobSpec.model_validate({"data": {"kind": "synthetic"}})
    result = resolve(job, profile_of(job.data))

    assert (result.inputs, result.target.classes, result.rows.train, result.rows.validation) == (20, (0, 1), 800, 200)
    assert result.parameters == 20 * 64 + 64 + 128 + 64 * 32 + 32 + 64 + 32 * 2 + 2
    assert result.warnings == ()


def texts(*counts: int, name: str = "city", missing: int = 0) -> Column:
    """A text column whose values v000, v001, ... stand in so many rows each."""
    values = [ValueCount(value=f"v{i:03}", count=count) for i, count in enumerate(counts)]
    return Column(name=name, type=ColumnType.text, missing=missing, distinct=len(counts), values=values)


def with_texts(*counts: int, missing: int = 0, **preprocess: Any) -> Feature:
    rows = sum(counts) + missing
    profile = TableProfile(rows=rows, columns=[texts(*counts, missing=missing), column("y", "boolean")])
    (feature,) = resolved(profile, "y", preprocess=preprocess).features
    return feature


@pytest.mark.parametrize(
    ("counts", "categories", "other"),
    [
        ([50, 30, 5], 3, False),
        ([50, 30, 4], 2, False),
        ([50, 30, 4, 1], 2, True),
        ([50, *[1] * 500], 1, True),
    ],
)
def test_rare_text_values_share_an_input_if_they_occur_often_enough(
    counts: list[int], categories: int, other: bool
) -> None:
    feature = with_texts(*counts, missing=7)

    assert (len(feature.categories or ()), feature.other, feature.indicator) == (categories, other, True)
    assert feature.width == categories + other + 1


def test_only_the_most_frequent_texts_have_an_input_of_their_own() -> None:
    assert with_texts(10, 30, 20, max_categories=2).categories == ("v001", "v002")
    assert len(with_texts(*range(5, 105)).categories or ()) == 50


def test_of_texts_too_many_to_list_the_most_frequent_decide() -> None:
    top = [ValueCount(value="a", count=60), ValueCount(value="b", count=40)]
    city = Column(name="city", type=ColumnType.text, missing=0, distinct=5_000, top=top)
    profile = TableProfile(rows=6_000, columns=[city, column("y", "boolean")])

    result = resolved(profile, "y")

    assert result.features == (Feature("city", ColumnType.text, ("a", "b"), other=True),)
    (warning,) = result.warnings
    assert (warning.code, warning.pointer) == ("rare_categories", "/data/features")
    assert warning.message == (
        "column 'city' has 5,000 distinct values: top 2 one-hot encoded, rest (4,998) grouped as (other)"
    )


@pytest.mark.parametrize(
    "split", [{"column": "part"}, {"group": "island"}, {"order_by": "when"}], ids=["column", "group", "order_by"]
)
def test_a_split_column_is_no_feature_unless_named(split: dict[str, str]) -> None:
    part = Column(
        name="part",
        type=ColumnType.text,
        missing=0,
        distinct=2,
        values=[ValueCount(value="train", count=80), ValueCount(value="validation", count=20)],
    )
    profile = table(column("x"), part, column("island", "text", distinct=9), column("when", "datetime"), column("y"))
    (name,) = split.values()
    others = {"x", "part", "island", "when"} - {name}

    assert {feature.column for feature in resolved(profile, "y", split=split).features} == others
    named = resolve(spec("y", ["x", name], split=split), profile)
    assert [feature.column for feature in named.features] == ["x", name]
