"""Progress bars on standard error, shown only in a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress, ProgressColumn

    from service.domain.epoch import Epoch
    from service.domain.sweep import Sweep, SweepResult

BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_EPOCHS = 40


@contextmanager
def of_bytes(total: int) -> Iterator[Callable[[int], None] | None]:
    """A callback for bytes that are done, which advances a bar; None without a terminal."""
    from rich.progress import DownloadColumn, TransferSpeedColumn

    bar = _bar(TransferSpeedColumn(), count=DownloadColumn())
    if bar is None:
        yield None
        return
    with bar:
        task = bar.add_task("", total=total)
        yield lambda number: bar.advance(task, number)


@contextmanager
def of_epochs(total: int) -> Iterator[Callable[[Epoch], None] | None]:
    """A callback for each epoch that advances a bar with the latest loss curve; None without a terminal."""
    bar = _bar("{task.fields[curve]} {task.fields[message]}")
    if bar is None:
        yield None
        return
    losses = list[float]()
    with bar:
        task = bar.add_task("", total=total, curve="", message="")

        def update(epoch: Epoch) -> None:
            loss = epoch.train_loss if epoch.val_loss is None else epoch.val_loss
            if loss is not None:
                losses.append(loss)
            bar.update(task, completed=epoch.epoch, curve=curve(losses), message=epoch.reason)

        yield update


@contextmanager
def of_jobs(total: int) -> Iterator[Callable[[Sweep], None] | None]:
    """A callback for the state of a sweep that advances a bar of ended jobs; None without a terminal."""
    bar = _bar("{task.fields[message]}")
    if bar is None:
        yield None
        return
    with bar:
        task = bar.add_task("", total=total, message="")

        def update(sweep: Sweep) -> None:
            ended = sum(count for status, count in sweep.counts.items() if status.terminal)
            bar.update(task, completed=ended, message=_best(sweep))

        yield update


@contextmanager
def of_planned_epochs(planned: int) -> Iterator[Callable[[Sweep, list[SweepResult]], None] | None]:
    """A callback for the state and the results of a sweep that advances a bar of epochs; None without a terminal.

    `planned`: epochs of all jobs together, at most. What a job leaves by stopping early counts as done.
    """
    bar = _bar("{task.fields[message]}")
    if bar is None:
        yield None
        return
    with bar:
        task = bar.add_task("", total=planned, message="")

        def update(sweep: Sweep, results: list[SweepResult]) -> None:
            share = planned / max(1, sweep.jobs)
            done = sum(share if job.status.terminal else min(share, job.epochs) for job in results)
            if sweep.published is not None:
                message = f"published {sweep.published.model}:{sweep.published.version}"
            else:
                message = _best(sweep)
            bar.update(task, completed=round(done), message=message)

        yield update


def _best(sweep: Sweep) -> str:
    best = sweep.best
    return f"best {best.monitor} {best.value:.4g} at epoch {best.epoch}" if best else ""


def curve(losses: list[float]) -> str:
    """The last losses as block characters, scaled between their minimum and maximum."""
    shown = losses[-CURVE_EPOCHS:]
    low, high = (min(shown), max(shown)) if shown else (0.0, 0.0)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((loss - low) * scale)] for loss in shown)


def _bar(*columns: Any, count: ProgressColumn | None = None) -> Progress | None:
    """A bar with a column that counts, by default numbers; None without a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    return Progress(BarColumn(), count or MofNCompleteColumn(), TimeElapsedColumn(), *columns, console=console)
