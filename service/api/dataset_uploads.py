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
    """Numbers of the parts that are stored with the right size; those of a wrong size are deleted.

    A presigned URL cannot limit what is put there, and only the bytes that were announced count against the quota.
    """
    artifacts, sizes, right = context.state.artifacts, upload.part_sizes, set()
    for file in list(artifacts.parts(upload.id)):
        number = part_number(file.key)
        if sizes.get(number) == file.size_bytes:
            right.add(number)
        else:
            artifacts.delete(file.key)
    return right


def complete(context: RequestContext, upload_id: str) -> tuple[Dataset, bool]:
    """Join the parts, read the file and store its table: (the data set, True), or (one that was there, False).

    Raises NotFound, Conflict while parts are missing, InvalidData, TooLarge, QuotaExceeded, StorageError.
    """
    upload, known = _completed(context, upload_id)
    if known is not None:
        return known, False
    try:
        return _complete(context, upload)
    except Conflict:
        _, known = _completed(context, upload_id)
        if known is None:
            raise
        return known, False  # a concurrent request has made it, and deleted the parts


def _completed(context: RequestContext, upload_id: str) -> tuple[Upload, Dataset | None]:
    """(the upload, its data set or None while it is not complete)."""
    with context.database.reading() as connection:
        upload = uploads.get(connection, upload_id)
        return upload, None if upload.dataset_id is None else datasets.get(connection, upload.dataset_id)


def _complete(context: RequestContext, upload: Upload) -> tuple[Dataset, bool]:
    if missing := sorted(upload.part_sizes.keys() - received_parts(context, upload)):
        raise Conflict(_missing(missing))
    with context.state.artifacts.scratch() as folder:
        place = folder / "source"
        sha256 = _join(context, upload, place)
        if upload.sha256 not in (None, sha256):
            raise InvalidData(f"the SHA-256 of the parts together is {sha256}, not {upload.sha256}")
        canonical = uploads.canonical(upload.options)
        source = Source({place.name: place}, sha256, upload.size_bytes, upload.options, canonical, upload.name)
        dataset, created = store(context, folder, source, upload)
    with context.database.transaction() as connection:
        uploads.complete(connection, upload.id, dataset.id)
    delete_parts(context, upload)
    return dataset, created


def _missing(numbers: list[int]) -> str:
    listed = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    return f"part{'' if len(numbers) == 1 else 's'} {listed} of the upload must be sent first"


def _join(context: RequestContext, upload: Upload, target: Path) -> str:
    """Write the parts one after another to `target`; returns the SHA-256 of what was written.

    Raises Conflict if a part has not the bytes that it should have: no more than those are written.
    """
    digest, cancellation = hashlib.sha256(), current()
    try:
        with target.open("wb") as file:
            for number, left in upload.part_sizes.items():
                for chunk in context.state.artifacts.chunks(upload.key(number)):
                    cancellation.check()
                    left -= len(chunk)
                    if left < 0:
                        break
                    digest.update(chunk)
                    file.write(chunk)
                if left:
                    raise Conflict(_changed(number))
    except FileNotFoundError:
        raise Conflict(_changed(number)) from None
    except OSError as error:
        raise StorageError(f"the parts of the upload could not be joined: {error.strerror or error}") from error
    return digest.hexdigest()


def _changed(number: int) -> str:
    return f"part {number} of the upload was deleted or replaced meanwhile: read the upload, and send it again"


def delete_parts(context: RequestContext, upload: Upload) -> None:
    """Delete the parts; the garbage collector deletes those that fail, or that are sent later."""
    for file in list(context.state.artifacts.parts(upload.id)):
        context.state.artifacts.delete(file.key)
