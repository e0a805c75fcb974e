"""`bestepoch dataset`: read data sets from connections, refresh and list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import DEFAULT_URL, ApiKey, AsJson, Url, connect, count, print_table

if TYPE_CHECKING:
    from service.spec.table import Dataset, DatasetSummary

app = typer.Typer(no_args_is_help=True, help="Read data sets from connections, refresh and list them.")


@app.command()
def add(
    connection: Annotated[str, typer.Option(help="Name of the connection.")],
    path: Annotated[str | None, typer.Option(help="A file in it, or a pattern such as '2026/*.parquet'.")] = None,
    query: Annotated[str | None, typer.Option(help="Or a query: one SELECT.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="How to read the files, as in delimiter=';'; repeatable."),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Read a data set from a connection; its rows are stored as a snapshot."""
    options = dict(_option(each) for each in option or ())
    with connect(url, api_key) as client:
        dataset = client.import_dataset(connection, path=path, query=query, name=name, **options)
    _print(dataset, as_json=as_json)


@app.command()
def refresh(
    dataset: Annotated[str, typer.Argument(metavar="ID", help="The data set's id.")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Read a data set from its connection again, as the next version of the same name."""
    with connect(url, api_key) as client:
        found = client.refresh_dataset(dataset)
    if found.id == dataset and not as_json:
        typer.echo("Unchanged.")
    _print(found, as_json=as_json)


@app.command(name="list")
def list_datasets(url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """List data sets: id, name, version, rows, columns, connection."""
    with connect(url, api_key) as client:
        rows = [_row(each) for each in client.datasets()]
    print_table(("id", "name", "version", "rows", "columns", "connection"), rows)


def _row(dataset: DatasetSummary) -> tuple[str, ...]:
    sizes = f"{dataset.rows:,}", f"{dataset.column_count:,}"
    return dataset.id, dataset.name or "", str(dataset.version), *sizes, dataset.connection or ""


def _option(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals:
        raise typer.BadParameter(f"{name!r} has no value: write NAME=VALUE", param_hint="--option")
    words: dict[str, Any] = {"true": True, "false": False}
    return name, [value] if name == "null" else words.get(value, value)


def _print(dataset: Dataset, *, as_json: bool) -> None:
    if as_json:
        typer.echo(dataset.model_dump_json())
        return
    for warning in dataset.warnings:
        typer.echo(f"Warning: {warning.removesuffix('.')}.", err=True)
    size = f"{count(dataset.rows, 'row')}, {count(len(dataset.columns), 'column')}"
    typer.echo(f"{dataset.id}: version {dataset.version}, {size}")
