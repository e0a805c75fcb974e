"""The job spec: defaults and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from service.spec.job import JobSpec

MINIMAL: dict[str, Any] = {"data": {"kind": "dataset", "id": "ds_1", "target": "species"}}

DEFAULTS: dict[str, Any] = {
    "name": None,
    "labels": {},
    "data": {
        "kind": "dataset", "id": "ds_1", "target": "species", "features": None, "weight": None, "streaming": "auto"
    },
    "task": "auto",
    "split": {"validation": None, "test": None, "shuffle": None, "stratify": None, "seed": 0,
              "column": None, "group": None, "order_by": None, "folds": None, "fold": None,
              "repeat": None, "train_fraction": None, "train_seed": None},
    "preprocess": {"numeric": "standardize", "bins": 16, "categorical": "one_hot", "embedding_size": "auto",
                   "max_categories": 50, "high_cardinality": "most_frequent", "target_smoothing": 10.0,
                   "missing": "impute", "clip_target": False},
    "architecture": {
        "kind": "mlp", "hidden": [64, 32], "batch_norm": True, "batch_norm_momentum": 0.1, "batch_norm_eps": 1e-5,
        "activation": "relu", "dropout": 0.0, "periodic": None, "scaling": False,
    },
    "optimizer": {"kind": "adam", "lr": 0.003, "weight_decay": 0.0, "max_grad_norm": None, "rates": {},
                  "betas": [0.9, 0.999], "eps": 1e-8},
    "schedule": {"kind": "constant", "warmup_steps": 0, "warmup_share": 0.0},
    "averaging": None,
    "loss": {"kind": "auto", "label_smoothing": 0.0, "class_weight": None},
    "batch_size": 64,
    "max_epochs": 100,
    "max_seconds": None,
    "early_stopping": {
        "rule": "patience",  # what the design's example leaves out: it can be left out
        "patience": 10, "monitor": "val_loss", "min_delta": 0.0, "min_delta_mode": "absolute",
        "min_epochs": 0, "target": None, "on_non_finite": "stop",
    },
    "precision": "float32",
    "seed": 0,
    "device": "auto",
    "priority": 0,
    "parallel": None,
    "worker": {"labels": {}},
}  # fmt: skip


def with_field(path: str, value: Any) -> dict[str, Any]:
    """The minimal spec as JSON, with `value` at the dotted `path`."""
    body: dict[str, Any] = json.loads(json.dumps(MINIMAL))
    place = body
    *parents, last = path.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return body


def read(path: str, value: Any) -> JobSpec:
    """What the server makes of that spec, from JSON as a client sends it."""
    return JobSpec.model_validate_json(json.dumps(with_field(path, value)))


def test_a_spec_that_names_only_its_data_gets_every_documented_default() -> None:
    assert JobSpec.model_validate(MINIMAL).model_dump(mode="json") == DEFAULTS


def test_a_spec_with_every_default_written_out_is_the_same_spec() -> None:
    assert JobSpec.model_validate_json(json.dumps(DEFAULTS)) == JobSpec.model_validate(MINIMAL)


def test_only_data_is_required() -> None:
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate({})
    assert [error["loc"] for error in refused.value.errors()] == [("data",)]


@pytest.mark.parametrize(
    "path",
    ["", "data.", "split.", "preprocess.", "architecture.", "optimizer.", "schedule.", "loss.", "early_stopping."],
)
def test_an_unknown_field_is_refused_wherever_it_stands(path: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(f"{path}pateince", 3)
    assert [error["type"] for error in refused.value.errors()] == ["extra_forbidden"]
    assert refused.value.errors()[0]["loc"][-1] == "pateince"


def test_a_kind_that_does_not_exist_is_refused_by_name() -> None:
    for part in ("data", "architecture", "optimizer", "schedule", "loss"):
        with pytest.raises(ValidationError, match="imaginary"):
            read(f"{part}.kind", "imaginary")


@pytest.mark.parametrize("path", ["batch_size", "max_epochs", "seed", "split.seed", "optimizer.lr", "priority"])
@pytest.mark.parametrize("value", ["1", True, [1], {}, None])
def test_only_a_number_is_a_number(path: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        read(path, value)


@pytest.mark.parametrize("path", ["split.shuffle", "architecture.batch_norm"])
@pytest.mark.parametrize("value", [1, 0, "true", "yes", [True]])
def test_only_true_and_false_are_booleans(path: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        read(path, value)


@pytest.mark.parametrize("path", ["split.validation", "optimizer.lr", "early_stopping.min_delta", "max_seconds"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_must_be_finite(path: str, value: float) -> None:
    with pytest.raises(ValidationError):
        read(path, value)


BOUNDS: dict[str, tuple[list[Any], list[Any]]] = {
    "name": (["x", "é" * 200, None], ["", "x" * 201, "two\nlines", "\x7f", 5]),
    "labels": ([{}, {"team/a": ""}, {"k": "v" * 200}], [{"": "v"}, {"-k": "v"}, {"k": "v" * 201}, {"k": 1}]),
    "data.id": (["ds_0a"], ["ds_", "job_1", "ds_A", "ds_1/../2"]),
    "data.target": (["y", "naïve column"], ["", "nul\x00"]),
    "data.features": ([["a", "b"], None], [[]]),
    "task": (["auto", "classification", "regression"], ["Auto", "ranking", None]),
    "split.validation": ([0.0, 0, 0.999], [-0.01, 1.0]),
    "split.test": ([0.0, 0.5], [-0.01, 1.0]),
    "split.folds": ([2, 2.0, 100, None], [1, 101, 2.5]),
    "split.column": (["part", None], ["", "nul\x00"]),
    "preprocess.numeric": (["quantile", "none", "robust", "piecewise_linear"], ["rank", None]),
    "preprocess.bins": ([2, 256], [1, 257, 2.5]),
    "preprocess.high_cardinality": (["frequency", "target"], ["mean", None]),
    "preprocess.target_smoothing": ([0, 0.5, 1e6], [-1, 1e7, None]),
    "preprocess.clip_target": ([True], [1, "yes"]),
    "preprocess.max_categories": ([1, 1_000], [0, 1_001]),
    "split.seed": ([0, 2**32 - 1], [-1, 2**32, 1.5]),
    "architecture.hidden": ([[], [1], [65_536], [8] * 64], [[0], [65_537], [8] * 65, [8.5], 64]),
    "architecture.dropout": ([0.0, 0.99], [-0.1, 1.0]),
    "architecture.activation": (["gelu", "leaky_relu"], ["ReLU", "swish"]),
    "optimizer.lr": ([1e-9, 1, 10.0], [0.0, -1.0, 10.1]),
    "optimizer.weight_decay": ([0.0, 10.0], [-1e-9, 11.0]),
    "optimizer.betas": ([[0.0, 0.5]], [[0.9], [0.9, 1.0], [0.1, 0.2, 0.3]]),
    "optimizer.eps": ([1e-8, 1.0], [0.0, 1.1]),
    "loss.label_smoothing": ([0.0, 0.99], [1.0, -0.1]),
    "loss.class_weight": (["balanced", None], ["inverse"]),
    "loss.kind": (["auto", "squared", "poisson"], ["mse", None]),
    "schedule.warmup_steps": ([0, 1_000], [-1, 0.5]),
    "schedule.warmup_share": ([0.0, 1.0], [-0.1, 1.1]),
    "batch_size": ([1, 10_000_000, "full"], [0, 10_000_001, "all", 1.5]),
    "max_epochs": ([1, 1_000_000], [0, 1_000_001]),
    "max_seconds": ([0.001, 2_592_000.0, None], [0.0, 2_592_001.0]),
    "early_stopping.patience": ([1, 1_000_000], [0, 1_000_001]),
    "early_stopping.min_delta": ([0.0, 1e12], [-1e-9, 1e13]),
    "early_stopping.min_epochs": ([0, 1_000_000], [-1, 1_000_001]),
    "early_stopping.monitor": (["val_r2", "train_loss"], ["loss", "val_auc"]),
    "early_stopping.on_non_finite": (["stop", "fail", "ignore"], ["raise"]),
    "early_stopping.rule": (["patience", "gl", "pq", "up"], ["GL", "pateince", None, []]),
    "early_stopping": ([None], [False, "off"]),
    "device": (["auto", "cpu", "cuda"], ["cuda:0", "mps"]),
    "priority": ([-100, 100], [-101, 101]),
}


@pytest.mark.parametrize("path", BOUNDS)
def test_a_field_takes_values_up_to_its_bounds_and_none_past_them(path: str) -> None:
    taken, refused = BOUNDS[path]
    for value in taken:
        read(path, value)
    for value in refused:
        with pytest.raises(ValidationError):
            read(path, value)


def test_at_most_fifty_labels() -> None:
    read("labels", {f"k{i}": "v" for i in range(50)})
    with pytest.raises(ValidationError):
        read("labels", {f"k{i}": "v" for i in range(51)})


def test_a_spec_cannot_be_changed_after_it_was_read() -> None:
    spec = JobSpec.model_validate(MINIMAL)

    with pytest.raises(ValidationError):
        spec.max_epochs = 5
