"""The spec of a job as it is stored: readable for workers of the last release, which refuse fields they do not know.

During an update they run side by side with this version, and claim jobs of the spec versions that they know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

FIELDS = {
    "ActivationLayer": "function kind",
    "Adam": "betas eps kind lr max_grad_norm weight_decay",
    "AdamW": "betas eps kind lr max_grad_norm weight_decay",
    "AvgPoolLayer": "kernel_size kind padding stride",
    "BatchNormLayer": "eps kind momentum",
    "Cnn": "activation batch_norm batch_norm_eps batch_norm_momentum channels"
    " dropout hidden kernel_size kind pool shape",
    "Constant": "kind",
    "Conv1dLayer": "kernel_size kind out_channels padding stride",
    "Conv2dLayer": "kernel_size kind out_channels padding stride",
    "Cosine": "epochs kind min_lr",
    "DatasetData": "features id kind target weight",
    "DropoutLayer": "kind p",
    "FlattenLayer": "kind",
    "GeneralizationLoss": "alpha min_epochs monitor on_non_finite rule target",
    "InlineData": "kind x y",
    "JobSpec": "architecture batch_size data device early_stopping labels loss max_epochs max_seconds"
    " name optimizer precision preprocess priority schedule seed split task",
    "LayerNormLayer": "eps kind",
    "Layers": "kind layers shape",
    "LinearLayer": "kind out_features",
    "CrossEntropy": "class_weight label_smoothing",
    "DefaultLoss": "class_weight label_smoothing",
    "SquaredError": "",
    "MaxPoolLayer": "kernel_size kind padding stride",
    "Mlp": "activation batch_norm batch_norm_eps batch_norm_momentum dropout hidden kind",
    "Patience": "min_delta min_delta_mode min_epochs monitor on_non_finite patience rule target",
    "Plateau": "factor kind min_lr patience threshold",
    "Preprocess": "categorical max_categories missing numeric",
    "ProgressQuotient": "alpha k min_epochs monitor on_non_finite rule target",
    "Sgd": "kind lr max_grad_norm momentum nesterov weight_decay",
    "Split": "column fold folds group order_by seed shuffle stratify test validation",
    "Step": "gamma kind step_size",
    "SuccessiveRises": "k min_epochs monitor on_non_finite rule s target",
    "SyntheticData": "classes features kind rows seed signal",
}
"""The fields of the last release's specs, by model; renewed with each release."""

EARLIER_MEANING = {("Split", "repeat"): 1}
"""Values other than a new field's default that say what the last release does."""


def stored(spec: BaseModel) -> dict[str, Any]:
    """The spec as JSON, without the fields that the last release does not know where they say what it does."""
    found: dict[str, Any] = _known(spec, spec.model_dump(mode="json"))
    return found


def uses_new_fields(value: Any) -> bool:
    """Whether a spec, or a part of it, has a field that the last release does not know, and that says something new."""
    return any(
        not _as_before(model, name, field) if _is_new(model, name) else uses_new_fields(getattr(model, name))
        for model in _models(value)
        for name, field in type(model).model_fields.items()
    )


def _known(value: Any, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        return {
            name: _known(getattr(value, name), dumped[name])
            for name, field in type(value).model_fields.items()
            if not (_is_new(value, name) and _as_before(value, name, field))
        }
    parts = list(_models(value))
    return [_known(*each) for each in zip(parts, dumped, strict=True)] if parts else dumped


def _models(value: Any) -> Iterator[BaseModel]:
    """The model, or the models of a list."""
    if isinstance(value, BaseModel):
        yield value
    elif isinstance(value, list | tuple) and value and isinstance(value[0], BaseModel):
        yield from value


def _is_new(model: BaseModel, name: str) -> bool:
    """Whether the last release has the model, but not the field."""
    kind = type(model).__name__
    return kind in FIELDS and name not in FIELDS[kind].split()


def _as_before(model: BaseModel, name: str, field: FieldInfo) -> bool:
    value = getattr(model, name)
    default = field.get_default(call_default_factory=True)
    return bool(value == default or value == EARLIER_MEANING.get((type(model).__name__, name), default))
