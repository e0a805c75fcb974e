"""Commands that run until they are stopped: serve, api, worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from service.settings import Settings

app = typer.Typer()

Host = Annotated[str | None, typer.Option(help="Address to listen on; default: BESTEPOCH_HOST or 127.0.0.1.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on, 0 for any; default: BESTEPOCH_PORT or 8000.")]


@app.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Run API and worker together, on one machine."""
    settings = _settings(host=host, port=port)
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
    settings = _settings(host=host, port=port)
    from service.cli import api_processes

    if process is not None:
        api_processes.run_one(settings, process)
    elif processes > 1:
        raise typer.Exit(api_processes.run_several(settings, processes))
    else:
        api_processes.run_alone(settings)


@app.command()
def worker(
    exit_when_idle: Annotated[
        float | None, typer.Option(help="Exit when nothing was trained for so many seconds; 0: never.")
    ] = None,
    max_jobs: Annotated[int | None, typer.Option(help="Exit after so many jobs; 0: no limit.")] = None,
    labels: Annotated[str | None, typer.Option(help="Labels that jobs may ask for, e.g. gpu=h100,spot=true.")] = None,
    preemptible: Annotated[bool, typer.Option("--preemptible", help="The machine may be taken away.")] = False,
    drain_seconds: Annotated[
        float | None, typer.Option(help="From SIGTERM until the jobs must be saved; default: 20.")
    ] = None,
    until_eof: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run only a worker: a supervisor and its trainer processes."""
    settings = _settings(
        exit_when_idle=exit_when_idle,
        max_worker_jobs=max_jobs,
        worker_labels=labels,
        preemptible=preemptible or None,
        drain_seconds=drain_seconds,
    )
    from service.cli.processes import run_worker

    run_worker(settings, until_eof=until_eof)


def _settings(**options: Any) -> Settings:
    """The settings of a process that starts others; none of them imports modules from the current folder."""
    from service.settings import remove_cwd_from_module_path

    remove_cwd_from_module_path()
    from service.cli.startup import read_settings

    return read_settings(**options)
