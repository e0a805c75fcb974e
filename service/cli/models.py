"""Commands for published models: models, publish, promote, rollback."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import DEFAULT_URL, ApiKey, AsJson, CommandError, Url, connect, print_table
from service.domain.model import CHAMPION

if TYPE_CHECKING:
    from service.client import Client
    from service.domain.model import ModelAlias, ModelVersionSummary

app = typer.Typer()

Name = Annotated[str, typer.Argument(metavar="MODEL", help="Model name.")]
Alias = Annotated[str, typer.Option(help="Alias to move.")]


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="List the versions of this model.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of models or versions.")] = 20,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List models with their aliases, or the versions of one model, newest first."""
    with connect(url, api_key) as client:
        if name is not None:
            versions = list(islice(client.models.get(name).versions(), limit))
            _print(as_json, versions, ("version", "aliases", "members", "metrics", "created", "description"), _version)
            return
        found = [model.state for model in islice(client.models.list(), limit)]
    _print(as_json, found, ("model", "versions", "aliases"), _model)


@app.command()
def publish(
    name: Name,
    source: Annotated[list[str], typer.Argument(metavar="JOB...", help="A sweep id, or job ids; JOB=WEIGHT weights.")],
    select: Annotated[
        str | None, typer.Option(help="Of a sweep: `best`, its best point, or `greedy`, an ensemble of its points.")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Alias to move to the new version.")] = None,
    description: Annotated[str | None, typer.Option(help="What is special about this version.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Publish the next version of a model, from ended jobs or a sweep."""
    with connect(url, api_key) as client:
        found = _source(client, source)
        version = client.models.create(name, found, select=select, alias=alias, description=description)
    if as_json:
        typer.echo(version.model_dump_json())
        return
    aliases = f", alias {', '.join(version.aliases)}" if version.aliases else ""
    members = "1 member" if version.member_count == 1 else f"{version.member_count} members"
    typer.echo(f"Published {name}:{version.version} with {members}{aliases}")


@app.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="Version number.")],
    alias: Alias = CHAMPION,
    expected: Annotated[int | None, typer.Option(help="Move only if it points to this version now.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Point an alias to a version; predictions follow at once."""
    with connect(url, api_key) as client:
        moved = client.models.get(name).promote(version, alias, expected=expected)
    _print_alias(name, moved, as_json=as_json)


@app.command()
def rollback(
    name: Name, alias: Alias = CHAMPION, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Move an alias back to the version before."""
    with connect(url, api_key) as client:
        try:
            moved = client.models.get(name).rollback(alias)
        except LookupError as error:
            raise CommandError(str(error)) from None
    _print_alias(name, moved, as_json=as_json)


def _source(client: Client, names: list[str]) -> Any:
    """A sweep, or jobs with their weights."""
    if len(names) == 1 and names[0].startswith("swp_"):
        return client.sweep_of(names[0])
    weights = {}
    for name in names:
        job, _, weight = name.partition("=")
        try:
            weights[job] = float(weight) if weight else 1.0
        except ValueError:
            raise typer.BadParameter(f"{name!r} is not JOB=WEIGHT", param_hint="JOB") from None
    return weights


def _print(as_json: bool, found: list[Any], names: tuple[str, ...], row: Any) -> None:
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found]))
    else:
        print_table(names, map(row, found))


def _model(state: Any) -> list[str]:
    aliases = ", ".join(f"{alias.alias} -> {alias.version}" for alias in state.aliases)
    return [state.name, str(state.versions), aliases]


def _version(version: ModelVersionSummary) -> list[str]:
    scores = version.metrics.test or version.metrics.validation
    metrics = (
        [] if scores is None else [f"{name} {value:.4g}" for name, value in scores.values.items() if value is not None]
    )
    created = f"{version.created_at:%Y-%m-%d %H:%M}"
    return [
        str(version.version),
        ", ".join(version.aliases),
        str(version.member_count),
        ", ".join(metrics),
        created,
        version.description or "",
    ]


def _print_alias(name: str, alias: ModelAlias, *, as_json: bool) -> None:
    before = "" if alias.previous is None else f"; rollback would move it to {alias.previous}"
    typer.echo(alias.model_dump_json() if as_json else f"{name}@{alias.alias} is version {alias.version}{before}")
