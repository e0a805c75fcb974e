"""Commands for whoever looks after the service: migrate, doctor, version."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from threading import Event
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    from service.cli.startup import read_settings
    from service.store.engine import migrate as to_newest

    to_newest(read_settings().database)
    typer.echo("the database is up to date")


@app.command()
def doctor() -> None:
    """Check every row against its file and the queue against its rules; exit code 1 when something is wrong."""
    from service.artifacts import Artifacts
    from service.cli.permissions import exposed
    from service.cli.startup import open_database, read_settings
    from service.doctor import Doctor

    settings = read_settings()
    database = open_database(settings)
    for sentence in exposed(settings):
        typer.echo(f"warning: {sentence}")
    examination = Doctor(database, Artifacts(settings.artifacts))
    for wrong in examination.examine():
        typer.echo(str(wrong))
    typer.echo(str(examination.findings))
    database.close()
    if examination.findings.wrong:
        raise typer.Exit(1)


@app.command()
def collect(
    dry_run: Annotated[bool, typer.Option(help="List what would go, and change nothing.")] = False,
    force: Annotated[bool, typer.Option(help="Take files without a row however many they are.")] = False,
) -> None:
    """Collect garbage now, as the service does each hour; exit code 1 when it was refused or a file could not go."""
    from service.artifacts import Artifacts
    from service.cli.startup import keeping, open_database, read_settings
    from service.collector import Collector

    settings = read_settings()
    database = open_database(settings)
    collector = Collector(database, Artifacts(settings.artifacts), keeping(settings))
    try:
        if dry_run:
            for line in collector.preview().lines():
                typer.echo(line)
            return
        done = collector.collect(Event(), force=force)
    finally:
        database.close()
    typer.echo(str(done))
    if done.refused or done.failed:
        raise typer.Exit(1)


@app.command()
def adopt() -> None:
    """Make the artifacts folder this database's, whatever it was before: both then have the same id."""
    from service import deployment
    from service.artifacts import Artifacts
    from service.cli.startup import open_database, read_settings

    settings = read_settings()
    database = open_database(settings)
    try:
        files, known = deployment.adopt(database, Artifacts(settings.artifacts))
    finally:
        database.close()
    typer.echo(f"{settings.artifacts} is this database's now, which names {known:,} of its {files:,} files")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(installed_version("bestepoch"))
