"""/v1/datasets/uploads: upload a large file in parts, resume it, and make it a data set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from pydantic import Field, StringConstraints

from service.api import expensive_work
from service.api.context import RequestContext, Submitter
from service.api.dataset_uploads import complete, delete_parts, find, received_parts
from service.api.http import uploads as bodies
from service.api.http.openapi import problems
from service.api.pagination import Limit, Page, cursor, page_of
from service.api.strict_route import StrictRoute
from service.domain.upload import Upload, part_bytes
from service.errors import Conflict, FieldError, InvalidRequest, NotFound, TooLarge
from service.spec.base import FrozenModel, Int, Name
from service.spec.read_options import ReadOptions
from service.spec.table import Dataset
from service.store import datasets, uploads
from service.store.ids import new_id

router = APIRouter(prefix="/datasets/uploads", tags=["datasets"], route_class=StrictRoute)

URL_SECONDS = 900
"""How long a presigned URL of a part is valid; `GET` makes new ones."""
UPLOAD_LIFETIME = timedelta(days=1)
"""Time until an upload that was not completed expires, from when it was started or resumed."""
MAX_INCOMPLETE = 100
"""Uploads of a tenant that are not complete."""

UploadId = Annotated[str, InPath(description="The upload's id.", examples=["up_18d2f3c1a2b40007d1e2f3a4"])]
PartNumber = Annotated[int, InPath(ge=1, description="The part's number, from 1.")]
Sha256 = Annotated[str, StringConstraints(strict=True, pattern="^[0-9a-f]{64}$")]
_BINARY = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "required": True,
}


class NewUpload(ReadOptions):
    """A file to be uploaded in parts, with the options for reading it."""

    name: Name | None = None
    """Name of the data set to be."""
    size_bytes: Annotated[Int, Field(ge=1)]
    """Size of the whole file."""
    sha256: Sha256 | None = None
    """SHA-256 of the whole file, in hex: the parts together must have it. With it, a repeated request resumes the same
    upload."""

    @property
    def options(self) -> ReadOptions:
        """How the file is to be read."""
        given = {name: getattr(self, name) for name in ReadOptions.model_fields}
        return ReadOptions(**given | {"null": None if self.null is None else sorted(set(self.null))})


class UploadPart(FrozenModel):
    """A part of a file: its bytes from `(number - 1) * part_bytes` on."""

    number: int
    """The part's number, from 1."""
    size_bytes: int
    """Its size."""
    received: bool
    """Whether it is stored."""
    url: str | None
    """Where to PUT it, without an API key, within 15 minutes; null: to `.../parts/{number}`, which always works."""


class UploadState(Upload):
    """An upload and its parts."""

    parts: list[UploadPart]
    """All parts of the file, or none once it is a data set."""


@router.post(
    "",
    status_code=201,
    operation_id="start_upload",
    summary="Start or resume an upload in parts",
    response_description="The upload.",
    responses={
        **problems(400, 409, 413, 415),
        200: {
            "model": UploadState,
            "description": "An upload of the same bytes, or their data set, was there already.",
        },
        201: {"headers": {"Location": {"description": "URL of the upload.", "schema": {"type": "string"}}}},
    },
)
def start_upload(new: NewUpload, context: Submitter, response: Response) -> UploadState:
    """For large files: PUT each part, then POST to `.../complete`, which answers as `POST /v1/datasets` does.

    With the `sha256` of a file that is being uploaded with the same options, the answer is that upload with the parts
    that are there, so that a client can resume it; with that of a file that is a data set already, an upload that is
    complete. The size of the file counts against the storage quota until the upload is complete, deleted or expired.
    """
    settings, options = context.state.settings, new.options
    if new.size_bytes > settings.max_upload_bytes:
        message = f"must not exceed {settings.max_upload_bytes:,} bytes, the limit of an upload"
        raise TooLarge(f"size_bytes {message}", (FieldError("/size_bytes", message),))
    expires_at = datetime.now(UTC) + UPLOAD_LIFETIME
    found = _resumed(context, new, options, expires_at)
    if found is None:
        found = Upload(
            id=new_id("up"),
            name=new.name,
            size_bytes=new.size_bytes,
            sha256=new.sha256,
            options=options,
            part_bytes=part_bytes(new.size_bytes, settings.upload_part_bytes),
            dataset_id=_known_dataset(context, new, options),
            created_at=datetime.now(UTC),
            expires_at=expires_at,
        )
        _add(context, found)
    else:
        response.status_code = 200
    response.headers["Location"] = f"/v1/datasets/uploads/{found.id}"
    return _state(context, found)


def _resumed(context: RequestContext, new: NewUpload, options: ReadOptions, expires_at: datetime) -> Upload | None:
    if new.sha256 is None:
        return None
    with context.database.transaction() as connection:
        found = uploads.find_same(connection, new.sha256, new.size_bytes, options)
        if found is None:
            return None
        uploads.postpone_expiry(connection, found.id, expires_at)
    return found.model_copy(update={"expires_at": expires_at})


