"""Child side of ingestion: the entry point of the confined process that reads an uploaded file.

Started by `ingest.py`; only this process imports DuckDB, numpy and Pillow, and parses untrusted bytes.
"""

from __future__ import annotations

from typing import Any

from service.data.ingest.pipeline import read_table
from service.data.processes.ingest import IngestRequest
from service.data.processes.runner import Allowance, respond
from service.data.staging import ReadLimits
from service.spec.table import Ingested


def _read(asked: dict[str, Any], allowed: Allowance) -> Ingested:
    """Answer the request; raises what `read_table` raises."""
    request = IngestRequest.model_validate(asked)
    limits = ReadLimits(
        memory_bytes=allowed.memory_bytes,
        unpacked_bytes=allowed.unpacked_bytes,
        profile_bytes=allowed.profile_bytes,
    )
    return read_table(request.sources, request.names, request.parquet, request.options, limits)


if __name__ == "__main__":
    respond(_read)
