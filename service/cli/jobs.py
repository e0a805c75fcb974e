"""Commands for jobs: watch, jobs, show, cancel, resume, download, predict."""

from __future__ import annotations

import csv
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from service.cli.common import DEFAULT_URL, EXIT_CODES, ApiKey, AsJson, CommandError, Url, connect
from service.domain.checkpoint import CheckpointFormat
from service.domain.status import Status

if TYPE_CHECKING:
    from service.client import Job
    from service.client.job import Kind
    from service.client.served_model import FileFormat

app = typer.Typer()

PARSED = ("lower", "upper", "set")  # columns of predictions that --json prints as numbers and lists
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Job id.")]


@app.command()
def watch(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Follow a job until it has ended."""
    with connect(url, api_key) as client:
        job = client.job(job_id)
        job.wait(progress=not as_json)
    print_result(job, as_json=as_json)
    raise typer.Exit(EXIT_CODES.get(job.state.status, 0))


@app.command()
def jobs(
    status: Annotated[Status | None, typer.Option(help="Only jobs with this status.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of jobs.")] = 20,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with connect(url, api_key) as client:
        found = list(islice(client.jobs(**({"status": status} if status else {})), limit))
    if as_json:
        typer.echo(json.dumps([job.state.model_dump(mode="json") for job in found]))
        return
    for job in found:
        best = job.state.best
        value = f"{best.monitor} {best.value:.4g} at {best.epoch}" if best else ""
        typer.echo(f"{job.id}  {job.state.status:9}  {job.state.progress.epoch:6}  {value:28}  {job.state.name or ''}")


@app.command()
def show(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Print a job's state and spec."""
    with connect(url, api_key) as client:
        job = client.job(job_id)
    if not as_json:
        typer.echo(repr(job)[1:-1])
    typer.echo(job.state.model_dump_json(indent=None if as_json else 2))


@app.command()
def cancel(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Cancel a job; its best checkpoint is kept."""
    with connect(url, api_key) as client:
        job = client.job(job_id).cancel()
    typer.echo(job.state.model_dump_json() if as_json else repr(job)[1:-1])


@app.command()
def resume(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Resume a paused job, or train one that its sweep has pruned to its end."""
    with connect(url, api_key) as client:
        job = client.job(job_id).resume()
    typer.echo(job.state.model_dump_json() if as_json else repr(job)[1:-1])


@app.command()
def download(
    source: Annotated[
        str, typer.Argument(metavar="JOB|MODEL", help="Job id, or model: NAME, NAME@ALIAS or NAME:VERSION.")
    ],
    out: Annotated[Path, typer.Option(help="Where to save it: a file or folder.")] = Path(),
    last: Annotated[
        bool, typer.Option("--last", help="Of a job: the last epoch's weights instead of the best's.")
    ] = False,
    format_: Annotated[
        CheckpointFormat | None,
        typer.Option(
            "--format",
            help="onnx, pt2 and bundle include the preprocessing; by default that of the name in --out, as in my.onnx, "
            "else safetensors of a job, bundle of a model.",
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="With onnx, pt2 and bundle: raw probabilities, not the calibrated ones.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Download a job's checkpoint, or a model with all its members as one file."""
    if not out.parent.is_dir():  # an export may take minutes
        raise CommandError(f"there is no folder {out.parent}")
    format_ = format_ or CheckpointFormat.of_file(out.name)
    with connect(url, api_key) as client:
        if source.startswith("job_"):  # names of models have no underscore
            name = format_ or CheckpointFormat.safetensors
            kind: Kind = "last" if last else "best"
            saved = client.job(source).download(out, kind, name.value, calibrated=not raw)
        else:
            if last or format_ in (CheckpointFormat.safetensors, CheckpointFormat.pt):
                raise CommandError(
                    "a model is downloaded as bundle, onnx or pt2; `--last` and weights are those of a job"
                )
            packed = cast("FileFormat", (format_ or CheckpointFormat.bundle).value)
            saved = client.models.at(source).download(out, packed, calibrated=not raw)
    typer.echo(json.dumps({"path": str(saved)}) if as_json else f"Saved {saved}")


@app.command()
def predict(
    predictor: Annotated[
        str, typer.Argument(metavar="JOB|MODEL", help="Job id, or model: NAME, NAME@ALIAS or NAME:VERSION.")
    ],
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet with the feature columns.")],
    out: Annotated[Path | None, typer.Option(help="File for the predictions; default: standard output.")] = None,
    interval: Annotated[
        float | None,
        typer.Option(help="Also intervals, or sets of classes, that contain the truth about this often, as in 0.9."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Raw probabilities, not calibrated.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Predict the rows of a file with a job's best epoch or a model, in the file's own format."""
    with connect(url, api_key) as client:
        try:
            if predictor.startswith("job_"):  # names of models have no underscore
                predictions = client.job(predictor).predict_file(file, calibrated=not raw, interval=interval)
            else:
                predictions = client.models.at(predictor).predict_file(file, calibrated=not raw, interval=interval)
        except ValueError as error:
            raise CommandError(str(error)) from None
    if out is not None:
        out.write_bytes(predictions)
        typer.echo(json.dumps({"path": str(out)}) if as_json else f"Saved {out}")
    elif as_json:
        typer.echo(json.dumps(_parse_predictions(predictions)))
    else:
        typer.echo(predictions, nl=False)


def _parse_predictions(predictions: bytes) -> list[Any]:
    """The predictions in a file's bytes."""
    if predictions.startswith(b"PAR1"):
        raise CommandError("predictions for a Parquet file are a Parquet file: save it with --out")
    lines = predictions.decode().splitlines()
    if predictions.startswith(b"{"):
        return list(map(json.loads, lines))
    return [
        {name: json.loads(text or "null") if name in PARSED else text for name, text in row.items()}
        for row in csv.DictReader(lines)
    ]


def print_result(job: Job, *, as_json: bool) -> None:
    """Print how training ended, and the best value."""
    state = job.state
    if as_json:
        typer.echo(state.model_dump_json())
        return
    if state.error is not None:
        typer.echo(f"The job failed: {state.error.message}", err=True)
        return
    typer.echo(f"Training stopped after {state.progress.epoch} epochs.")
    if state.best is not None:
        loss = state.best.metrics.get("val_loss")
        name, value = ("validation loss", loss) if loss is not None else (state.best.monitor, state.best.value)
        typer.echo(f"Best {name}: {value:.4f}")
