"""Commands for reports on jobs and models: report, evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from service.cli.common import DEFAULT_URL, ApiKey, AsJson, CommandError, Url, connect

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer()

Html = Annotated[Path | None, typer.Option(help="Save it as one HTML file, with charts.")]


@app.command()
def report(
    subject: Annotated[
        str, typer.Argument(metavar="JOB|MODEL", help="Job id, or model: NAME, NAME@ALIAS or NAME:VERSION.")
    ],
    html: Html = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print the report of an ended job or a model as Markdown: metrics, baselines, important columns, errors."""
    with connect(url, api_key) as client:

        def read(form: Literal["object", "markdown", "html"]) -> Any:
            if subject.startswith("job_"):  # names of models have no underscore
                return client.job(subject).report(form)
            return client.models.report(subject, form)

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
            _print(lambda form: client.models.evaluate(model, file, form), html, as_json=as_json)
        except ValueError as error:
            raise CommandError(str(error)) from None


def _print(read: Callable[[Any], Any], html: Path | None, *, as_json: bool) -> None:
    """Print what `read` returns in a format: `object`, `markdown` or `html`."""
    if html is not None:
        html.write_text(read("html"), encoding="utf-8")
        typer.echo(json.dumps({"path": str(html)}) if as_json else f"Saved {html}")
    else:
        typer.echo(read("object").model_dump_json() if as_json else read("markdown").rstrip())
