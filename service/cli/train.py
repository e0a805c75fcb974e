"""`bestepoch train`: from a file to a published model by a preset, or to the best epoch of one network."""

from __future__ import annotations

import json
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from service.cli.common import (
    DEFAULT_URL,
    EXIT_CODES,
    ApiKey,
    AsJson,
    CommandError,
    Url,
    about_seconds,
    connect,
    count,
)
from service.cli.jobs import print_result
from service.domain.checkpoint import CheckpointFormat
from service.spec.read_options import FileFormat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.cli.gains import Gain
    from service.client import Client, Model, Sweep
    from service.client.client import Preset
    from service.client.served_model import FileFormat as ModelFormat
    from service.spec.table import Dataset

app = typer.Typer()

ID_COLUMN = "id_like_column"  # the warnings of the data set have it, too
WEIGHTS = (CheckpointFormat.safetensors, CheckpointFormat.pt)


class Choice(StrEnum):
    """A preset, or none."""

    fast = "fast"
    good = "good"
    best = "best"
    none = "none"


Preset_ = Annotated[
    Choice | None,
    typer.Option(
        "--preset",
        help="fast: one network. good: a tested recipe on several folds, the default. best: several recipes, of which "
        "the best ensemble is taken. none: one network as the options say, which is the default with --batch-norm, "
        "--hidden, --patience, --max-epochs or an --out of weights (.safetensors, .pt), and for images.",
    ),
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Model to publish, with a preset; by default named like the file.")
]
BatchNorm = Annotated[
    bool | None,
    typer.Option("--batch-norm/--no-batch-norm", help="Batch normalization after hidden layers; on by default."),
]
Hidden = Annotated[str | None, typer.Option(help="Hidden layer widths, separated by commas; 64,32 by default.")]
Patience = Annotated[
    int | None, typer.Option(help="Early-stopping patience, in epochs; 0: no early stopping; 10 by default.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any field of the job spec, as in optimizer.lr=0.01; repeatable."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Where to save the result, a file or folder: of one network the best checkpoint, by default here; of a "
        "preset the model as one file, .zip, .onnx or .pt2, by default nowhere."
    ),
]


