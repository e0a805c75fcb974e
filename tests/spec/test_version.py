"""A spec that says something new has a version, so that older workers leave it queued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from service.spec import version
from service.spec.job import JobSpec
from service.spec.resolved import Feature, RowCounts
from service.spec.stored import _KINDS
from service.spec.version import SPEC_VERSION, version_needed

WORDS_OF: dict[int, str] = {1: "fcab832e1ff0b193"}


def values(schema: Any) -> Iterator[str]:
    """Every value of a field of which only some are allowed."""
    if isinstance(schema, dict):
        yield from (str(value) for value in schema.get("enum", []))
        yield from [str(schema["const"])] if "const" in schema else []
        schema = list(schema.values())
    for part in schema if isinstance(schema, list) else ():
        yield from values(part)


def words() -> Iterator[str]:
    """Every field that a spec may have, with its values, and every field of what is stored beside it."""
    schema = JobSpec.model_json_schema()
    for name, part in {**schema.pop("$defs"), "JobSpec": schema}.items():
        yield from (f"{name}={value}" for value in part.get("enum", []))
        for field, what in part.get("properties", {}).items():
            yield from (f"{name}.{field}", *(f"{name}.{field}={value}" for value in values(what)))
    for kind in (*_KINDS, Feature, RowCounts):
        yield from (f"{kind.__name__}.{field.name}" for field in fields(kind))


def digest() -> str:
    return hashlib.sha256(json.dumps(sorted(set(words()))).encode()).hexdigest()[:16]


def test_what_specs_can_say_is_that_of_their_version() -> None:
    assert digest() == WORDS_OF[SPEC_VERSION], (
        "specs, or resolved jobs, can say something that they could not: add to SINCE in service/spec/version.py which"
        " specs make use of it, and here the digest of the new version"
    )


def test_a_spec_has_the_smallest_version_that_trains_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(version, "SINCE", {2: lambda spec: spec.seed > 5, 3: lambda spec: spec.precision == "bfloat16"})
    spec = JobSpec.model_validate({"data": {"kind": "synthetic"}})

    needed = [
        version_needed(spec.model_copy(update=changes))
        for changes in ({}, {"seed": 6}, {"precision": "bfloat16"}, {"seed": 6, "precision": "bfloat16"})
    ]

    assert needed == [1, 2, 3, 3]
