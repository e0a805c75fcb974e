"""Parent side of ingestion: starts a child process that turns an uploaded file into Parquet and a profile.

The API imports this module, so it must not import DuckDB; `ingest_child.py` does the work.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask
from service.spec.read_options import ReadOptions
from service.spec.table import Ingested

CHILD = "service.data.processes.ingest_child"


class IngestRequest(BaseModel):
    """The request to the child."""

    sources: list[Path]
    names: list[str]
    parquet: Path
    options: ReadOptions


def ingest(source: Path, parquet: Path, options: ReadOptions, allowed: Allowance) -> Ingested:
    """Read the file `source`, of any format, and write its table to the new file `parquet`.

    Blocks and raises as `ask` does; `parquet` does not exist then.
    """
    return ingest_files({source.name: source}, parquet, options, allowed)


def ingest_files(sources: Mapping[str, Path], parquet: Path, options: ReadOptions, allowed: Allowance) -> Ingested:
    """As `ingest`, for several files of one format, by names for errors and warnings: their rows one after another.

    Blocks and raises as `ask` does; `parquet` does not exist then.
    """
    folder = parquet.parent.absolute() / f"ingest-{secrets.token_hex(8)}"
    folder.mkdir()
    try:
        table = folder / "table.parquet"
        places = [source.absolute() for source in sources.values()]
        request = IngestRequest(sources=places, names=list(sources), parquet=table, options=options)
        ingested = Ingested.model_validate(ask(CHILD, request, allowed))
        table.replace(parquet)
        return ingested
    finally:
        shutil.rmtree(folder, ignore_errors=True)
