"""The `bestepoch` command.

Its modules import the server's libraries inside the commands: without them, `--help` and the commands that call a
service start a second faster, and need no server installed.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from service.cli import (
    advice,
    artifacts,
    connections,
    datasets,
    demo,
    drift,
    jobs,
    keys,
    maintenance,
    models,
    ray,
    replay,
    reports,
    search,
    serve,
    sweep,
    train,
)
from service.cli.common import CommandError
from service.errors import ServiceError

SIGPIPE_EXIT_CODE = 141  # 128 + SIGPIPE, as a shell reports it


class Commands(TyperGroup):
    """All commands: a closed pipe ends them quietly, a missing library says what to install."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "service":
                raise
            command = f"bestepoch {ctx.invoked_subcommand}"
            raise CommandError(f"`{command}` needs the server: pip install 'bestepoch[server]' ({error})") from error
        except BrokenPipeError:
            # Otherwise Python reports the error again when it flushes stdout at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(SIGPIPE_EXIT_CODE) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Training as a service.",
)
app.add_typer(serve.app)
app.add_typer(train.app)
app.add_typer(jobs.app)
app.add_typer(sweep.app)
app.add_typer(search.app)
app.add_typer(replay.app)
app.add_typer(advice.app)
app.add_typer(models.app)
app.add_typer(reports.app)
app.add_typer(drift.app)
app.add_typer(demo.app, name="demo")
app.add_typer(keys.app, name="keys")
app.add_typer(connections.app, name="connections")
app.add_typer(artifacts.app, name="artifacts")
app.add_typer(datasets.app, name="dataset")
app.add_typer(ray.app, name="ray")
app.add_typer(maintenance.app)


def main() -> None:
    """Entry point of the `bestepoch` command; expected errors are printed as one line, with exit code 2."""
    try:
        app()
    except (ServiceError, CommandError, OSError) as error:
        typer.echo(f"bestepoch: {error}", err=True)
        sys.exit(2)
