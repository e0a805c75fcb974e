"""Validation of a request with many wrong values creates few errors, the first ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.api.routes.predictions import PredictRequest
from service.api.routes.replay import ReplayRequest
from service.spec.data import InlineData
from service.spec.fork import ForkSpec
from service.spec.job import JobChange, JobSpec
from service.spec.sweep import SweepSpec

MANY = 5_000
EMPTY: list[Any] = []
DEEP: Any = 0
for _ in range(12):
    DEEP = [DEEP]
NAMES = [f"a{number}" for number in range(MANY)]
SYNTHETIC: dict[str, Any] = {"kind": "synthetic"}
REQUESTS: list[type[BaseModel]] = [JobSpec, SweepSpec, ForkSpec, JobChange, PredictRequest, ReplayRequest]

WRONG: dict[str, tuple[type[BaseModel], Any]] = {
    "rows": (PredictRequest, {"rows": [{"a": []}] * MANY}),
    "cells of a row": (PredictRequest, {"rows": [dict.fromkeys(NAMES, EMPTY)]}),
    "names of a row": (PredictRequest, {"rows": [{f"\0{name}": 1 for name in NAMES}]}),
    "cells of many rows": (PredictRequest, {"rows": [dict.fromkeys(NAMES[:100], EMPTY)] * 100}),
    "inline rows": (JobSpec, {"data": {"kind": "inline", "x": [[]] * MANY, "y": [1] * MANY}}),
    "inline cells": (JobSpec, {"data": {"kind": "inline", "x": [["a"] * MANY] * 3, "y": [1] * 3}}),
    "inline targets": (JobSpec, {"data": {"kind": "inline", "x": [[1]] * MANY, "y": [[]] * MANY}}),
    "features": (JobSpec, {"data": {"id": "ds_1", "target": "y", "features": [1] * MANY}}),
    "labels": (JobSpec, {"data": SYNTHETIC, "labels": dict.fromkeys(NAMES, 1)}),
    "unknown fields": (JobSpec, {"data": SYNTHETIC, **dict.fromkeys(NAMES, 1)}),
    "layers": (JobSpec, {"data": SYNTHETIC, "architecture": {"kind": "layers", "layers": [{}] * MANY}}),
    "unknown fields of layers": (
        JobSpec,
        {
            "data": SYNTHETIC,
            "architecture": {"kind": "layers", "layers": [{"kind": "flatten", **dict.fromkeys(NAMES)}]},
        },
    ),
    "shape": (JobSpec, {"data": SYNTHETIC, "architecture": {"kind": "cnn", "shape": ["a"] * MANY}}),
    "points": (SweepSpec, {"base": {"data": SYNTHETIC}, "points": [1] * MANY}),
    "values of points": (SweepSpec, {"base": {"data": SYNTHETIC}, "points": [{"seed": DEEP}] * MANY}),
    "names of a point": (SweepSpec, {"base": {"data": SYNTHETIC}, "points": [dict.fromkeys(NAMES, 1)]}),
    "axes": (SweepSpec, {"base": {"data": SYNTHETIC}, "grid": dict.fromkeys(NAMES, 1)}),
    "values of an axis": (SweepSpec, {"base": {"data": SYNTHETIC}, "grid": {"seed": [DEEP] * MANY}}),
    "changes": (ForkSpec, {"changes": dict.fromkeys(NAMES, DEEP)}),
    "rules": (ReplayRequest, {"rules": [{"rule": "up", "s": "a", "k": "a"}] * 100}),
}


@pytest.mark.parametrize("case", WRONG)
def test_thousands_of_wrong_values_make_few_errors(case: str) -> None:
    model, body = WRONG[case]

    with pytest.raises(ValidationError) as raised:
        model.model_validate(body)

    assert raised.value.error_count() < 500


@pytest.mark.parametrize("model", REQUESTS, ids=lambda model: model.__name__)
def test_every_list_and_object_of_a_request_caps_its_errors(model: type[BaseModel]) -> None:
    schema = TypeAdapter(model).core_schema

    for found, capped in collections(schema, capped=False):
        short = found["type"] == "list" and found.get("max_length", 10**9) <= 200
        fixed = found["type"] == "tuple" and "variadic_item_index" not in found
        assert capped or short or fixed or found.get("fail_fast"), found


def collections(schema: Any, *, capped: bool) -> Iterator[tuple[Any, bool]]:
    """Each list, tuple and dict of a core schema, and whether `CapErrors` is around it."""
    if isinstance(schema, dict):
        if schema.get("type") in ("list", "tuple", "dict", "set", "generator"):
            yield schema, capped
        around = schema.get("type") == "function-wrap" and "capped" in schema["function"]["function"].__module__
        for name, part in schema.items():
            if name not in ("metadata", "serialization"):
                yield from collections(part, capped=around and name == "schema")
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from collections(part, capped=False)


def test_the_first_wrong_items_are_named_by_their_places() -> None:
    x: list[list[Any]] = [[1.0] for _ in range(100)]
    for index in range(3, 100, 4):
        x[index] = ["a", "b"]

    with pytest.raises(ValidationError) as raised:
        InlineData.model_validate({"x": x, "y": [0] * 100})

    assert [error["loc"] for error in raised.value.errors()] == [("x", index, 0) for index in range(3, 83, 4)]


def test_a_short_remainder_behind_a_wrong_item_is_not_a_short_list() -> None:
    with pytest.raises(ValidationError) as raised:
        InlineData.model_validate({"x": [[1], [2], [3], ["a"], [5]], "y": [0, 1, 0, 1, 0]})

    assert [error["loc"] for error in raised.value.errors()] == [("x", 3, 0)]


def test_a_wide_row_round_trips() -> None:
    row = {name: [1, 0.5, True, "text", None][index % 5] for index, name in enumerate(NAMES)}

    (found,) = PredictRequest.model_validate({"rows": [row]}).rows

    assert list(found.items()) == list(row.items())
    assert [type(value) for value in found.values()] == [type(value) for value in row.values()]


def test_the_documentation_still_has_every_bound() -> None:
    data = InlineData.model_json_schema()["properties"]
    rows = PredictRequest.model_json_schema()["properties"]["rows"]
    sweep = SweepSpec.model_json_schema()["properties"]

    assert (data["x"]["minItems"], data["x"]["maxItems"], data["x"]["items"]["minItems"]) == (3, 20_000, 1)
    assert (rows["minItems"], rows["maxItems"], rows["items"]["type"]) == (1, 10_000, "object")
    assert sweep["grid"]["anyOf"][0]["maxProperties"] == 50
