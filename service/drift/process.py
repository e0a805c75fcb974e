"""Makes the profile of a version in a child process: the API imports no NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask_about_stored, respond
from service.domain.drift import ProfiledMember
from service.errors import DatasetCorrupt, InvalidData, ServiceError


class _Request(BaseModel):
    """The request to the child; lists have an entry for each member, where files are not repeated."""

    checkpoints: list[Path]
    specs: list[dict[str, Any]]
    weights: list[float]
    tables: list[Path]
    table_of: list[int | None]
    predictions: list[Path]
    """Empty: not all members have kept theirs."""
    target: Path


def write_profile(members: Sequence[ProfiledMember], target: Path, allowed: Allowance) -> None:
    """Write the profile of these members as JSON to the new file `target`.

    Raises DatasetCorrupt if a file cannot be read, ReadingLimit, StorageError, Cancelled.
    """
    tables = list(dict.fromkeys(member.table.absolute() for member in members if member.table is not None))
    kept = [member.predictions.absolute() for member in members if member.predictions is not None]
    request = _Request(
        checkpoints=[member.checkpoint.absolute() for member in members],
        specs=[member.spec for member in members],
        weights=[member.weight for member in members],
        tables=tables,
        table_of=[None if member.table is None else tables.index(member.table.absolute()) for member in members],
        predictions=kept if len(kept) == len(members) else [],
        target=target.absolute(),
    )
    ask_about_stored(
        __name__, request, allowed, lambda why: DatasetCorrupt(f"the training rows cannot be profiled: {why}")
    )


def _write(asked: dict[str, Any], _: Allowance) -> None:
    """In the child: respond to the request."""
    from service.data.duckdb_connection import translated_errors
    from service.drift.training import profile_of

    request = _Request.model_validate(asked)
    members = [
        ProfiledMember(
            checkpoint=checkpoint,
            spec=request.specs[place],
            weight=request.weights[place],
            table=None if (of := request.table_of[place]) is None else request.tables[of],
            predictions=request.predictions[place] if request.predictions else None,
        )
        for place, checkpoint in enumerate(request.checkpoints)
    ]
    try:
        with translated_errors():
            found = profile_of(members)
    except ServiceError as error:
        raise InvalidData(error.detail) from error
    request.target.write_text(found.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    respond(_write, "service.drift.training")
