"""Architectures, live workers, and versions."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter

from service.api.context import Reader
from service.api.pagination import Page
from service.api.strict_route import StrictRoute
from service.spec.architecture import ARCHITECTURES
from service.spec.documented import Documented
from service.store import workers
from service.store.workers import WorkerInfo

router = APIRouter(tags=["service"], route_class=StrictRoute)


class ArchitectureInfo(Documented):
    """A kind of network that a spec can name."""

    kind: str
    """Its name, as `architecture.kind` of a spec."""
    description: str
    """Description."""
    parameters: dict[str, Any]
    """Its settings, as a JSON Schema."""


class Versions(Documented):
    """Versions of the server and its libraries."""

    bestepoch: str
    """Version of this service."""
    python: str
    """Version of Python."""
    torch: str
    """Version of PyTorch installed beside the API."""
    database: str
    """`sqlite` or `postgresql`."""


@router.get("/architectures", operation_id="list_architectures", summary="List architectures")
async def list_architectures(_: Reader) -> Page[ArchitectureInfo]:
    """The kinds of networks, each with a JSON Schema of its settings."""
    return Page(
        data=[
            ArchitectureInfo(
                kind=kind.model_fields["kind"].default, description=kind.__doc__, parameters=kind.model_json_schema()
            )
            for kind in ARCHITECTURES
        ]
    )


@router.get("/workers", operation_id="list_workers", summary="List workers")
def list_workers(context: Reader) -> Page[WorkerInfo]:
    """The workers with a heartbeat in the last minute, and their running jobs."""
    with context.database.reading() as connection:
        return Page(data=workers.find(connection))


@router.get("/version", operation_id="get_version", summary="Read versions")
async def get_version(context: Reader) -> Versions:
    """Versions of the service, Python, PyTorch and the database."""
    return Versions(
        bestepoch=version("bestepoch"),
        python=platform.python_version(),
        torch=version("torch"),
        database="sqlite" if context.database.is_sqlite else "postgresql",
    )
