"""The entry point of the process that reads a connection: it has the network and the secrets, and parses no data.

Started by `fetch.py`. What it brings is parsed by another process, which has neither.
"""

from __future__ import annotations

from typing import Any

from service.connections.messages import Fetched, FetchRequest
from service.data.processes.runner import Allowance, respond
from service.domain.connection import ConnectionKind


def _fetch(asked: dict[str, Any], _: Allowance) -> Fetched:
    """Answer the request; raises what `read_objects` and `read_rows` raise."""
    request = FetchRequest.model_validate(asked)
    if request.connection.kind is ConnectionKind.postgresql:
        from service.connections.query import read_rows

        return read_rows(request)
    from service.connections.objects import read_objects

    return read_objects(request)


if __name__ == "__main__":
    respond(_fetch)
