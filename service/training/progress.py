"""The progress of a training process, for its watchdog."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ProgressCounter:
    """Counts steps, so that a watchdog sees whether training makes progress."""

    value: int = 0
