"""Operations commands: migrate, doctor, collect, adopt, version."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from threading import Event
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def migrate() -> None:
    """Migrate the database to this version's schema."""
    from service.cli.startup import read_settings
    from service.store.engine import migrate as to_newest

    to_newest(read_settings().database)
    typer.echo("the database is up to date")


@app.command()
def doctor() -> None:
    """Check the integrity of database, files and queue; exit code 1 if it finds problems."""
    from service.artifacts import ArtifactsConfig, open_artifacts
    from service.cli.permissions import exposed
    from service.cli.startup import open_database, read_settings
    from service.maintenance.doctor import Doctor

    settings = read_settings()
    database = open_database(settings)
    for warning in exposed(settings):
        typer.echo(f"warning: {warning}")
    examination = Doctor(database, open_artifacts(ArtifactsConfig.of(settings)))
    for finding in examination.examine():
        typer.echo(str(finding))
    typer.echo(str(examination.findings))
    database.close()
    if examination.findings.problems:
        raise typer.Exit(1)


@app.command()
def collect(
    dry_run: Annotated[bool, typer.Option(help="List what would be deleted, without deleting it.")] = False,
    force: Annotated[bool, typer.Option(help="Delete orphaned files however many there are.")] = False,
) -> None:
    """Run the hourly garbage collection now; exit code 1 if it is refused or a file cannot be deleted."""
    from service.artifacts import ArtifactsConfig, open_artifacts
    from service.cli.startup import keeping, open_database, read_settings
    from service.maintenance.collector import Collector

    settings = read_settings()
    database = open_database(settings)
    collector = Collector(database, open_artifacts(ArtifactsConfig.of(settings)), keeping(settings))
    try:
        if dry_run:
            for line in collector.preview().lines():
                typer.echo(line)
            return
        result = collector.collect(Event(), force=force)
    finally:
        database.close()
    typer.echo(str(result))
    if result.refused or result.failed:
        raise typer.Exit(1)


@app.command()
def adopt() -> None:
    """Assign the artifacts folder to this database: both get the same deployment id."""
    from service.artifacts import ArtifactsConfig, open_artifacts
    from service.cli.startup import open_database, read_settings
    from service.maintenance import deployment_id

    settings = read_settings()
    database = open_database(settings)
    try:
        artifacts = open_artifacts(ArtifactsConfig.of(settings))
        files, known = deployment_id.adopt(database, artifacts)
    finally:
        database.close()
    typer.echo(
        f"{artifacts.address('')} belongs to this database now, which references {known:,} of its {files:,} files"
    )


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(installed_version("bestepoch"))
