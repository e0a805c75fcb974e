"""The `bestepoch` command.

Its modules import what a command needs where it runs: `--help`, and whoever calls a service, should not wait a second
for the libraries of the database and the API.
"""

from __future__ import annotations

import sys

import typer

from service.cli import demo, keys, remote, servers, sweep, upkeep
from service.cli.calling import Refused
from service.errors import ServiceError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Training as a service."
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
