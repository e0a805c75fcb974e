"""`bestepoch search`: plan and run a search from a file, follow its decisions, and print the winner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import (
    DEFAULT_URL,
    EXIT_CODES,
    ApiKey,
    AsJson,
    CommandError,
    Url,
    about_seconds,
    connect,
    count,
    print_table,
)
from service.cli.search_progress import lines_of
from service.cli.sweep import as_dict, base_of, print_failures, show
from service.cli.sweep_file import read
from service.domain.status import Status

if TYPE_CHECKING:
    from service.client import Sweep
    from service.domain.sweep import Sweep as State

app = typer.Typer()


@app.command(name="search")
def run_search(
    file: Annotated[Path, typer.Argument(help="Search file, TOML or JSON.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the plan; the table is uploaded for it.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Where to save the best job's checkpoint: a file or folder.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Search hyperparameters from a file: print the plan, follow the decisions, print the winner.

    The file is that of `bestepoch sweep` with a `search`, such as {kind = "halving", trials = 64}, and a `space`, as in
    "optimizer.lr" = {log = [1e-4, 0.1]}, from which trials are drawn; halving and hyperband also take a `grid` or
    `points`. With `model`, the winner is published as a version of it.
    """
    search_file = read(file)
    if "search" not in search_file.fields:
        raise CommandError(f"{file}: needs `search`; `bestepoch sweep` trains all points of a grid or list")
    with connect(url, api_key) as client:
        base = base_of(client, search_file)
        plan = client.plan_sweep(base, **search_file.fields)
        if not as_json:
            _print_plan(plan)
        elif dry_run:
            typer.echo(json.dumps(plan))
        if dry_run:
            return
        sweep = client.sweep(base, **search_file.fields)
        _follow(sweep, url, quiet=as_json)
        _print_result(sweep, plan, as_json=as_json)
        if not as_json:
            print_failures(client, sweep)
        if out is not None and sweep.state.best is not None:
            saved = sweep.best().download(out)
            if not as_json:
                typer.echo(f"Saved {saved}")
    raise typer.Exit(_exit_code(sweep.state))


def _print_plan(plan: dict[str, Any]) -> None:
    counts = [count(plan["points"], "trial"), f"{count(plan['jobs'], 'job')} in {count(plan['arrays'], 'array')}"]
    counts += [f"at most {count(plan['epochs'], 'epoch')}"]
    typer.echo(f"Plan: {', '.join(counts)}, {about_seconds(plan['seconds'])} on {count(plan['trainers'], 'trainer')}")
    if plan["rungs"]:
        names = ("bracket", "rung", "trials", "epochs")
        print_table(names, ([str(rung[name]) for name in names] for rung in plan["rungs"]))


def _follow(sweep: Sweep, url: str, *, quiet: bool) -> None:
    """Wait for the end; each step of the search is printed when it is taken."""
    if quiet:
        sweep.wait()
        return
    typer.echo(f"Search {sweep.id}: {url.rstrip('/')}/#/sweep/{sweep.id}", err=True)
    seen = 0

    def report(state: State) -> None:
        nonlocal seen
        new = sweep.decisions(after=seen)
        seen += len(new)
        for line in lines_of(new, state):
            typer.echo(line, err=True)

    report(sweep.state)
    sweep.wait(each=report)
    report(sweep.state)


def _print_result(sweep: Sweep, plan: dict[str, Any], *, as_json: bool) -> None:
    points, state = sweep.summary(), sweep.state
    if as_json:
        decisions = [each.model_dump(mode="json") for each in sweep.decisions()]
        typer.echo(json.dumps({"plan": plan, **as_dict(sweep, points), "decisions": decisions}))
        return
    show(state, points)
    if state.published is not None:
        typer.echo(f"Published version {state.published.version} of {state.published.model}")
    if state.error is not None:
        typer.echo(f"Error: {state.error}", err=True)


def _exit_code(state: State) -> int:
    """Failed trials are part of a search, unless nothing else is left."""
    if state.counts.get(Status.cancelled):
        return EXIT_CODES[Status.cancelled]
    return EXIT_CODES[Status.failed] if state.error is not None or state.best is None else 0
