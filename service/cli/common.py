"""What the commands that call a service share: options, a client, errors, tables, exit codes.

Exit codes: 0 success; 1 a job failed; 2 the service rejected the request or cannot be reached, or a file is invalid;
3 a job was cancelled; 141 the reader of the output closed the pipe.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from service.domain.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from service.client import Client

Url = Annotated[str, typer.Option(envvar="BESTEPOCH_URL", help="URL of the service.")]
ApiKey = Annotated[str | None, typer.Option(envvar="BESTEPOCH_API_KEY", help="API key.", show_envvar=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
DEFAULT_URL = "http://127.0.0.1:8000"
EXIT_CODES = {Status.failed: 1, Status.cancelled: 3}
PIPE_WIDTH = 200  # characters of a table that is not printed to a terminal


class CommandError(Exception):
    """An error that the user can correct: printed as one line, with exit code 2."""


@contextmanager
def connect(url: str, api_key: str | None) -> Iterator[Client]:
    """A client of the service; a rejected request becomes a CommandError."""
    from service.client import ApiError, Client

    try:
        client = Client(url, api_key, tries=4)
    except ValueError as error:
        raise CommandError(str(error)) from None
    with client:
        try:
            yield client
        except ApiError as error:
            faults = [f"\n  {each.get('pointer') or each.get('parameter')}: {each['message']}" for each in error.errors]
            raise CommandError(f"{error.detail}{''.join(faults) if len(faults) > 1 else ''}") from error


def print_table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table, as wide as the terminal, or up to PIPE_WIDTH characters to a file or a pipe."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False)  # user data is not markup
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    table = Table(*names, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    with console.capture() as text:  # echo() handles a closed pipe; rich would exit by itself
        console.print(table)
    typer.echo(text.get(), nl=False)


def count(number: int, noun: str) -> str:
    """The number with its noun: `1 job`, `2,000 jobs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def about_seconds(seconds: float) -> str:
    """An estimated time in words."""
    return "less than a second" if seconds < 1 else f"about {seconds:,.0f} s"
