"""The `bestepoch` command.

Its modules import what a command needs where it runs: `--help`, and whoever calls a service, should not wait a second
for the libraries of the database and the API.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from service.cli import demo, keys, remote, servers, sweep, upkeep
from service.cli.calling import Refused
from service.errors import ServiceError

READER_GONE = 141  # what a shell says of a program that SIGPIPE has ended


class Commands(TyperGroup):
    """All commands; each ends quietly when whoever reads what it prints has enough, as in `bestepoch jobs | head`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "service":
                raise
            command = f"bestepoch {ctx.invoked_subcommand}"
            raise Refused(f"`{command}` needs the server: pip install 'bestepoch[server]' ({error})") from error
        except BrokenPipeError:
            # Python would complain once more when it writes out what is left as it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(READER_GONE) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Training as a service.",
)
app.add_typer(servers.app)
app.add_typer(remote.app)
app.add_typer(sweep.app)
app.add_typer(demo.app, name="demo")
app.add_typer(keys.app, name="keys")
app.add_typer(upkeep.app)


def main() -> None:
    """Entry point of the `bestepoch` command; what an operator can mend is said in one line, with exit code 2."""
    try:
        app()
    except (ServiceError, Refused, OSError) as error:
        typer.echo(f"bestepoch: {error}", err=True)
        sys.exit(2)
