"""A spec with a new feature needs a newer spec version, so that older workers leave it queued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from service.spec import job as job_spec
from service.spec.job import SPEC_VERSION, JobSpec, version_needed
from service.spec.layers import LAYERS
from service.spec.resolved import Feature, RowCounts

DIGESTS: dict[int, str] = {1: "fcab832e1ff0b193", 2: "6565e8faae90e477", 3: "6565e8faae90e477", 4: "958567905edde94b"}


def values(schema: Any) -> Iterator[str]:
    """Every value of a field of which only some are allowed."""
    if isinstance(schema, dict):
        yield from (str(value) for value in schema.get("enum", []))
        yield from [str(schema["const"])] if "const" in schema else []
        schema = list(schema.values())
    for part in schema if isinstance(schema, list) else ():
        yield from values(part)


def vocabulary() -> Iterator[str]:
    """Every field that a spec may have, with its values, and every field of what is stored beside it."""
    schema = JobSpec.model_json_schema()
    for name, part in {**schema.pop("$defs"), "JobSpec": schema}.items():
        yield from (f"{name}={value}" for value in part.get("enum", []))
        for field, what in part.get("properties", {}).items():
            yield from (f"{name}.{field}", *(f"{name}.{field}={value}" for value in values(what)))
    for kind in (*LAYERS.values(), Feature, RowCounts):
        yield from (f"{kind.__name__}.{field.name}" for field in fields(kind))


def digest() -> str:
    return hashlib.sha256(json.dumps(sorted(set(vocabulary()))).encode()).hexdigest()[:16]


def test_the_fields_and_values_of_specs_match_the_digest_of_their_version() -> None:
    assert digest() == DIGESTS[SPEC_VERSION], (
        "specs or resolved jobs have a new field or value: add to SINCE in service/spec/job.py which specs use it,"
        " and add the digest of the new version here"
    )


@pytest.mark.parametrize(
    ("preprocess", "version"),
    [
        ({}, 1),
        ({"numeric": "quantile", "bins": 8, "target_smoothing": 1.0}, 1),
        ({"numeric": "robust"}, 2),
        ({"numeric": "piecewise_linear"}, 2),
        ({"high_cardinality": "frequency"}, 2),
        ({"high_cardinality": "target"}, 2),
        ({"clip_target": True}, 2),
    ],
)
def test_new_preprocessing_needs_version_2(preprocess: dict[str, Any], version: int) -> None:
    spec = JobSpec.model_validate({"data": {"kind": "synthetic"}, "preprocess": preprocess})

    assert version_needed(spec) == version


def test_a_spec_needs_the_smallest_version_that_trains_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(
        job_spec, "SINCE", {2: lambda spec: spec.seed > 5, 3: lambda spec: spec.precision == "bfloat16"}
    )
    spec = JobSpec.model_validate({"data": {"kind": "synthetic"}})

    needed = [
        version_needed(spec.model_copy(update=changes))
        for changes in ({}, {"seed": 6}, {"precision": "bfloat16"}, {"seed": 6, "precision": "bfloat16"})
    ]

    assert needed == [1, 2, 3, 3]
