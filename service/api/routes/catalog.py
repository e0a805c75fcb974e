"""What this server is and offers: architectures, workers, versions."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from service.api.context import Reader
from service.api.pagination import Page
from service.api.strict_route import StrictRoute
from service.spec.architecture import ARCHITECTURES
from service.store import workers
from service.store.workers import WorkerInfo

router = APIRouter(tags=["service"], route_class=StrictRoute)


class ArchitectureInfo(BaseModel):
    """A kind of network that a spec can name."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: str
    """Its name, as `architecture.kind` of a spec."""
    description: str
    """What it is."""
    parameters: dict[str, Any]
    """What can be set, as a JSON Schema."""


class Versions(BaseModel):
    """What this server runs on."""

    model_config = ConfigDict(use_attribute_docstrings=True)

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
    """The kinds of networks that can be trained, each with a JSON Schema of what can be set."""
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
    """The workers that gave a sign of life within the last minute, and the jobs that each trains."""
    with context.database.reading() as connection:
        return Page(data=workers.find(connection))


@router.get("/version", operation_id="get_version", summary="Read versions")
async def get_version(context: Reader) -> Versions:
    """The versions of the service and of what it runs on."""
    return Versions(
        bestepoch=version("bestepoch"),
        python=platform.python_version(),
        torch=version("torch"),
        database="sqlite" if context.database.is_sqlite else "postgresql",
    )
