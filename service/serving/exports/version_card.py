"""The model card of a version of a model, in Markdown: metrics, members, lineage, training data, use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from service.serving.exports.card import LOADER, UNRELIABLE, number, probabilities, usage
from service.serving.exports.markdown import Markdown, joined, table, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.data.preprocess.features import FittedFeature
    from service.domain.model import ModelMember, ModelVersion
    from service.domain.prediction import ModelCalibration

FILES = {
    **LOADER,
    "weights.pt": Markdown("the weights, for `torch.load(..., weights_only=True)`: state dicts, in the members' order"),
    "version.json": Markdown("the version's record in the service: metrics, members, their specs and data sets"),
}
SETTINGS = ("architecture", "preprocess", "optimizer", "schedule", "loss", "batch_size", "early_stopping", "split")
"""The fields of a spec that a card shows."""
MAX_VALUES = 3
"""Of a setting that differs between members."""
OPTIMISTIC = Markdown(
    "Validation rows chose the best epoch of each member, and the weights of a `greedy` selection, so their metrics "
    "are slightly optimistic; test rows, if any, were not used for any choice."
)


def version_card(version: ModelVersion, features: Sequence[FittedFeature], *, temperature: float | None = None) -> str:
    """The model card of `version`; `features`: the columns of all members.

    `temperature`: of the bundle that it is in; None for a card alone.
    """
    sections: list[Markdown] = [
        write("# {model}, version {number}", model=version.model, number=version.version),
        *([] if version.description is None else [write("{said}", said=version.description)]),
        _summary(version),
        Markdown("## Metrics"),
        *_metrics(version),
        *([] if version.classes is None else _calibration(version.calibration, temperature)),
        Markdown("## Lineage"),
        table(("what", "value"), _lineage(version)),
        Markdown("## Members"),
        table(("job", "weight", "epoch", "SHA-256 of the weights"), map(_member, version.members)),
        Markdown("## Training data"),
        table(("kind", "name", "id", "SHA-256 of the file"), dict.fromkeys(map(_data, version.members))),
        Markdown("## Training"),
        table(("setting", "value"), _training(version.members)),
        Markdown("## Inputs"),
        table(("column", "type", "categories"), map(_column, features)),
        UNRELIABLE,
        Markdown("## Usage"),
        *([_over_http(version)] if temperature is None else _in_bundle(version, features, temperature)),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(version: ModelVersion) -> Markdown:
    what = Markdown("a number")
    if version.classes is not None:
        what = write("one of {count} classes", count=len(version.classes))
    means = Markdown(
        "" if version.member_count == 1 else f", as the weighted mean of the predictions of {version.member_count} jobs"
    )
    return write(
        "Predicts {target}, {what}, from {columns} columns{means}.",
        target=version.target,
        what=what,
        columns=len(version.features),
        means=means,
    )


def _metrics(version: ModelVersion) -> list[Markdown]:
    validation, test = version.metrics.validation, version.metrics.test
    if validation is None and test is None:
        return [Markdown("The jobs have kept no predictions to measure the average by.")]
    first, second = {} if validation is None else validation.values, {} if test is None else test.values
    rows = [
        (Markdown("rows"), *(Markdown("" if each is None else f"{each.rows:,}") for each in (validation, test))),
        *((Markdown(name), number(first.get(name)), number(second.get(name))) for name in {**first, **second}),
    ]
    return [table(("metric", "validation", "test"), rows), OPTIMISTIC]


def _calibration(found: ModelCalibration | None, temperature: float | None) -> list[Markdown]:
    """How the service calibrates; `temperature`: of the bundle that the card is in, if any."""
    title = Markdown("## Calibration")
    if found is None or found.temperature is None:
        kept = "The jobs have kept no predictions of validation rows to calibrate by: probabilities are raw."
        return [title, Markdown(kept)]
    raw = temperature == 1.0 != found.temperature
    said = write(
        "By default, logarithms of probabilities are divided by the temperature {temperature} ({rows} validation rows: "
        "{reason}).{but}",
        but=Markdown(" Those of this bundle are not: it was made with `calibrated=false`." if raw else ""),
        temperature=number(found.temperature),
        rows=Markdown(f"{found.rows:,}"),
        reason=Markdown() if found.reason is None else found.reason,
    )
    return [title, said]


def _lineage(version: ModelVersion) -> list[tuple[Markdown, object]]:
    by = version.created_by
    source = version.source if isinstance(version.source, dict) else version.source.model_dump(exclude_none=True)
    made_from = {name: value for name, value in source.items() if name != "members"}
    named = by.model_dump(exclude_none=True)
    return [
        (Markdown("made from"), _text(made_from) if made_from else Markdown("the jobs under Members")),
        (Markdown("made at"), Markdown(f"{version.created_at:%Y-%m-%d %H:%M:%S} UTC")),
        (Markdown("made by"), _text(named) if named else Markdown("without a named API key")),
        (Markdown("service version"), version.service_version),
    ]


def _member(member: ModelMember) -> tuple[object, ...]:
    return member.job, Markdown(f"{member.weight:.4g}"), member.epoch, member.sha256


def _data(member: ModelMember) -> tuple[str, str, str, str]:
    """What its data set is; of a data set that was deleted before the version was made, its id."""
    data = member.spec.get("data", {})
    if member.dataset is not None:
        return "dataset", member.dataset.name or "", member.dataset.id, member.dataset.sha256
    return str(data.get("kind", "")), "", str(data.get("id", "")), ""


def _training(members: Sequence[ModelMember]) -> list[tuple[Markdown, Markdown]]:
    """Each setting, with the values that members have."""
    rows = []
    for name in SETTINGS:
        values = list(dict.fromkeys(_text(member.spec.get(name)) for member in members))
        shown = [*values[:MAX_VALUES], *([f"{len(values) - MAX_VALUES} more"] if len(values) > MAX_VALUES else [])]
        rows.append((Markdown(name.replace("_", " ")), joined("; ", shown)))
    return rows


def _column(feature: FittedFeature) -> tuple[object, ...]:
    known = feature.categories or []
    more = Markdown(", ..." if len(known) > 10 else "")
    return feature.column, Markdown(feature.type.value), write("{a}{b}", a=joined(", ", known[:10]), b=more)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _in_bundle(version: ModelVersion, features: Sequence[FittedFeature], temperature: float) -> list[Markdown]:
    answered = [] if version.classes is None else [probabilities(temperature, version.member_count)]
    return [usage(features), *answered, table(("file", "contents"), FILES.items())]


def _over_http(version: ModelVersion) -> Markdown:
    return write("{request} with rows as JSON, CSV or Parquet.", request=_request(version))


def _request(version: ModelVersion) -> str:
    return f"POST /v1/models/{version.model}:{version.version}/predict"