def _known_dataset(context: RequestContext, new: NewUpload, options: ReadOptions) -> str | None:
    """Id of the data set of the same bytes and options, if there is one."""
    if new.sha256 is None:
        return None
    with context.database.reading() as connection:
        known = datasets.find_same(connection, new.sha256, uploads.canonical(options))
    return None if known is None else known.id


def _add(context: RequestContext, upload: Upload) -> None:
    """Store a new upload; raises QuotaExceeded, Conflict."""
    if upload.dataset_id is None:
        with context.database.reading() as connection:
            datasets.check_quota(connection, context.state.settings.max_dataset_bytes, more=1)
            if uploads.count_incomplete(connection) >= MAX_INCOMPLETE:
                raise Conflict(f"{MAX_INCOMPLETE} uploads are not complete: complete or delete some")
        context.check_quota(upload.size_bytes)
    with context.database.transaction() as connection:
        uploads.add(connection, upload)


@router.get("", operation_id="list_uploads", summary="List uploads in parts")
def list_uploads(
    context: Submitter, limit: Limit = 20, after: Annotated[str | None, cursor("up")] = None
) -> Page[Upload]:
    """Uploads that are not complete, newest first."""
    with context.database.reading() as connection:
        found = uploads.find(connection, limit=limit + 1, after=after)
    return page_of(found, limit, lambda upload: upload.id)


@router.get("/{upload_id}", operation_id="get_upload", summary="Read an upload in parts", responses=problems(404))
def get_upload(upload_id: UploadId, context: Submitter) -> UploadState:
    """Which parts are stored, and where to PUT the others."""
    return _state(context, find(context, upload_id))


def _state(context: RequestContext, upload: Upload) -> UploadState:
    sizes: dict[int, int] = upload.part_sizes if upload.dataset_id is None else {}
    received = received_parts(context, upload) if sizes else set[int]()
    presigned = context.state.settings.transfers == "presigned"

    def url(number: int) -> str | None:
        if number in received or not presigned:
            return None
        return context.state.artifacts.upload_url(upload.key(number), URL_SECONDS)

    parts = [
        UploadPart(number=number, size_bytes=size, received=number in received, url=url(number))
        for number, size in sizes.items()
    ]
    return UploadState(**dict(upload), parts=parts)


@router.put(
    "/{upload_id}/parts/{number}",
    status_code=204,
    operation_id="put_upload_part",
    summary="Upload a part",
    response_description="The part is stored.",
    openapi_extra={"requestBody": _BINARY},
    responses=problems(400, 404, 409, 413, 507),
)
async def put_upload_part(upload_id: UploadId, number: PartNumber, context: Submitter, request: Request) -> None:
    """The bytes of the part as the request's body. A part may be sent again, and replaces what was there."""
    upload = await run_in_threadpool(find, context, upload_id)
    if upload.dataset_id is not None:
        raise Conflict(f"the upload is complete: its data set is {upload.dataset_id!r}")
    size = upload.part_sizes.get(number)
    if size is None:
        raise NotFound(f"the upload has no part {number}: its last one is {len(upload.part_sizes)}")
    artifacts, key = context.state.artifacts, upload.key(number)
    # Bodies on the disk, of the same part among others, may together take what the upload has reserved, and is left.
    with context.state.quota.upload(context.database, context.caller.tenant, beside=upload) as reservation:
        async with contextmanager_in_threadpool(artifacts.scratch()) as folder:
            received = await bodies.receive(reservation.watch(request), folder / "part", size)
            if received.size_bytes != size:
                raise InvalidRequest(f"part {number} has {size:,} bytes, but the body {received.size_bytes:,}")
            work = partial(artifacts.adopt, folder / "part", key, replace=True)
            await expensive_work.run(context, request, context.state.store_slots, work)


@router.post(
    "/{upload_id}/complete",
    status_code=201,
    operation_id="complete_upload",
    summary="Make an upload in parts a data set",
    response_description="The data set.",
    responses={
        **problems(404, 409, 413, 507),
        200: {"model": Dataset, "description": "The same bytes were uploaded before with the same options."},
        201: {"headers": {"Location": {"description": "URL of the data set.", "schema": {"type": "string"}}}},
    },
)
async def complete_upload(upload_id: UploadId, context: Submitter, request: Request, response: Response) -> Dataset:
    """Read the file, as `POST /v1/datasets` does; the parts are deleted then. A repeated request answers 200.

    409 while parts are missing. A file that cannot be read, or whose SHA-256 is not the one that was given, is a 422,
    and the upload stays: send parts again, or delete it.
    """
    slots = context.state.ingest_slots
    dataset, created = await expensive_work.run(context, request, slots, complete, context, upload_id)
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    if not created:
        response.status_code = 200
    return dataset


@router.delete(
    "/{upload_id}",
    status_code=204,
    operation_id="delete_upload",
    summary="Delete an upload in parts",
    response_description="The upload and its parts are deleted.",
    responses=problems(404),
)
def delete_upload(upload_id: UploadId, context: Submitter) -> None:
    """Delete the parts that were sent. A data set that the upload became stays."""
    with context.database.transaction() as connection:
        upload = uploads.get(connection, upload_id)
        uploads.remove(connection, upload_id)
    delete_parts(context, upload)
