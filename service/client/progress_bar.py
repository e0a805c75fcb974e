"""Bars of progress on the error stream, for who waits at a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

    from service.lifecycle import Epoch
    from service.sweep_records import Sweep

BARS = "▁▂▃▄▅▆▇█"
CURVE = 40  # epochs in it


@contextmanager
def of_epochs(total: int) -> Iterator[Callable[[Epoch], None] | None]:
    """What to call with each epoch, for a bar with the curve of the last losses; None where there is no terminal."""
    bar = _bar("{task.fields[curve]} {task.fields[said]}")
    if bar is None:
        yield None
        return
    losses = list[float]()
    with bar:
        task = bar.add_task("", total=total, curve="", said="")

        def each(epoch: Epoch) -> None:
            loss = epoch.train_loss if epoch.val_loss is None else epoch.val_loss
            if loss is not None:
                losses.append(loss)
            bar.update(task, completed=epoch.epoch, curve=curve(losses), said=epoch.reason)

        yield each


@contextmanager
def of_jobs(total: int) -> Iterator[Callable[[Sweep], None] | None]:
    """What to call with a sweep as it stands, for a bar of its jobs; None where there is no terminal."""
    bar = _bar("{task.fields[said]}")
    if bar is None:
        yield None
        return
    with bar:
        task = bar.add_task("", total=total, said="")

        def each(sweep: Sweep) -> None:
            ended = sum(count for status, count in sweep.counts.items() if status.terminal)
            best = sweep.best
            said = f"best {best.monitor} {best.value:.4g} at epoch {best.epoch}" if best else ""
            bar.update(task, completed=ended, said=said)

        yield each


def curve(losses: list[float]) -> str:
    """The last of them as bars."""
    shown = losses[-CURVE:]
    low, high = (min(shown), max(shown)) if shown else (0.0, 0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((loss - low) * scale)] for loss in shown)


def _bar(*columns: Any) -> Progress | None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    return Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), *columns, console=console)
