"""`bestepoch artifacts`: move a deployment's files to another artifact store."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Move a deployment's files to another artifact store.")

URL = "A folder, or s3://BUCKET/PREFIX, gs://... or az://..."


@app.callback()
def _group() -> None:
    """Keep `copy` a subcommand, although it is the only one."""


@app.command()
def copy(
    to: Annotated[str, typer.Option(help=f"{URL}, to copy to.")],
    source: Annotated[str | None, typer.Option("--from", help=f"{URL}; default: the one of the settings.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read the files that are there already, too.")] = False,
) -> None:
    """Copy every file that the database refers to and that the other store lacks, while the service runs.

    Each copy is verified by its SHA-256. Repeat it until nothing is missing. Exit code 1 if a file cannot be copied.
    """
    from service.artifacts import ArtifactsConfig, open_artifacts
    from service.cli.startup import database_of, read_settings
    from service.maintenance.artifact_copy import ArtifactCopier

    settings = read_settings()
    stores = [
        open_artifacts(ArtifactsConfig.of(settings if url is None else read_settings(artifacts_url=url)))
        for url in (source, to)
    ]
    with database_of(settings) as database:
        report = ArtifactCopier(database, *stores).copy(verify=verify)
    for problem in report.problems:
        typer.echo(problem)
    typer.echo(f"copied {report.copied:,} files, {report.copied_bytes:,} bytes; {report.present:,} were there already")
    if report.problems:
        raise typer.Exit(1)
    if report.copied:
        typer.echo("the service may have stored files meanwhile: run this again, until nothing is missing")
    else:
        typer.echo(f"nothing is missing: set BESTEPOCH_ARTIFACTS_URL={to} for all processes, and start them again")
