"""From a table to a published model: the sweep of a preset, its progress, and a name for the model."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.client import progress_bar
from service.spec.table import Dataset, DatasetSummary

if TYPE_CHECKING:
    from service.client.model import Model
    from service.client.sweep import Sweep

MAX_NAME = 63  # characters of a DNS label


def model_name(data: Any, target: str | None) -> str:
    """A name for the model of this table: that of its file or data set without the ending, else that of the target."""
    text = None
    if isinstance(data, Dataset | DatasetSummary):
        text = data.name
    elif isinstance(data, str | Path):
        text = Path(data).name
    return _label((text or "").partition(".")[0]) or _label(target or "") or "model"


def published_model(sweep: Sweep, epochs: int, *, progress: bool = True) -> Model:
    """Wait for the model of a sweep with `model`; an interrupt cancels the sweep.

    `epochs`: of all jobs together, for the progress bar. Raises RuntimeError with the reason if there is none.
    """
    try:
        _wait(sweep, epochs, progress=progress)
    except BaseException:
        with suppress(Exception):
            sweep.cancel()
        raise
    model = sweep.published
    if model is None:
        raise RuntimeError(f"{sweep.id} has published no model: {sweep.state.error or sweep.state.status}")
    return model


def _wait(sweep: Sweep, epochs: int, *, progress: bool) -> None:
    if not progress:
        sweep.wait()
        return
    with progress_bar.of_planned_epochs(epochs) as update:
        sweep.wait(each=None if update is None else lambda state: update(state, sweep.results()))


def _label(text: str) -> str:
    """The text as a DNS label, as names of models are; "" if nothing is left."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:MAX_NAME].strip("-")
