"""Commands that run until they are stopped: serve, api, worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.settings import Settings

app = typer.Typer()

Host = Annotated[str | None, typer.Option(help="Address to listen on; default: BESTEPOCH_HOST or 127.0.0.1.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on, 0 for any; default: BESTEPOCH_PORT or 8000.")]


@app.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Run API and worker together, on one machine."""
    settings = _settings(host, port)
    from service.cli.processes import run_both

    run_both(settings)


@app.command()
def api(
    host: Host = None,
    port: Port = None,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that share the port; SIGHUP replaces them one by one.")
    ] = 1,
    process: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run only the API; workers share its database and artifacts."""
    settings = _settings(host, port)
    from service.cli import api_processes

    if process is not None:
        api_processes.run_one(settings, process)
    elif processes > 1:
        raise typer.Exit(api_processes.run_several(settings, processes))
    else:
        api_processes.run_alone(settings)


@app.command()
def worker(until_eof: Annotated[bool, typer.Option(hidden=True)] = False) -> None:
    """Run only a worker: a supervisor and its trainer processes."""
    settings = _settings()
    from service.cli.processes import run_worker

    run_worker(settings, until_eof=until_eof)


def _settings(host: str | None = None, port: int | None = None) -> Settings:
    """The settings of a process that starts others; none of them imports modules from the current folder."""
    from service.settings import remove_cwd_from_module_path

    remove_cwd_from_module_path()
    from service.cli.startup import read_settings

    return read_settings(host, port)
