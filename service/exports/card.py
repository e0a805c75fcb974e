"""What a network is, what it was trained on and how good it is: a model card in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.exports.rows import made_up

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from service.data.features import FittedFeature
    from service.lifecycle import Job
    from service.spec.layers import Layer
    from service.spec.table import Dataset
    from service.training.checkpoint import Checkpoint

FILES = {
    "load.py": "loads it and predicts; needs torch alone: `python load.py rows.csv`",
    "model.json": "columns, their preprocessing, and the layers",
    "weights.pt": "the weights, a state dict for `torch.load(..., weights_only=True)`",
    "job.json": "the job as the service knows it: spec, best epoch, metrics",
    "history.csv": "every epoch: losses, metrics, and what early stopping decided and why",
    "curves.svg": "the losses over the epochs",
}
USE = """```python
from load import load

model = load()
model.predict([{example}])
```"""


def card(job: Job, checkpoint: Checkpoint, dataset: Dataset | None) -> str:
    """The card of the network of `checkpoint`, which `job` has trained on `dataset`."""
    target = checkpoint.preprocessing.target
    what = "a number" if target.classes is None else f"one of {len(target.classes)} classes"
    sections = [
        f"# {_plain(job.name or job.id)}",
        f"Predicts `{_plain(target.column)}`, {what}, from {len(checkpoint.preprocessing.features)} columns. "
        f"Epoch {checkpoint.epoch} of {job.progress.epoch}, the best by {job.known_spec.monitor.value}.",
        "![Losses over epochs](curves.svg)",
        "## How good it is",
        _metrics(job, checkpoint),
        "Validation rows have chosen the epoch, so their scores are a little too good; test rows, where there are any, "
        "have chosen nothing.",
        "## What it was trained on",
        _data(job, dataset),
        "## How it was trained",
        _table(("setting", "value"), _training(job)),
        "## The network",
        _table(("layer", "values out", "parameters"), map(_layer, checkpoint.layers)),
        "## What goes in",
        _table(("column", "type", "as"), map(_column, checkpoint.preprocessing.features)),
        "What is missing is imputed. Texts that training has not seen count as others, numbers far from those it has "
        "seen are answered all the same: the answers to both mean little. Nobody has looked at for whom it errs.",
        "## How to use it",
        USE.replace("{example}", _example(checkpoint)),
        _table(("file", "what"), ((f"`{name}`", text) for name, text in FILES.items())),
    ]
    if job.warnings:
        warned = [f"- {_plain(warning.message)}" for warning in job.warnings]
        sections[-3:-3] = ["## Noticed before training", "\n".join(warned)]
    return "\n\n".join(sections) + "\n"


def _metrics(job: Job, checkpoint: Checkpoint) -> str:
    test = {} if job.test is None else job.test.metrics
    rows = [
        (f"`{name}`", _number(value), _number(test.get(name.removeprefix("val_"))))
        for name, value in checkpoint.metrics.items()
    ]
    return _table(("metric", "at this epoch", "test rows"), rows if test else (row[:2] for row in rows))


def _data(job: Job, dataset: Dataset | None) -> str:
    if dataset is None:
        return f"Data of the kind `{job.known_spec.data.kind}`; see `job.json`."
    named = f"`{_plain(dataset.name)}`, " if dataset.name else ""
    return (
        f"The data set {named}{dataset.rows:,} rows and {len(dataset.columns)} columns, split "
        f"so: {_settings(job.known_spec.split)}. SHA-256 of the file: `{dataset.sha256}`."
    )


def _training(job: Job) -> list[tuple[str, str]]:
    spec, rule = job.known_spec, job.known_spec.early_stopping
    return [
        ("optimizer", _settings(spec.optimizer)),
        ("schedule", spec.schedule.kind),
        ("batch size", str(spec.batch_size)),
        ("early stopping", "never" if rule is None else _settings(rule)),
        ("ended", (job.stop_reason or job.status).value),
        ("seed", str(spec.seed)),
        ("device", job.device or ""),
        ("job", f"`{job.id}`"),
    ]


def _settings(part: BaseModel) -> str:
    return ", ".join(f"{name} {value}" for name, value in part.model_dump(mode="json", exclude_none=True).items())


def _layer(layer: Layer) -> tuple[str, str, str]:
    shape = " x ".join(map(str, layer.output_shape))
    return layer.kind.replace("_", " "), shape, f"{layer.parameters:,}" if layer.parameters else ""


def _column(feature: FittedFeature) -> tuple[str, str, str]:
    if feature.categories is not None:
        shown = ", ".join(map(_plain, feature.categories[:10])) + (", ..." if len(feature.categories) > 10 else "")
        how = f"0/1 for each of {shown}"
    elif feature.knots is not None:
        how = "its rank among the training rows"
    else:
        how = f"(value - {feature.mean:.6g}) / {feature.scale:.6g}"
    return f"`{_plain(feature.column)}`", feature.type.value, how


def _example(checkpoint: Checkpoint) -> str:
    """A row of a few columns, as Python writes it."""
    features = checkpoint.preprocessing.features[:3]
    return repr({feature.column: made_up(feature, 0) for feature in features})


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _plain(text: str | None) -> str:
    """What people have written, so that Markdown and HTML see nothing in it."""
    return "".join(f"\\{each}" if each in "\\`*_{}[]<>#|!" else " " if each < " " else each for each in text or "")
