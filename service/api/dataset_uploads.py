"""What becomes of an upload in parts: which parts are stored, the data set that it becomes, its deletion. Blocks."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from service.api.dataset_storage import Source, store
from service.concurrency.cancellation import current
from service.domain.upload import part_number
from service.errors import Conflict, InvalidData, StorageError
from service.store import datasets, uploads

if TYPE_CHECKING:
    from pathlib import Path

    from service.api.context import RequestContext
    from service.domain.upload import Upload
    from service.spec.table import Dataset


def find(context: RequestContext, upload_id: str) -> Upload:
    """The upload of this id; raises NotFound."""
    with context.database.reading() as connection:
        return uploads.get(connection, upload_id)


def received_parts(context: RequestContext, upload: Upload) -> set[int]:
    """Numbers of the parts that are stored with the right size."""
    sizes = upload.part_sizes
    found = {part_number(file.key): file.size_bytes for file in context.state.artifacts.parts(upload.id)}
    return {number for number, size in found.items() if sizes.get(number) == size}


def complete(context: RequestContext, upload_id: str) -> tuple[Dataset, bool]:
    """Join the parts, read the file and store its table: (the data set, True), or (one that was there, False).

    Raises NotFound, Conflict while parts are missing, InvalidData, TooLarge, QuotaExceeded, StorageError.
    """
    upload = find(context, upload_id)
    if upload.dataset_id is not None:
        with context.database.reading() as connection:
            return datasets.get(connection, upload.dataset_id), False
    if missing := sorted(upload.part_sizes.keys() - received_parts(context, upload)):
        raise Conflict(_missing(missing))
    with context.state.artifacts.scratch() as folder:
        place = folder / "source"
        try:
            sha256 = _join(context, upload, place)
        except FileNotFoundError:
            return _completed_meanwhile(context, upload_id)
        if upload.sha256 not in (None, sha256):
            raise InvalidData(f"the SHA-256 of the parts together is {sha256}, not {upload.sha256}")
        canonical = uploads.canonical(upload.options)
        source = Source({place.name: place}, sha256, upload.size_bytes, upload.options, canonical, upload.name)
        dataset, created = store(context, folder, source, upload)
    with context.database.transaction() as connection:
        uploads.complete(connection, upload_id, dataset.id)
    delete_parts(context, upload)
    return dataset, created


def _missing(numbers: list[int]) -> str:
    listed = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    return f"part{'' if len(numbers) == 1 else 's'} {listed} of the upload must be sent first"


def _completed_meanwhile(context: RequestContext, upload_id: str) -> tuple[Dataset, bool]:
    """The data set that a concurrent request has made; raises Conflict if parts were deleted for another reason."""
    upload = find(context, upload_id)
    if upload.dataset_id is None:
        raise Conflict("a part of the upload is missing: read the upload, and send it again")
    with context.database.reading() as connection:
        return datasets.get(connection, upload.dataset_id), False


def _join(context: RequestContext, upload: Upload, target: Path) -> str:
    """Write the parts one after another to `target`; returns the SHA-256. Raises FileNotFoundError."""
    digest, cancellation = hashlib.sha256(), current()
    try:
        with target.open("wb") as file:
            for number in upload.part_sizes:
                for chunk in context.state.artifacts.chunks(upload.key(number)):
                    cancellation.check()
                    digest.update(chunk)
                    file.write(chunk)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"the parts of the upload could not be joined: {error.strerror or error}") from error
    return digest.hexdigest()


def delete_parts(context: RequestContext, upload: Upload) -> None:
    """Delete the parts; the garbage collector deletes those that fail, or that are sent later."""
    for file in list(context.state.artifacts.parts(upload.id)):
        context.state.artifacts.delete(file.key)
