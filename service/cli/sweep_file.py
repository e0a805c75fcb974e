"""The file of `bestepoch sweep` and `bestepoch search`: parsed from TOML or JSON, and validated."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from service.cli.common import CommandError

FILE_FIELDS = ("file", "target", "base")
SWEEP_FIELDS = (  # passed to the service
    *("name", "labels", "grid", "points", "space", "search", "replicates", "folds", "repeats", "model", "select"),
)


@dataclass(frozen=True)
class SweepFile:
    """A parsed sweep file."""

    table: Path | None
    """The table to upload; None where `base` has its data."""
    target: str | None
    """The target column of the table."""
    base: dict[str, Any]
    """The job spec that every configuration starts from, without the table."""
    fields: dict[str, Any]
    """The other fields of the sweep, validated by the service."""


def read(path: Path) -> SweepFile:
    """Read a sweep file, as JSON if its name ends with .json, else TOML; raises CommandError, OSError."""
    try:
        return _sweep_file(_parsed(path), path.parent)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path}: {error}") from None


def _parsed(path: Path) -> dict[str, Any]:
    text = path.read_bytes().decode()
    content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    if not isinstance(content, dict):
        raise ValueError("should be an object")
    _check_values(content, "")
    return content


def _check_values(value: Any, where: str) -> None:
    """Reject dates of TOML and non-finite numbers: a job spec cannot have them."""
    if isinstance(value, dict):
        for name, child in value.items():
            _check_values(child, f"{where}.{name}" if where else name)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_values(child, f"{where}[{index}]")
    elif isinstance(value, date | time):  # a datetime is a date
        raise ValueError(f"{where} is a date; put it in quotes")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is not a finite number")


def _sweep_file(content: dict[str, Any], folder: Path) -> SweepFile:
    known = (*FILE_FIELDS, *SWEEP_FIELDS)
    if unknown := [name for name in content if name not in known]:
        raise ValueError(f"unknown field {unknown[0]!r}{_suggestion(unknown[0], known)}")
    base, table, target = content.get("base", {}), content.get("file"), content.get("target")
    for name, value, kind in (("base", base, dict), ("file", table, str), ("target", target, str)):
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{name} should be {'a table' if kind is dict else 'text'}")
    if not isinstance(base.get("data", {}), dict):
        raise ValueError("base.data should be a table")
    if (table is None) != (target is None):
        given, missing = ("file", "target") if target is None else ("target", "file")
        raise ValueError(f"{given} needs {missing}")
    if table is None and "data" not in base:
        raise ValueError("no data: set file and target, or base.data")
    _check_grid(content.get("grid"))
    _check_space(content.get("space"))
    fields = {name: content[name] for name in SWEEP_FIELDS if name in content}
    return SweepFile(None if table is None else folder / table, target, base, fields)


def _suggestion(name: str, known: tuple[str, ...]) -> str:
    """The most similar known field, else all of them."""
    similar = get_close_matches(name, known, n=1)
    return f"; did you mean {similar[0]!r}?" if similar else f"; the fields are {', '.join(known)}"


def _check_grid(grid: Any) -> None:
    """Reject unquoted dotted names: TOML reads `optimizer.lr = [...]` as a table `optimizer`."""
    for name, values in grid.items() if isinstance(grid, dict) else ():
        if isinstance(values, dict):
            quoted = f'"{name}.{next(iter(values), "name")}" = [...]'
            raise ValueError(f"grid.{name} should be a list; put names with dots in quotes: {quoted}")


def _check_space(space: Any) -> None:
    """Reject unquoted dotted names in the same way: what they contain is a table of tables."""
    for name, parameter in space.items() if isinstance(space, dict) else ():
        nested = isinstance(parameter, dict) and [key for key, value in parameter.items() if isinstance(value, dict)]
        if nested and nested[0] != "when":
            quoted = f'"{name}.{nested[0]}" = {{...}}'
            raise ValueError(f"space.{name} should be one parameter; put names with dots in quotes: {quoted}")