@app.command()
def train(
    file: Annotated[Path, typer.Argument(help="Training data: CSV, JSON Lines, Parquet, NPZ or a zip of images.")],
    target: Annotated[str, typer.Option(help="Target column.")],
    preset: Preset_ = None,
    model: ModelName = None,
    batch_norm: BatchNorm = None,
    patience: Patience = None,
    hidden: Hidden = None,
    max_epochs: Annotated[int | None, typer.Option(help="Max epochs; 100 by default.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    set_: Settings = None,
    out: Out = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Upload a table, train a preset on it, and publish the best model; or train one network and save its best epoch.

    A preset says first what it will train. At the end it says what it gained over one network (`fast`) and over boosted
    trees, on rows that no compared model was trained on. Fields of the job spec that are set stay as they are.
    """
    network = (batch_norm, hidden, patience, max_epochs)
    spec = _spec(*network, seed, set_)
    weights = out is not None and CheckpointFormat.of_file(out.name) in WEIGHTS
    if preset is None and model is None and (weights or any(option is not None for option in network)):
        preset = Choice.none
    _check(preset, model, out, weights=weights)
    with connect(url, api_key) as client:
        dataset = client.upload(file)
        if not as_json:
            _warn(dataset.warnings)
        if preset is None and model is None and dataset.read_as.format is FileFormat.images:
            preset = Choice.none
        if preset is Choice.none:
            code = _train_one(client, dataset, target, spec, out or Path(), as_json=as_json)
        else:
            training = _Training(client, dataset, target, spec, cast("Preset", (preset or Choice.good).value))
            code = training.run(model, out, as_json=as_json)
    raise typer.Exit(code)


def _check(preset: Choice | None, model: str | None, out: Path | None, *, weights: bool) -> None:
    if preset is Choice.none and model is not None:
        raise CommandError("one network is not published: leave out --model, and use `bestepoch publish` afterwards")
    if preset is not Choice.none and weights:
        raise CommandError("a model is saved as .zip, .onnx or .pt2: weights are those of one network (--preset none)")
    if out is not None and not out.parent.is_dir():
        raise CommandError(f"there is no folder {out.parent}")


def _train_one(client: Client, dataset: Dataset, target: str, spec: dict[str, Any], out: Path, *, as_json: bool) -> int:
    """Train one network and save its best checkpoint; returns the exit code."""
    defaults = {"architecture": {}, "early_stopping": {"patience": 10}, "max_epochs": 100}
    job = client.train(dataset, target, **{**defaults, **spec})
    if not as_json:
        _warn(warning.message for warning in job.state.warnings if warning.code != ID_COLUMN)
    job.wait(progress=not as_json)
    saved = job.download(out) if job.state.best else None
    print_result(job, as_json=as_json)
    if saved is not None and not as_json:
        typer.echo(f"Saved {saved}")
    return EXIT_CODES.get(job.state.status, 0)


def _warn(messages: Iterable[str]) -> None:
    for message in messages:
        typer.echo(f"Warning: {message.removesuffix('.')}.", err=True)


class _Training:
    """A preset, trained on a data set."""

    def __init__(self, client: Client, dataset: Dataset, target: str, spec: dict[str, Any], preset: Preset) -> None:
        self._client, self._dataset, self._preset = client, dataset, preset
        self._base = {**spec, "data": {"kind": "dataset", "id": dataset.id, "target": target, **spec.get("data", {})}}

    def run(self, name: str | None, out: Path | None, *, as_json: bool) -> int:
        """Train, publish, compare, print; returns the exit code."""
        from service.client.fit import model_name, published_model

        plan = self._client.plan_sweep(self._base, preset=self._preset)
        if not as_json:
            _warn(each["message"] for each in plan.get("warnings", ()) if each["code"] != ID_COLUMN)
            typer.echo(_plan_text(self._preset, plan))
        name = name or model_name(self._dataset, self._base["data"]["target"])
        sweep = self._client.sweep(self._base, preset=self._preset, model=name)
        rival = None if self._preset == "fast" else self._client.sweep(self._rival_base(plan["folds"]), preset="fast")
        try:
            model = published_model(sweep, plan["epochs"], progress=not as_json)
        except BaseException as error:
            with suppress(Exception):
                if rival is not None:
                    rival.cancel()
            if not isinstance(error, RuntimeError):
                raise
            typer.echo(str(error), err=True)
            return next((code for status, code in EXIT_CODES.items() if sweep.state.counts.get(status)), 1)
        self._report(sweep, model, rival, plan, out, as_json=as_json)
        return 0

    def _rival_base(self, folds: int | None) -> dict[str, Any]:
        """For `fast`: of the first fold where there are test rows, since other splits have other test rows."""
        split = self._base.get("split") or {}
        return (
            {**self._base, "split": {**split, "folds": folds, "fold": 1}} if folds and split.get("test") else self._base
        )

    def _report(
        self, sweep: Sweep, model: Model, rival: Sweep | None, plan: dict[str, Any], out: Path | None, *, as_json: bool
    ) -> None:
        from service.cli.gains import gains_of, sentence

        if not as_json:
            typer.echo(published_text(model))
        gains = gains_of(model, rival)
        for gain in () if as_json else gains:
            typer.echo(sentence(self._preset, gain))
        saved = None if out is None else _saved(model, out)
        if as_json:
            typer.echo(json.dumps(_document(sweep, plan, gains, saved)))
        else:
            typer.echo(f"Predict with: bestepoch predict {model.address} FILE" if saved is None else f"Saved {saved}")


def published_text(model: Model) -> str:
    """The version that was published, and how its name alone comes to mean it."""
    name, _, version = model.address.partition(":")
    champion = next((alias.version for alias in model.state.aliases if alias.alias == "champion"), None)
    if champion is None or version == str(champion):
        return f"Published {model.address}."
    return (
        f"Published {model.address}. {name!r} alone is still version {champion}, its champion; to change that: "
        f"bestepoch promote {name} {version}"
    )


def _plan_text(preset: str, plan: dict[str, Any]) -> str:
    folds = f" on {plan['folds']} folds" if plan["folds"] else ""
    also = "" if preset == "fast" else "; then 1 network (`fast`) to compare with"
    return (
        f"Preset `{preset}`: {count(plan['jobs'], 'network')}{folds} in {count(plan['arrays'], 'array')}, at most "
        f"{count(plan['epochs'], 'epoch')}, {about_seconds(plan['seconds'])} on {count(plan['trainers'], 'trainer')}"
        f"{also}."
    )


def _saved(model: Model, out: Path) -> Path:
    packed = CheckpointFormat.of_file(out.name) or CheckpointFormat.bundle
    return model.download(out, cast("ModelFormat", packed.value))


def _document(sweep: Sweep, plan: dict[str, Any], gains: list[Gain], saved: Path | None) -> dict[str, Any]:
    published = sweep.state.published
    return {
        "sweep": sweep.id,
        "published": None if published is None else published.model_dump(),
        "plan": plan,
        "gains": [gain.as_dict() for gain in gains],
        "path": None if saved is None else str(saved),
    }


def _spec(
    batch_norm: bool | None,
    hidden: str | None,
    patience: int | None,
    max_epochs: int | None,
    seed: int,
    settings: list[str] | None,
) -> dict[str, Any]:
    """The fields of the job spec that the options set."""
    spec: dict[str, Any] = {"seed": seed}
    if batch_norm is not None:
        spec["architecture"] = {"batch_norm": batch_norm}
    if hidden is not None:
        widths = [_parse_width(width.strip()) for width in hidden.split(",") if width.strip()]
        spec["architecture"] = {**spec.get("architecture", {}), "hidden": widths}
    if patience is not None:
        spec["early_stopping"] = {"patience": patience} if patience else None
    if max_epochs is not None:
        spec["max_epochs"] = max_epochs
    for text in settings or ():
        _set_field(spec, *_parse_setting(text))
    return spec


def _parse_width(text: str) -> int:
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is not a whole number", param_hint="--hidden")
    return int(text)


def _parse_setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _set_field(spec: dict[str, Any], name: str, value: Any) -> None:
    """Set the field at a dotted name; creates the objects on the way."""
    *parents, last = name.split(".")
    for parent in parents:
        inner = spec.get(parent)
        spec[parent] = spec = dict(inner) if isinstance(inner, dict) else {}
    spec[last] = value
