"""Commands for reports on jobs and models: report, evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from service.cli.common import DEFAULT_URL, ApiKey, AsJson, CommandError, Url, connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.client import Client, Job

app = typer.Typer()

Html = Annotated[Path | None, typer.Option(help="Save it as one HTML file, with charts.")]


@app.command()
def report(
    subject: Annotated[
        str, typer.Argument(metavar="JOB|MODEL", help="Job id, or model: NAME, NAME@ALIAS or NAME:VERSION.")
    ],
    html: Html = None,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain",
            help="Of a job: train a learning curve and networks without single columns, wait, and add the answers.",
        ),
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print the report of an ended job or a model as Markdown: metrics, baselines, important columns, errors."""
    of_job = subject.startswith("job_")  # names of models have no underscore
    if retrain and not of_job:
        raise typer.BadParameter("only jobs can be retrained", param_hint="--retrain")
    with connect(url, api_key) as client:
        if retrain:
            _retrain(client, client.job(subject), as_json=as_json)

        def read(form: Literal["object", "markdown", "html"]) -> Any:
            if of_job:
                return client.job(subject).report(form, retrain=retrain)
            return client.models.at(subject).report(form)

        _print(read, html, as_json=as_json)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME, NAME@ALIAS or NAME:VERSION.")],
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet with the feature columns and the target.")],
    html: Html = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print how good a model is on labelled rows as Markdown, beside the rows that were held out in training."""
    with connect(url, api_key) as client:
        try:
            _print(lambda form: client.models.at(model).evaluate(file, form), html, as_json=as_json)
        except ValueError as error:
            raise CommandError(str(error)) from None


def _retrain(client: Client, job: Job, *, as_json: bool) -> None:
    """Say on standard error what retraining costs, start it unless that was done before, and wait for it."""
    plan = job.retraining()
    if plan.sweep is not None:
        cost = f"Sweep {plan.sweep} retrains this job already."
    else:
        seconds = plan.estimated_seconds
        time = "" if seconds is None else f", about {seconds:,.0f} s if each trained alone (an estimate)"
        cost = f"Training {plan.jobs} networks in {plan.arrays} arrays, at most {plan.epochs:,} epochs{time}."
    typer.echo(cost, err=True)
    client.sweep_of(job.retrain().id).wait(progress=not as_json)


def _print(read: Callable[[Any], Any], html: Path | None, *, as_json: bool) -> None:
    """Print what `read` returns in a format: `object`, `markdown` or `html`."""
    if html is not None:
        html.write_text(read("html"), encoding="utf-8")
        typer.echo(json.dumps({"path": str(html)}) if as_json else f"Saved {html}")
    else:
        typer.echo(read("object").model_dump_json() if as_json else read("markdown").rstrip())
