"""The command `drift`: how new rows differ from those that a model was trained on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import DEFAULT_URL, ApiKey, AsJson, CommandError, Url, connect, print_table

if TYPE_CHECKING:
    from service.drift.report import ColumnDrift

app = typer.Typer()

MAX_COLUMNS = 30
"""Columns that are printed, those with the largest index."""


@app.command()
def drift(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME, NAME@ALIAS or NAME:VERSION.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="CSV, JSON Lines or Parquet with the feature columns; default: a sample of the rows that were asked."
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Compare new rows with those that a model was trained on: which columns have drifted?"""
    with connect(url, api_key) as client:
        try:
            found = client.models.at(model).drift(file)
        except ValueError as error:
            raise CommandError(str(error)) from None
    if as_json:
        typer.echo(found.model_dump_json())
        return
    for finding in found.findings:
        typer.echo(finding.text)
    names = ("column", "drift", "PSI", "by chance", "missing", "in training", "unseen")
    rows = [_cells(each) for each in islice(found.columns, MAX_COLUMNS)]
    rows += [_cells(each) for each in found.predictions]
    if rows:
        typer.echo()
        print_table(names, rows)
    for left_out in found.missing:
        typer.echo(f"{left_out.section}: {left_out.reason}")


def _cells(found: ColumnDrift) -> list[str]:
    unseen = "?" if found.unseen is None else f"{found.unseen:.1%}"
    index = f"{found.psi:.3f}", f"{found.psi_expected:.3f}"
    return [found.column, found.drift, *index, f"{found.missing:.1%}", f"{found.training_missing:.1%}", unseen]
