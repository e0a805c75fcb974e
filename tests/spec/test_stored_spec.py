"""Jobs that any worker may train are stored without fields that those of the last release refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from service.spec.job import JobSpec, as_resolved, version_needed
from service.spec.resolve import profile_of, resolve
from service.spec.stored_spec import FIELDS, stored, uses_new_fields

LAYERS = [{"kind": "linear", "out_features": 4}, {"kind": "batch_norm"}, {"kind": "dropout", "p": 0.5}]
OF_THE_LAST_RELEASE: list[dict[str, Any]] = [
    {},
    {"split": {"folds": 3, "fold": 2}},
    {"architecture": {"kind": "cnn", "shape": [1, 20], "channels": [2]}},
    {"architecture": {"kind": "layers", "layers": LAYERS}},
    *({"optimizer": {"kind": kind}} for kind in ("sgd", "adam", "adamw")),
    *({"schedule": {"kind": kind}} for kind in ("cosine", "step", "plateau")),
    *({"early_stopping": {"rule": rule}} for rule in ("gl", "pq", "up")),
    {"early_stopping": None, "loss": {"label_smoothing": 0.1}, "preprocess": {"numeric": "quantile"}},
]
NEW: list[dict[str, Any]] = [
    {"split": {"folds": 3, "fold": 2, "repeat": 2}},
    {"preprocess": {"clip_target": False, "bins": 4}},
    {"architecture": {"kind": "layers", "layers": [{**LAYERS[0], "name": "first"}]}},
]


def resolved(fields: dict[str, Any]) -> JobSpec:
    """A spec with every default written out, as it is stored."""
    spec = JobSpec.model_validate({"data": {"kind": "synthetic"}, **fields})
    return resolve(spec, profile_of(spec.data)).spec  # type: ignore[arg-type]


def models(value: Any, dumped: Any) -> Iterator[tuple[BaseModel, dict[str, Any]]]:
    """Each part of a spec with its JSON."""
    if isinstance(value, BaseModel):
        yield value, dumped
        for name in dumped:
            yield from models(getattr(value, name), dumped[name])
    elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
        for each in zip(value, dumped, strict=True):
            yield from models(*each)


@pytest.mark.parametrize("fields", OF_THE_LAST_RELEASE, ids=str)
def test_a_spec_that_the_last_release_knows_has_no_field_that_it_does_not_know(fields: dict[str, Any]) -> None:
    spec = resolved(fields)

    assert (version_needed(spec), uses_new_fields(spec)) == (1, False)
    for model, dumped in models(spec, stored(spec)):
        assert sorted(dumped) == sorted(FIELDS[type(model).__name__].split())


@pytest.mark.parametrize("fields", [*OF_THE_LAST_RELEASE, *NEW], ids=str)
def test_a_stored_spec_is_read_as_the_same_spec(fields: dict[str, Any]) -> None:
    spec = resolved(fields)

    again = as_resolved(JobSpec.model_validate(stored(spec)))

    assert again == spec
    assert version_needed(again) == version_needed(spec) == (2 if fields in NEW else 1)
