"""What the commands that call a service share: their options, a client, tables, exit codes.

Exit codes: 0 all went well; 1 a job failed; 2 the service refused or cannot be reached, or a file is wrong; 3 a job was
cancelled. All commands: 141 when nobody reads on.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from service.lifecycle import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from service.client import Client

Url = Annotated[str, typer.Option(envvar="BESTEPOCH_URL", help="Where the service is.")]
ApiKey = Annotated[str | None, typer.Option(envvar="BESTEPOCH_API_KEY", help="A key of it.", show_envvar=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the service's JSON instead.")]
HERE = "http://127.0.0.1:8000"
EXIT_CODES = {Status.failed: 1, Status.cancelled: 3}
PIPE_COLUMNS = 200  # of a table that no terminal is there for


class CommandError(Exception):
    """The service refused, or cannot be reached, or would have refused what stands in a file."""


@contextmanager
def service(url: str, api_key: str | None) -> Iterator[Client]:
    """A client; what goes wrong becomes one line and exit code 2."""
    from service.client import ApiError, Client

    try:
        client = Client(url, api_key, tries=4)
    except ValueError as error:
        raise CommandError(str(error)) from None
    with client:
        try:
            yield client
        except ApiError as error:
            places = [f"\n  {each.get('pointer') or each.get('parameter')}: {each['message']}" for each in error.errors]
            raise CommandError(f"{error.detail}{''.join(places) if len(places) > 1 else ''}") from error


def print_table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """As wide as the terminal; as wide as it has to be in a file or a pipe."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False)  # what a spec says is no markup
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    table = Table(*names, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    with console.capture() as text:  # rich has its own way to end when nobody reads on
        console.print(table)
    typer.echo(text.get(), nl=False)
