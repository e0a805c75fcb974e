"""Data sets over HTTP: upload, list, read, look inside, delete."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from pydantic import BaseModel, ConfigDict

from service.api import expensive_work
from service.api.context import Admin, DatasetId, Limit, Page, Reader, Service, Submitter, cursor, page_of
from service.api.http import uploads
from service.api.http.openapi import problems
from service.api.http.read_options import Options
from service.api.quota import Held
from service.api.strict_route import Route
from service.data.processes.ingest import ingest
from service.data.processes.preview import preview_rows
from service.spec.base import Name
from service.spec.read_options import ReadOptions
from service.spec.table import Dataset, DatasetSummary, Value
from service.store import datasets
from service.store.ids import new_id

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=Route)

PAGE_BYTES = 16 * 1024**2
"""Of what is known of the columns of a page's data sets; a single one is never left out."""

_BINARY = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "properties": {"file": {**_BINARY, "description": "The file."}}, "required": ["file"]}
_UPLOAD = {
    "content": {"application/octet-stream": {"schema": _BINARY}, "multipart/form-data": {"schema": _FORM}},
    "required": True,
}
_LOCATION = {"Location": {"description": "Where the data set is.", "schema": {"type": "string"}}}


class Preview(BaseModel):
    """The first rows of a data set."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["list"] = "list"
    """What this JSON object is."""
    data: list[dict[str, Value | None]]
    """Rows by column name, null where a value is missing."""


@router.post(
    "",
    status_code=201,
    operation_id="create_dataset",
    summary="Upload a table",
    response_description="The data set.",
    openapi_extra={"requestBody": _UPLOAD},
    responses={
        **problems(400, 413, 507),
        200: {"model": Dataset, "description": "These bytes, read like this, were uploaded before."},
        201: {"headers": _LOCATION},
    },
)
async def create_dataset(
    request: Request,
    response: Response,
    service: Submitter,
    options: Options,
    name: Annotated[Name | None, Query(description="A name for people.")] = None,
) -> Dataset:
    """Upload a file as the request's body (`curl --data-binary @file.csv`), or as the field `file` of a form.

    CSV, JSON Lines, Parquet, NPZ, NPY or a zip of PNG and JPEG images in a folder per class, as it is or packed with
    gzip or zstd: all of it is found by looking at the bytes, and `read_as` says what was found. The same bytes read
    with the same options are the same data set: the second upload answers 200.
    """
    with service.parts.quota.upload(service.database, service.caller.tenant) as held:
        async with contextmanager_in_threadpool(service.parts.artifacts.scratch()) as folder:
            source, limit = folder / "source", service.parts.settings.max_upload_bytes
            upload = await uploads.receive(held.watch(request), source, limit)
            dataset, created = await expensive_work.run(
                service, request, service.parts.ingesting, _take, service, folder, upload, held, name, options
            )
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    if not created:
        response.status_code = 200
    return dataset


def _take(
    service: Service, folder: Path, upload: uploads.Upload, held: Held, name: str | None, options: ReadOptions
) -> tuple[Dataset, bool]:
    """Read the file, store it as Parquet, then its row; the known data set and False if it is one."""
    canonical = options.model_dump_json(exclude_none=True)
    with service.database.reading() as connection:
        known = datasets.find_same(connection, upload.sha256, canonical)
        if known is None:
            datasets.check_quota(connection, service.parts.settings.max_dataset_bytes, more=1)
    if known is not None:
        return known, False
    parquet, dataset_id = folder / "data.parquet", new_id("ds")
    ingested = ingest(folder / "source", parquet, options, service.parts.allowed)
    dataset = Dataset.of(
        ingested,
        id=dataset_id,
        name=name,
        sha256=upload.sha256,
        source_bytes=upload.size_bytes,
        created_at=datetime.now(UTC),
    )
    more = dataset.parquet_bytes + datasets.profile_bytes(dataset)
    service.parts.quota.check(service.database, service.caller.tenant, more, beside=held)
    key = f"datasets/{dataset_id}/data.parquet"
    service.parts.artifacts.adopt(parquet, key)
    committing = False
    try:
        with service.database.transaction() as connection:
            dataset, created = datasets.add(connection, dataset, path=key, options=canonical)
            if created:
                datasets.check_quota(connection, service.parts.settings.max_dataset_bytes)
            committing = created
    finally:
        # A commit that fails may have been made: a row may name the file, and only the collector can tell.
        if not committing:
            service.parts.artifacts.delete(key)
    return dataset, created


@router.get("", operation_id="list_datasets", summary="List data sets")
def list_datasets(
    service: Reader,
    limit: Limit = 20,
    after: Annotated[str | None, cursor("ds")] = None,
    columns: Annotated[bool, Query(description="`true`: with `columns`, instead of `column_count`.")] = False,
) -> Page[DatasetSummary] | Page[Dataset]:
    """Data sets, newest first.

    Without what is known of their columns, a kilobyte or two each, and images have thousands: that is in
    `GET /v1/datasets/{dataset_id}`, or here with `columns=true`, where a page ends early if they take more than 16 MiB.
    """
    with service.database.reading() as connection:
        if not columns:
            summaries = datasets.summaries(connection, limit=limit + 1, after=after)
            return page_of(summaries, limit, lambda summary: summary.id)
        limit = datasets.count_within(connection, limit=limit, after=after, max_bytes=PAGE_BYTES)
        found = datasets.find(connection, limit=limit + 1, after=after)
    return page_of(found, limit, lambda dataset: dataset.id)


@router.get("/{dataset_id}", operation_id="get_dataset", summary="Read a data set", responses=problems(404))
def get_dataset(dataset_id: DatasetId, service: Reader) -> Dataset:
    """Its schema and a profile of each column."""
    with service.database.reading() as connection:
        return datasets.get(connection, dataset_id)


@router.get(
    "/{dataset_id}/preview", operation_id="preview_dataset", summary="Look at the first rows", responses=problems(404)
)
async def preview_dataset(
    dataset_id: DatasetId,
    service: Reader,
    request: Request,
    rows: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 10,
) -> Preview:
    """The first rows as they are stored: times as text, null where a value is missing.

    A text of more than 1,000 characters is cut, and ends in an ellipsis. There are fewer rows than asked for where they
    would hold more than 100,000 values, or take more than 4 MiB.
    """

    def read() -> list[dict[str, Any]]:
        with service.database.reading() as connection:
            path = service.parts.artifacts.path(datasets.path_of(connection, dataset_id))
        return preview_rows(path, rows, service.parts.allowed)

    return Preview(data=await expensive_work.run(service, request, service.parts.previewing, read))


@router.delete(
    "/{dataset_id}",
    status_code=204,
    operation_id="delete_dataset",
    summary="Delete a data set",
    response_description="The data set is gone.",
    responses=problems(404, 409),
)
def delete_dataset(dataset_id: DatasetId, service: Admin) -> None:
    """Delete a data set. One that a job still needs is refused; jobs that have ended keep their results."""
    with service.database.transaction() as connection:
        datasets.remove(connection, dataset_id)
