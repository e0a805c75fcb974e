"""Data sets: upload, read from a connection, refresh, list, read, preview, delete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool

from service.api import data_reference, dataset_references, expensive_work
from service.api.context import Admin, DatasetId, Reader, RequestContext, Submitter
from service.api.dataset_references import Asked
from service.api.dataset_storage import Source, store
from service.api.http import uploads
from service.api.http.openapi import REFERENCE_EXAMPLES, problems
from service.api.http.read_options import Options
from service.api.pagination import Limit, Page, cursor, page_of
from service.api.routes.jobs import IdempotencyKey, fingerprint
from service.api.strict_route import StrictRoute
from service.data.processes.preview import preview_rows
from service.spec.base import Name
from service.spec.data_reference import DataReference
from service.spec.documented import Documented
from service.spec.read_options import ReadOptions
from service.spec.table import Dataset, DatasetSummary, Value
from service.store import datasets
from service.store.datasets import Import, Referenced

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=StrictRoute)

PAGE_BYTES = 16 * 1024**2
"""Column profiles of a page of data sets; a page has at least one data set."""

_BINARY = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "properties": {"file": {**_BINARY, "description": "The file."}}, "required": ["file"]}
_BODY = {
    "content": {
        "application/octet-stream": {"schema": _BINARY},
        "multipart/form-data": {"schema": _FORM},
        "application/json": {"schema": data_reference.schema(), "examples": REFERENCE_EXAMPLES},
    },
    "required": True,
}
_LOCATION = {"Location": {"description": "URL of the data set.", "schema": {"type": "string"}}}


class Preview(Documented):
    """The first rows of a data set."""

    object: Literal["list"] = "list"
    """What this JSON object is."""
    data: list[dict[str, Value | None]]
    """Rows by column name, null where a value is missing."""


_CREATED: dict[int | str, dict[str, Any]] = {
    **problems(400, 413, 424, 507),
    200: {"model": Dataset, "description": "The same bytes were read before with the same options."},
    201: {"headers": _LOCATION},
}


@router.post(
    "",
    status_code=201,
    operation_id="create_dataset",
    summary="Upload a table, or read it from a connection",
    response_description="The data set.",
    openapi_extra={"requestBody": _BODY},
    responses=_CREATED,
)
async def create_dataset(
    request: Request,
    response: Response,
    context: Submitter,
    options: Options,
    name: Annotated[Name | None, Query(description="An optional name.")] = None,
    key: IdempotencyKey = None,
) -> Dataset:
    """Upload a file as the request's body (`curl --data-binary @file.csv`), or as the field `file` of a form.

    CSV, JSON Lines, Parquet, NPZ, NPY or a zip of PNG and JPEG images in a folder per class, as it is or packed with
    gzip or zstd: the format is detected from the bytes, and `read_as` reports it. The same bytes with the same options
    are the same data set: the second upload answers 200.

    A body of `application/json` that is one object names instead a connection that an operator has declared, with the
    path of files in it, or a query; the options for reading files are then fields of the object. What is read is
    stored as a snapshot, like an upload, and `provenance` says where it comes from. With an `Idempotency-Key` such a
    request can be repeated safely. An upload needs none.
    """
    reference, request = await data_reference.read(request)
    if reference is not None:
        if name is not None or options != ReadOptions():
            raise data_reference.refused(reference, "connection", "has its name and options in the body")
        asked = Asked(reference, Import(None, key, fingerprint(reference)))
        dataset, created = await _read(context, request, asked)
        return _answer(response, dataset, created=created)
    with context.state.quota.upload(context.database, context.caller.tenant) as reservation:
        async with contextmanager_in_threadpool(context.state.artifacts.scratch()) as folder:
            place, limit = folder / "source", context.state.settings.max_upload_bytes
            upload = await uploads.receive(reservation.watch(request), place, limit)
            canonical = options.model_dump_json(exclude_none=True)
            source = Source({place.name: place}, upload.sha256, upload.size_bytes, options, canonical, name)
            work = store, context, folder, source, reservation
            dataset, created = await expensive_work.run(context, request, context.state.ingest_slots, *work)
    return _answer(response, dataset, created=created)


@router.post(
    "/{dataset_id}/refresh",
    status_code=201,
    operation_id="refresh_dataset",
    summary="Read a data set from its connection again",
    response_description="A new data set: the next version.",
    responses={**_CREATED, **problems(404, 409)},
)
async def refresh_dataset(
    dataset_id: DatasetId, context: Submitter, request: Request, response: Response, key: IdempotencyKey = None
) -> Dataset:
    """Read the path or query of a data set again, with the same options, into a new data set of the same name.

    It has the next `version`; this one stays as it is, with the jobs that were trained on it. If the bytes are those of
    a version that exists, nothing is stored, and the answer is 200 with that version: of this one, if nothing has
    changed. 409 for a data set that was uploaded.
    """
    found = await run_in_threadpool(_referenced, context, dataset_id)
    reference = DataReference.model_validate_json(found.reference).model_copy(update={"name": found.name})
    sha256 = fingerprint(reference)
    asked = Asked(reference, Import(found.series, key, f"{dataset_id} {sha256}"), refreshed_from=dataset_id)
    dataset, created = await _read(context, request, asked)
    return _answer(response, dataset, created=created)


def _referenced(context: RequestContext, dataset_id: str) -> Referenced:
    with context.database.reading() as connection:
        return datasets.referenced(connection, dataset_id)


async def _read(context: RequestContext, request: Request, asked: Asked) -> tuple[Dataset, bool]:
    """(the data set of a reference, whether it is new); its reading ends when the client has gone.

    A slot for fetching is held while other servers answer, and only then one for reading files.
    """
    tenant, state = context.caller.tenant, context.state
    with state.quota.upload(context.database, tenant) as reservation:
        async with contextmanager_in_threadpool(state.artifacts.scratch()) as folder:

            async def fetched_and_stored() -> tuple[Dataset, bool]:
                work = dataset_references.fetch_source, context, asked, folder, reservation
                source = await state.fetch_slots.run(tenant, *work)
                if isinstance(source, Dataset):
                    return source, False
                return await state.ingest_slots.run(tenant, store, context, folder, source, reservation)

            return await expensive_work.until_disconnect(request, fetched_and_stored())


def _answer(response: Response, dataset: Dataset, *, created: bool) -> Dataset:
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    if not created:
        response.status_code = 200
    return dataset


@router.get("", operation_id="list_datasets", summary="List data sets")
def list_datasets(
    context: Reader,
    limit: Limit = 20,
    after: Annotated[str | None, cursor("ds")] = None,
    columns: Annotated[bool, Query(description="`true`: with `columns`, instead of `column_count`.")] = False,
) -> Page[DatasetSummary] | Page[Dataset]:
    """Data sets, newest first.

    Column profiles, of one or two kilobytes each, are left out: they are in `GET /v1/datasets/{dataset_id}`, or here
    with `columns=true`, where a page has fewer items if their profiles exceed 16 MiB.
    """
    with context.database.reading() as connection:
        if not columns:
            summaries = datasets.summaries(connection, limit=limit + 1, after=after)
            return page_of(summaries, limit, lambda summary: summary.id)
        limit = datasets.count_within(connection, limit=limit, after=after, max_bytes=PAGE_BYTES)
        found = datasets.find(connection, limit=limit + 1, after=after)
    return page_of(found, limit, lambda dataset: dataset.id)


@router.get("/{dataset_id}", operation_id="get_dataset", summary="Read a data set", responses=problems(404))
def get_dataset(dataset_id: DatasetId, context: Reader) -> Dataset:
    """Its schema and a profile of each column."""
    with context.database.reading() as connection:
        return datasets.get(connection, dataset_id)


@router.get(
    "/{dataset_id}/preview", operation_id="preview_dataset", summary="Preview the first rows", responses=problems(404)
)
async def preview_dataset(
    dataset_id: DatasetId,
    context: Reader,
    request: Request,
    rows: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 10,
) -> Preview:
    """The first rows as stored: times as text, null for missing values.

    Text of more than 1,000 characters is truncated with an ellipsis. There are fewer rows than requested if they would
    have more than 100,000 values or 4 MiB.
    """

    def read() -> list[dict[str, Any]]:
        with context.database.reading() as connection:
            file = datasets.file_of(connection, dataset_id)
        return preview_rows(context.state.artifacts.path(*file), rows, context.state.file_process_limits)

    return Preview(data=await expensive_work.run(context, request, context.state.preview_slots, read))


@router.delete(
    "/{dataset_id}",
    status_code=204,
    operation_id="delete_dataset",
    summary="Delete a data set",
    response_description="The data set is deleted.",
    responses=problems(404, 409),
)
def delete_dataset(dataset_id: DatasetId, context: Admin) -> None:
    """Delete a data set; 409 while a live job needs it. Ended jobs keep their results."""
    with context.database.transaction() as connection:
        datasets.remove(connection, dataset_id)
