"""What a network is, what it was trained on and how good it is: a model card in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.serving.exports.markdown import Markdown, joined, table, write
from service.serving.exports.rows import made_up

if TYPE_CHECKING:
    from pydantic import BaseModel

    from service.data.preprocess.features import FittedFeature
    from service.domain.job import Job
    from service.spec.layers import Layer
    from service.spec.table import Dataset
    from service.training.checkpoint import Checkpoint

FILES = {
    "load.py": Markdown("loads it and predicts; needs torch alone: `python load.py rows.csv`"),
    "model.json": Markdown("columns, their preprocessing, and the layers"),
    "weights.pt": Markdown("the weights, a state dict for `torch.load(..., weights_only=True)`"),
    "job.json": Markdown("the job as the service knows it: spec, best epoch, metrics"),
    "history.csv": Markdown("every epoch: losses, metrics, and what early stopping decided and why"),
    "curves.svg": Markdown("the losses over the epochs"),
}
USE = """```python
from load import load

model = load()
model.predict([{example}])
```"""
BEFOREHAND = Markdown("## Noticed before training")


def card(job: Job, checkpoint: Checkpoint, dataset: Dataset | None) -> str:
    """The card of the network of `checkpoint`, which `job` has trained on `dataset`."""
    warned = [BEFOREHAND, joined("\n", (write("- {said}", said=each.message) for each in job.warnings))]
    sections: list[Markdown] = [
        write("# {name}", name=job.name or job.id),
        _summary(job, checkpoint),
        Markdown("![Losses over epochs](curves.svg)"),
        Markdown("## How good it is"),
        _metrics(job, checkpoint),
        Markdown(
            "Validation rows have chosen the epoch, so their scores are a little too good; test rows, where there are "
            "any, have chosen nothing."
        ),
        Markdown("## What it was trained on"),
        _data(job, dataset),
        Markdown("## How it was trained"),
        table(("setting", "value"), _training(job)),
        Markdown("## The network"),
        table(("layer", "values out", "parameters"), map(_layer, checkpoint.layers)),
        Markdown("## What goes in"),
        table(("column", "type", "as"), map(_column, checkpoint.preprocessing.features)),
        Markdown(
            "What is missing is imputed. Texts that training has not seen count as others, numbers far from those "
            "it has seen are answered all the same: the answers to both mean little. Nobody has looked at for whom it "
            "errs."
        ),
        *(warned if job.warnings else ()),
        Markdown("## How to use it"),
        _use(checkpoint),
        table(("file", "what"), FILES.items()),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(job: Job, checkpoint: Checkpoint) -> Markdown:
    target, columns = checkpoint.preprocessing.target, len(checkpoint.preprocessing.features)
    number = Markdown("a number")
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


def _metrics(job: Job, checkpoint: Checkpoint) -> Markdown:
    test = {} if job.test is None else job.test.metrics
    rows = [
        (name, _number(value), _number(test.get(name.removeprefix("val_"))))
        for name, value in checkpoint.metrics.items()
    ]
    if not test:
        return table(("metric", "at this epoch"), (row[:2] for row in rows))
    return table(("metric", "at this epoch", "test rows"), rows)


def _data(job: Job, dataset: Dataset | None) -> Markdown:
    if dataset is None:
        return write("Data of the kind {kind}; see `job.json`.", kind=job.known_spec.data.kind)
    return write(
        "The data set {name}{rows} rows and {columns} columns, split so: {split}. SHA-256 of the file: {sha256}.",
        name=write("{name}, ", name=dataset.name) if dataset.name else Markdown(),
        rows=Markdown(f"{dataset.rows:,}"),
        columns=len(dataset.columns),
        split=_settings(job.known_spec.split),
        sha256=dataset.sha256,
    )


def _training(job: Job) -> list[tuple[str, object]]:
    spec, rule = job.known_spec, job.known_spec.early_stopping
    return [
        (Markdown("optimizer"), _settings(spec.optimizer)),
        (Markdown("schedule"), spec.schedule.kind),
        (Markdown("batch size"), spec.batch_size),
        (Markdown("early stopping"), Markdown("never") if rule is None else _settings(rule)),
        (Markdown("ended"), (job.stop_reason or job.status).value),
        (Markdown("seed"), spec.seed),
        (Markdown("device"), job.device or Markdown()),
        (Markdown("job"), job.id),
    ]


def _settings(part: BaseModel) -> Markdown:
    values = part.model_dump(mode="json", exclude_none=True)
    return joined(", ", (write("{name} {value}", name=Markdown(name), value=each) for name, each in values.items()))


def _layer(layer: Layer) -> tuple[Markdown, Markdown, Markdown]:
    shape = " x ".join(map(str, layer.output_shape))
    parameters = f"{layer.parameters:,}" if layer.parameters else ""
    return Markdown(layer.kind.replace("_", " ")), Markdown(shape), Markdown(parameters)


def _column(feature: FittedFeature) -> tuple[str, Markdown, Markdown]:
    if feature.categories is not None:
        more = Markdown(", ..." if len(feature.categories) > 10 else "")
        how = write("0/1 for each of {shown}{more}", shown=joined(", ", feature.categories[:10]), more=more)
    elif feature.knots is not None:
        how = Markdown("its rank among the training rows")
    else:
        how = Markdown(f"(value - {feature.mean:.6g}) / {feature.scale:.6g}")
    return feature.column, Markdown(feature.type.value), how


def _use(checkpoint: Checkpoint) -> Markdown:
    """How to predict a row of a few columns; `repr` writes texts on one line, so that none can end the block."""
    features = checkpoint.preprocessing.features[:3]
    return Markdown(USE.replace("{example}", repr({feature.column: made_up(feature, 0) for feature in features})))


def _number(value: float | None) -> Markdown:
    return Markdown("" if value is None else f"{value:.4g}")
