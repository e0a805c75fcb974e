"""The file of `bestepoch sweep`, TOML or JSON: the table, the base, and the changes to try."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

from service.cli.common import CommandError

BASE = ("file", "target", "base")
CHANGES = ("name", "labels", "grid", "points", "replicates", "folds")  # as the service has them


@dataclass(frozen=True)
class SweepFile:
    """What stands in the file."""

    table: Path | None
    """To be uploaded; None where `base` has its data."""
    target: str | None
    """The table's column to predict."""
    base: dict[str, Any]
    """The job spec that every point starts from, but for the table."""
    changes: dict[str, Any]
    """The rest of a sweep; whether it can be trained, the service says."""


def read(path: Path) -> SweepFile:
    """The file at `path`: JSON if its name says so, else TOML; raises CommandError with what is wrong and where, OSError."""
    try:
        return _sweep_file(_parsed(path), path.parent)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path}: {error}") from None


def _parsed(path: Path) -> dict[str, Any]:
    text = path.read_bytes().decode()
    found = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    if not isinstance(found, dict):
        raise ValueError("should be an object")
    _check_values(found, "")
    return found


def _check_values(value: Any, where: str) -> None:
    """TOML has dates, and both have numbers, that a job spec cannot have."""
    if isinstance(value, dict):
        for name, child in value.items():
            _check_values(child, f"{where}.{name}" if where else name)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_values(child, f"{where}[{index}]")
    elif isinstance(value, date | time):  # a datetime is a date
        raise ValueError(f"{where} is a date: put it in quotes")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is not a finite number")


def _sweep_file(found: dict[str, Any], folder: Path) -> SweepFile:
    known = (*BASE, *CHANGES)
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"there is no {unknown[0]!r} in a sweep; there are: {', '.join(known)}")
    base, table, target = found.get("base", {}), found.get("file"), found.get("target")
    for name, value, kind in (("base", base, dict), ("file", table, str), ("target", target, str)):
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{name} should be {'a table' if kind is dict else 'text'}")
    if not isinstance(base.get("data", {}), dict):
        raise ValueError("base.data should be a table")
    if (table is None) != (target is None):
        have, lack = ("file", "target") if target is None else ("target", "file")
        raise ValueError(f"{have} needs {lack} beside it")
    if table is None and "data" not in base:
        raise ValueError("nothing to train on: file and target are missing, or base.data")
    _check_grid(found.get("grid"))
    changes = {name: found[name] for name in CHANGES if name in found}
    return SweepFile(None if table is None else folder / table, target, base, changes)


def _check_grid(grid: Any) -> None:
    """TOML reads `optimizer.lr = [...]` as a table `optimizer`, which the service could not make sense of."""
    for name, values in grid.items() if isinstance(grid, dict) else ():
        if isinstance(values, dict):
            quoted = f'"{name}.{next(iter(values), "name")}" = [...]'
            raise ValueError(f"grid.{name} should be a list; names with dots have quotes: {quoted}")
