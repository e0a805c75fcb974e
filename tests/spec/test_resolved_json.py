"""A resolved job survives the round trip through JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from service.spec.job import JobSpec
from service.spec.resolve import Resolved, Target, profile_of, resolve
from service.spec.resolved_json import InputsDocuments, decided, restored
from tests.spec import tables
from tests.specs import synthetic

LAYERS = [
    {"kind": "conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1},
    {"kind": "batch_norm"},
    {"kind": "activation", "function": "gelu"},
    {"kind": "max_pool", "kernel_size": 2},
    {"kind": "avg_pool", "kernel_size": 2, "stride": 1},
    {"kind": "flatten"},
    {"kind": "linear", "out_features": 8},
    {"kind": "layer_norm"},
    {"kind": "dropout", "p": 0.2},
]
IMAGES = {"kind": "synthetic", "rows": 60, "features": 64}
INLINE = {"kind": "inline", "x": [[1.0, 5.0, None, float(n)] for n in range(9)], "y": [f"é{n % 3}" for n in range(9)]}


def of_inline(**fields: Any) -> Resolved:
    spec = JobSpec.model_validate({"data": INLINE, **fields})
    return resolve(spec, profile_of(spec.data))  # type: ignore[arg-type]


JOBS = {
    "synthetic": synthetic(),
    "layers": synthetic(data=IMAGES, architecture={"kind": "layers", "shape": [1, 8, 8], "layers": LAYERS}),
    "cnn over a sequence": synthetic(data=IMAGES, architecture={"kind": "cnn", "shape": [1, 64], "channels": [4]}),
    "inline, of which columns are left out": of_inline(),
    "a table": tables.resolved(),
    "columns in another order": tables.resolved(features=["island", "length"]),
    "many kinds of columns": tables.resolved(
        tables.table(*(tables.column(kind, kind, missing=3) for kind in ("integer", "text", "boolean", "datetime"))),
        target="integer",
        task="regression",
        preprocess={"max_categories": 2},
    ),
    "columns with bins and wide columns": tables.resolved(
        tables.table(
            *(tables.column(kind, kind, missing=3, distinct=30) for kind in ("number", "integer", "text", "datetime")),
            tables.column("few", "integer", distinct=4),
            tables.column("species", "text", distinct=3),
        ),
        preprocess={"numeric": "piecewise_linear", "high_cardinality": "target", "max_categories": 20},
    ),
}


def stored(resolved: Resolved) -> tuple[Any, Any]:
    both = decided(resolved), InputsDocuments().of(resolved).content
    read: tuple[Any, Any] = tuple(json.loads(json.dumps(each)) for each in both)
    return read


@pytest.mark.parametrize("resolved", JOBS.values(), ids=JOBS.keys())
def test_a_resolved_job_round_trips(resolved: Resolved) -> None:
    spec = JobSpec.model_validate(resolved.spec.model_dump(mode="json"))

    back = restored(spec, *stored(resolved))

    assert back == replace(resolved, warnings=())
    assert back.array_key == resolved.array_key


@pytest.mark.slow
def test_thousands_of_columns_that_are_treated_alike_take_no_room() -> None:
    wide = synthetic(data={"kind": "synthetic", "rows": 100, "features": 10_000})

    assert InputsDocuments().of(wide).size_bytes < 300
    assert len(json.dumps(decided(wide))) < 2_000


def test_jobs_that_share_their_features_share_the_document() -> None:
    one = synthetic()
    documents = InputsDocuments()

    assert documents.of(one) is documents.of(replace(one, spec=one.spec.model_copy(update={"seed": 7})))
    assert documents.of(synthetic()).sha256 == documents.of(one).sha256


def test_jobs_that_share_their_features_alone_have_documents_of_their_own() -> None:
    one = tables.resolved()
    targets = (("a", "b"), ("a", "c"), (False, True), (0, 1), None)
    others = [replace(one, target=Target("species", classes)) for classes in targets]
    others += [replace(one, null_values=("-",)), replace(one, date_format="%d.%m.%Y")]
    documents = InputsDocuments()

    for other in (one, *others):
        assert documents.of(other).content == InputsDocuments().of(other).content
