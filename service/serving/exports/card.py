"""The model card of a network, in Markdown: architecture, training data, metrics, use."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from service.serving.exports.markdown import Markdown, joined, table, write
from service.serving.exports.rows import synthetic_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from service.data.preprocess.features import FittedFeature
    from service.domain.job import Job
    from service.spec.graph import Graph
    from service.spec.layers import Layer
    from service.spec.table import Dataset
    from service.training.checkpoint import LoadedCheckpoint

LOADER = {
    "load.py": Markdown("loads the model and predicts; needs only torch: `python load.py rows.csv`"),
    "inputs.py": Markdown("the preprocessing, for `load.py`"),
    "cells.py": Markdown("reads the values of rows, for `load.py`"),
    "layers.py": Markdown("the layers of networks, for `load.py`"),
    "csv_columns.py": Markdown("reads the columns of a CSV file, for `load.py`"),
    "csv_dialect.py": Markdown("detects delimiter, quotes and header, for `csv_columns.py`"),
    "encoding.py": Markdown("detects the encoding of text, for `csv_columns.py`"),
    "column_names.py": Markdown("checks the names of columns, for `csv_dialect.py`"),
    "csv_injection.py": Markdown("restores names that were escaped for spreadsheets, for `csv_dialect.py`"),
    "number_formats.py": Markdown("reads numbers such as `$1,234.50`, for `csv_columns.py` and `cells.py`"),
    "errors.py": Markdown("the exceptions of `load.py`"),
    "model.json": Markdown("columns, their preprocessing, and layers"),
}
FILES = {
    **LOADER,
    "weights.pt": Markdown("the weights, a state dict for `torch.load(..., weights_only=True)`"),
    "job.json": Markdown("the job's record in the service: spec, best epoch, metrics"),
    "history.csv": Markdown("every epoch: losses, metrics, and the decision of early stopping with its reason"),
    "curves.svg": Markdown("the losses over the epochs"),
}
USE = """```python
from load import load

model = load()
model.predict([{example}])
```"""
WARNINGS = Markdown("## Warnings")
UNRELIABLE = Markdown(
    "Missing values are imputed. Text values that were not in the training rows count as (other), and numbers outside "
    "the range of the training rows are predicted all the same: such predictions are unreliable. Fairness between "
    "groups has not been evaluated."
)


def card(job: Job, checkpoint: LoadedCheckpoint, dataset: Dataset | None, temperature: float = 1.0) -> str:
    """The model card of `checkpoint`, which `job` has trained on `dataset`; `temperature`: of the bundle."""
    answered = [] if checkpoint.preprocessing.target.classes is None else [probabilities(temperature)]
    warned = [WARNINGS, joined("\n", (write("- {said}", said=each.message) for each in job.warnings))]
    sections: list[Markdown] = [
        write("# {name}", name=job.name or job.id),
        _summary(job, checkpoint),
        Markdown("![Losses over epochs](curves.svg)"),
        Markdown("## Metrics"),
        _metrics(job, checkpoint),
        Markdown(
            "The best epoch was chosen by the validation rows, so their metrics are slightly optimistic; test rows, if "
            "any, were not used for any choice."
        ),
        Markdown("## Training data"),
        _data(job, dataset),
        Markdown("## Training"),
        table(("setting", "value"), _training(job)),
        Markdown("## Layers"),
        _layers(checkpoint.graph),
        Markdown("## Inputs"),
        table(("column", "type", "encoding"), map(_column, checkpoint.preprocessing.features)),
        UNRELIABLE,
        *(warned if job.warnings else ()),
        Markdown("## Usage"),
        usage(checkpoint.preprocessing.features),
        *answered,
        table(("file", "contents"), FILES.items()),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(job: Job, checkpoint: LoadedCheckpoint) -> Markdown:
    target, columns = checkpoint.preprocessing.target, len(checkpoint.preprocessing.features)
    number = Markdown("a number")
    if target.low is not None:
        number = Markdown(f"a number between {target.low:.6g} and {target.high:.6g} (the range of the training rows)")
    what = number if target.classes is None else write("one of {count} classes", count=len(target.classes))
    return write(
        "Predicts {target}, {what}, from {columns} columns. Epoch {epoch} of {epochs}, the best by {monitor}.",
        target=target.column,
        what=what,
        columns=columns,
        epoch=checkpoint.epoch,
        epochs=job.progress.epoch,
        monitor=job.known_spec.monitor.value,
    )


def _metrics(job: Job, checkpoint: LoadedCheckpoint) -> Markdown:
    test = {} if job.test is None else job.test.metrics
    rows = [
        (name, number(value), number(test.get(name.removeprefix("val_")))) for name, value in checkpoint.metrics.items()
    ]
    if not test:
        return table(("metric", "validation"), (row[:2] for row in rows))
    return table(("metric", "validation", "test"), rows)


def _data(job: Job, dataset: Dataset | None) -> Markdown:
    if dataset is None:
        return write("Data of the kind {kind}; see `job.json`.", kind=job.known_spec.data.kind)
    return write(
        "The data set {name}{rows} rows and {columns} columns, split: {split}. SHA-256 of the file: {sha256}.",
        name=write("{name}, ", name=dataset.name) if dataset.name else Markdown(),
        rows=Markdown(f"{dataset.rows:,}"),
        columns=len(dataset.columns),
        split=settings(job.known_spec.split),
        sha256=dataset.sha256,
    )


def _training(job: Job) -> list[tuple[str, object]]:
    spec, rule, clip = job.known_spec, job.known_spec.early_stopping, job.known_spec.optimizer.max_grad_norm
    return [
        (Markdown("optimizer"), settings(spec.optimizer)),
        (Markdown("gradient clipping"), Markdown("none") if clip is None else Markdown(f"norm of at most {clip:g}")),
        (Markdown("schedule"), settings(spec.schedule)),
        (Markdown("averaging"), Markdown("none") if spec.averaging is None else settings(spec.averaging)),
        (Markdown("loss"), settings(spec.known_loss)),
        (Markdown("batch size"), spec.batch_size),
        (Markdown("early stopping"), Markdown("never") if rule is None else settings(rule)),
        (Markdown("ended"), (job.stop_reason or job.status).value),
        (Markdown("seed"), spec.seed),
        (Markdown("device"), job.device or Markdown()),
        (Markdown("job"), job.id),
    ]


def settings(part: BaseModel) -> Markdown:
    """The fields that are set, with their values."""
    values = part.model_dump(mode="json", exclude_none=True)
    return joined(", ", (write("{name} {value}", name=Markdown(name), value=each) for name, each in values.items()))


def _layers(graph: Graph) -> Markdown:
    """The layers, with their names, and with what each takes where this is not the layer before it."""
    labels = {node.name: node.label or node.name for node in graph.nodes}
    chain = graph.is_chain
    head: tuple[LiteralString, ...] = ("name", "layer", *(() if chain else ("inputs",)), "output shape", "parameters")
    rows = []
    for node in graph.nodes:
        layer, shape, parameters = _layer(node.layer)
        inputs = () if chain else (", ".join(labels.get(name, name) for name in node.inputs),)
        rows.append((node.label or Markdown(node.name), layer, *inputs, shape, parameters))
    return table(head, rows)


def _layer(layer: Layer) -> tuple[Markdown, Markdown, Markdown]:
    shape = " x ".join(map(str, layer.output_shape))
    parameters = f"{layer.parameters:,}" if layer.parameters else ""
    return Markdown(layer.kind.replace("_", " ")), Markdown(shape), Markdown(parameters)


def _column(feature: FittedFeature) -> tuple[str, Markdown, Markdown]:
    if feature.values is not None:
        inputs, count = len(feature.values[-1]), len(feature.categories or ())
        how = write("{inputs} by frequency or mean target, for {count} texts", inputs=inputs, count=count)
    elif feature.categories is not None:
        more = Markdown(", ..." if len(feature.categories) > 10 else "")
        kind = Markdown("one-hot" if feature.embedding_size is None else f"embedding of {feature.embedding_size}")
        how = write("{kind}: {shown}{more}", kind=kind, shown=joined(", ", feature.categories[:10]), more=more)
    elif feature.knots is not None:
        how = Markdown("quantile transform, by the training rows")
    elif feature.smooth_clip:
        how = Markdown(f"z / sqrt(1 + (z / 3)^2) of z = (value - {feature.mean:.6g}) / {feature.scale:.6g}")
    else:
        how = Markdown(f"(value - {feature.mean:.6g}) / {feature.scale:.6g}")
    bins = Markdown(f"; piecewise-linear, {max(len(feature.edges) - 1, 0)} bins" if feature.bins else "")
    return feature.column, Markdown(feature.type.value), joined("", (how, bins))


def usage(features: Sequence[FittedFeature]) -> Markdown:
    """An example with a few columns; `repr` keeps text on one line, so that no value can end the code block."""
    row = {feature.column: synthetic_value(feature, 0) for feature in features[:3]}
    return Markdown(USE.replace("{example}", repr(row)))


def probabilities(temperature: float, members: int = 1) -> Markdown:
    """What probabilities the files of a bundle answer; `members`: the number of networks."""
    if temperature == 1.0:
        raw = "those of the last layer" if members == 1 else "the weighted mean of those of the members"
        return Markdown(f"Probabilities are {raw}, not calibrated by a temperature.")
    return write(
        "Probabilities are calibrated: their logarithms are divided by the temperature {temperature}, which was fitted "
        "to validation rows.",
        temperature=number(temperature),
    )


def number(value: float | None) -> Markdown:
    """Four digits; nothing for None."""
    return Markdown("" if value is None else f"{value:.4g}")
