"""Suggestions for unknown fields: "unknown field; did you mean `max_epochs`?" for `epochs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from service.spec.text import MAX_NAME, plain, similar

SYNONYMS = {
    "epochs": "max_epochs",
    "n_epochs": "max_epochs",
    "num_epochs": "max_epochs",
    "max_iter": "max_epochs",
    "learning_rate": "optimizer.lr",
    "learning_rate_init": "optimizer.lr",
    "l2": "optimizer.weight_decay",
    "hidden_layers": "architecture.hidden",
    "hidden_sizes": "architecture.hidden",
    "hidden_units": "architecture.hidden",
    "hidden_layer_sizes": "architecture.hidden",
    "model": "architecture",
    "network": "architecture",
    "dataset": "data.id",
    "dataset_id": "data.id",
    "label_column": "data.target",
    "target_column": "data.target",
    "columns": "data.features",
    "patience": "early_stopping.patience",
    "min_delta": "early_stopping.min_delta",
    "n_iter_no_change": "early_stopping.patience",
    "tolerance": "early_stopping.min_delta",
    "tol": "early_stopping.min_delta",
    "metric": "early_stopping.monitor",
    "scheduler": "schedule",
    "lr_scheduler": "schedule",
    "lr_schedule": "schedule",
    "criterion": "loss",
    "quantile": "loss.q",
    "class_weights": "loss.class_weight",
    "loss_function": "loss",
    "random_state": "seed",
    "random_seed": "seed",
    "timeout": "max_seconds",
    "max_time": "max_seconds",
    "dtype": "precision",
    "tags": "labels",
    "val_split": "split.validation",
    "validation_split": "split.validation",
    "validation_fraction": "split.validation",
    "test_split": "split.test",
    "test_size": "split.test",
    "test_fraction": "split.test",
}
"""Names that other tools and libraries use, and the field of a job spec with that meaning."""


def unknown(what: str, suggestion: str | None) -> str:
    """The message for an unknown field or parameter."""
    return f"unknown {what}; did you mean `{suggestion}`?" if suggestion else f"unknown {what}"


def suggestion_for(model: Any, location: Sequence[str | int]) -> str | None:
    """The field that was probably meant by the unknown field at `location`, pydantic's, of the type `model`.

    Its name at that place, or a dotted path from there, e.g. `optimizer.lr`.
    """
    *place, name = location
    if len(str(name)) > MAX_NAME:
        return None
    models = _models(model)
    for part in place:
        models = _below(models, part)
    fields = {field: info.annotation for each in models for field, info in each.model_fields.items()}
    meant = SYNONYMS.get(str(name).lower(), "")
    for same in (field for field in fields if plain(field) == plain(str(name))):
        return same
    if meant and (_has(models, meant) or (meant := meant.rpartition(".")[2]) in fields):
        return meant
    for field, annotation in fields.items():
        if any(name in each.model_fields for each in _models(annotation)):
            return f"{field}.{name}"
    return similar(str(name), fields)


def _has(models: list[type[BaseModel]], path: str) -> bool:
    first, _, rest = path.partition(".")
    below = [each.model_fields[first].annotation for each in models if first in each.model_fields]
    return bool(below) and (not rest or any(_has(_models(annotation), rest) for annotation in below))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a value of this type may be: itself, or members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin is Annotated:
        return _models(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [model for member in get_args(annotation) for model in _models(member)]
    return list(_items(annotation, origin))


def _items(annotation: Any, origin: Any) -> Iterator[type[BaseModel]]:
    """The models of a list's or an object's items."""
    if isinstance(origin, type) and issubclass(origin, Sequence | Mapping):
        for argument in get_args(annotation):
            yield from _models(argument)


def _below(models: list[type[BaseModel]], part: str | int) -> list[type[BaseModel]]:
    """One step along pydantic's location: into a field, to a member of a union by its tag, or to an item."""
    members = [model for model in models if part == model.__name__ or part in _tags(model)]
    if len(models) > 1 and members:
        return members
    fields = [model.model_fields[str(part)].annotation for model in models if part in model.model_fields]
    return [model for annotation in fields for model in _models(annotation)] or models


def _tags(model: type[BaseModel]) -> set[Any]:
    """The values of the fields that tell the members of a union apart."""
    return {value for name in ("kind", "rule") if name in model.model_fields for value in _literal(model, name)}


def _literal(model: type[BaseModel], field: str) -> tuple[Any, ...]:
    info = model.model_fields[field]
    return (*get_args(info.annotation), info.default)
