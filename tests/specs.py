"""Specs that many tests use."""

from __future__ import annotations

from typing import Any

from service.spec.job import JobSpec
from service.spec.resolve import Resolved, profile_of, resolve

REFERENCE: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 1000, "features": 20, "classes": 2},
    "split": {"validation": 0.2, "shuffle": False},
    "preprocess": {"numeric": "none"},
    "architecture": {"kind": "mlp", "hidden": [64, 32], "batch_norm": True},
    "optimizer": {"kind": "adam", "lr": 0.001},
    "batch_size": "full",
    "max_epochs": 50,
    "early_stopping": {"patience": 5},
}


def synthetic(**fields: Any) -> Resolved:
    """A resolved job on a few synthetic rows, with `fields` of the spec set."""
    data = fields.pop("data", {"kind": "synthetic", "rows": 60, "features": 3})
    spec = JobSpec.model_validate({"data": data, **fields})
    return resolve(spec, profile_of(spec.data))  # type: ignore[arg-type]
