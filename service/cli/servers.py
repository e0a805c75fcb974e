"""Commands that run until they are stopped: serve, api, worker."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()

Host = Annotated[str | None, typer.Option(help="Address to listen on; default: BESTEPOCH_HOST or 127.0.0.1.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on, 0 for any; default: BESTEPOCH_PORT or 8000.")]


@app.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Run API and worker together: all that one machine needs."""
    from service.cli.opening import read_settings
    from service.cli.processes import run_both

    run_both(read_settings(host, port))


@app.command()
def api(host: Host = None, port: Port = None) -> None:
    """Run the API alone; workers run elsewhere on the same database and artifacts."""
    from service.cli.opening import read_settings
    from service.cli.processes import run_api

    run_api(read_settings(host, port))


@app.command()
def worker(until_eof: Annotated[bool, typer.Option(hidden=True)] = False) -> None:
    """Run a worker alone: a supervisor and its trainer processes."""
    from service.cli.opening import read_settings
    from service.cli.processes import run_worker

    run_worker(read_settings(), until_eof=until_eof)
