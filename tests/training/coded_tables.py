"""A table with text columns, as jobs with codes and embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from service.data.preprocess.dataset import Prepared, prepare
from service.spec.resolve import Resolved
from tests.data.tables import Stored, store

ROWS = 90


def coded_table(folder: Path) -> Stored:
    """Three numbers, and texts: one with rare and missing values, one complete; the target depends on all."""
    rng = np.random.default_rng(3)
    lines = ["a,b,c,city,kind,y,class"]
    for place in range(ROWS):
        a, b, c = rng.normal(size=3).round(3)
        city = f"village {place}" if place % 11 == 0 else "" if place % 13 == 0 else f"c{rng.integers(5)}"
        kind = "uvw"[rng.integers(3)]
        y = a + (city > "c2") - 0.5 * (kind == "v") + np.sin(3 * b)
        lines.append(f"{a},{b},{c},{city},{kind},{y:.4f},{'up' if y > 0.4 else 'down'}")
    return store(folder, "\n".join(lines) + "\n")


def coded(table: Stored, target: str = "class", **fields: Any) -> tuple[Resolved, Prepared]:
    """A job on this table whose texts have codes, and its rows."""
    others = {"class", "y"} - {target}
    names = [column.name for column in table.columns if column.name not in {target, *others}]
    fields.setdefault("data", {"features": names})
    preprocess = {"categorical": "embedding", **fields.pop("preprocess", {})}
    resolved = table.resolve(target, preprocess=preprocess, **fields)
    return resolved, prepare(resolved.preparation, table.parquet)
