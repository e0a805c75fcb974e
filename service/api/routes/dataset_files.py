"""GET /v1/datasets/{id}/download: the table as Parquet or CSV."""

from __future__ import annotations

import os
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from service.api import expensive_work
from service.api.context import DatasetId, Reader, RequestContext
from service.api.http.openapi import problems
from service.api.http.ranges import CSV, PARQUET, documented, serve
from service.api.redirects import redirect_to_store
from service.api.strict_route import StrictRoute
from service.concurrency.cancellation import current
from service.data.processes.export_csv import export_csv
from service.errors import DatasetCorrupt
from service.store import datasets

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=StrictRoute)


class DownloadFormat(StrEnum):
    """Format of the download."""

    parquet = "parquet"
    csv = "csv"


_MEDIA_TYPES = {DownloadFormat.parquet: PARQUET, DownloadFormat.csv: CSV}


@router.head("/{dataset_id}/download", include_in_schema=False)
@router.get(
    "/{dataset_id}/download",
    operation_id="download_dataset",
    summary="Download a data set",
    response_class=Response,
    responses={**problems(404, 413, 416, 507), **documented(*_MEDIA_TYPES.values())},
)
async def download_dataset(
    dataset_id: DatasetId,
    context: Reader,
    request: Request,
    format: Annotated[  # noqa: A002
        DownloadFormat, Query(description="`csv`: converted from the stored Parquet file.")
    ] = DownloadFormat.parquet,
) -> Response:
    """The stored table, with the file's SHA-256 as ETag: `Range` and `If-Range` resume a download."""
    if format is DownloadFormat.parquet:
        redirect = await redirect_to_store(context, request, partial(_located, context, dataset_id))
        if redirect is not None:
            return redirect
        file, sha256 = await to_thread.run_sync(_stored, context, dataset_id)
    else:
        file, sha256 = await expensive_work.run(
            context, request, context.state.ingest_slots, _as_csv, context, dataset_id
        )
    size = os.fstat(file.fileno()).st_size
    return serve(request, file, size, sha256, f"{dataset_id}.{format.value}", _MEDIA_TYPES[format])


def _located(context: RequestContext, dataset_id: str) -> tuple[str, str]:
    """(artifact key, SHA-256) of the Parquet file."""
    with context.database.reading() as connection:
        return datasets.file_of(connection, dataset_id)


def _stored(context: RequestContext, dataset_id: str) -> tuple[BinaryIO, str]:
    """The open Parquet file, readable even after it is deleted, and its SHA-256."""
    key, sha256 = _located(context, dataset_id)
    return _open(context.state.artifacts.path(key, sha256)), sha256


def _as_csv(context: RequestContext, dataset_id: str) -> tuple[BinaryIO, str]:
    """The table as an open, already unlinked CSV file, and its SHA-256."""
    parquet = context.state.artifacts.path(*_located(context, dataset_id))
    _open(parquet).close()  # raises DatasetCorrupt if the file is missing
    with context.state.artifacts.scratch() as folder:
        csv = folder / "table.csv"
        sha256 = export_csv(parquet, csv, context.state.file_process_limits)
        return _open(csv), sha256


def _open(path: Path) -> BinaryIO:
    try:
        return current().close_on_discard(path.open("rb"))
    except OSError as error:
        raise DatasetCorrupt(f"the data set's file cannot be read: {error.strerror}") from error
