"""Patches a job spec with changes by dotted name, e.g. `{"optimizer.lr": 0.1}`, and validates the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from service.api.http.validation_errors import validation_errors, with_suggestions
from service.errors import FieldError, InvalidSpec
from service.spec.job import JobSpec
from service.spec.sweep import changed

if TYPE_CHECKING:
    from collections.abc import Mapping


def apply(base: JobSpec, changes: Mapping[str, Any]) -> JobSpec:
    """`base` with `changes`; raises InvalidSpec with pointers into the resulting spec."""
    asked = changed(base, changes)
    try:
        return JobSpec.model_validate(asked)
    except ValidationError as error:
        found = ({**e, "loc": ("body", *e["loc"])} for e in with_suggestions(error.errors(), JobSpec))
        raise InvalidSpec(
            field_errors=tuple(FieldError(**fault) for fault in validation_errors(found, asked, dotted_names=True))
        ) from error
