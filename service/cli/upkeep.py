"""Commands for whoever looks after the service: migrate, doctor, version."""

from __future__ import annotations

from importlib.metadata import version as installed_version

import typer

app = typer.Typer()


@app.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    from service.cli.opening import read_settings
    from service.store.engine import migrate as to_newest

    to_newest(read_settings().database)
    typer.echo("the database is up to date")


@app.command()
def doctor() -> None:
    """Check every row against its file and the queue against its rules; exit code 1 when something is wrong."""
    from service.artifacts import Artifacts
    from service.cli.opening import open_database, read_settings
    from service.cli.permissions import exposed
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
def version() -> None:
    """Print the version."""
    typer.echo(installed_version("bestepoch"))
