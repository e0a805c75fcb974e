"""Uploads in parts: which file is expected, and what became of it. The parts are in the artifact store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from service.domain.upload import Upload
from service.errors import NotFound
from service.spec.read_options import ReadOptions
from service.store.tenancy import in_tenant, tenant_of
from service.store.upload_tables import uploads

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection, Row

_COLUMNS = [uploads.c[name] for name in Upload.model_fields if name != "object"]


def add(connection: Connection, upload: Upload) -> None:
    """Insert an upload of the connection's tenant."""
    row = upload.model_dump(exclude={"object", "options"}) | {"options": canonical(upload.options)}
    connection.execute(insert(uploads), row | {"tenant": tenant_of(connection)})


def canonical(options: ReadOptions) -> str:
    """Reading options as canonical JSON."""
    return options.model_dump_json(exclude_none=True)


def get(connection: Connection, upload_id: str) -> Upload:
    """The upload of this id; raises NotFound."""
    this = in_tenant(connection, uploads), uploads.c.id == upload_id
    row = connection.execute(select(*_COLUMNS).where(*this)).first()
    if row is None:
        raise NotFound(f"no upload {upload_id!r}: it was deleted, or has expired")
    return _upload(row)


def find_same(connection: Connection, sha256: str, size_bytes: int, options: ReadOptions) -> Upload | None:
    """The upload of these bytes with these reading options, if any; the oldest of several."""
    same = uploads.c.sha256 == sha256, uploads.c.size_bytes == size_bytes, uploads.c.options == canonical(options)
    query = select(*_COLUMNS).where(in_tenant(connection, uploads), *same).order_by(uploads.c.id).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _upload(row)


def count_incomplete(connection: Connection) -> int:
    """Number of uploads that are not complete."""
    incomplete = in_tenant(connection, uploads), uploads.c.dataset_id.is_(None)
    return int(connection.scalar(select(func.count()).where(*incomplete)) or 0)


def find(connection: Connection, *, limit: int, after: str | None = None) -> list[Upload]:
    """Uploads that are not complete, newest first, at most `limit`, older than the upload `after`."""
    query = select(*_COLUMNS).where(in_tenant(connection, uploads), uploads.c.dataset_id.is_(None))
    if after is not None:
        query = query.where(uploads.c.id < after)
    return [_upload(row) for row in connection.execute(query.order_by(uploads.c.id.desc()).limit(limit))]


def postpone_expiry(connection: Connection, upload_id: str, expires_at: datetime) -> None:
    """Let the upload expire at this time."""
    this = in_tenant(connection, uploads), uploads.c.id == upload_id
    connection.execute(update(uploads).where(*this).values(expires_at=expires_at))


def complete(connection: Connection, upload_id: str, dataset_id: str) -> None:
    """Record that the upload became this data set."""
    this = in_tenant(connection, uploads), uploads.c.id == upload_id
    connection.execute(update(uploads).where(*this).values(dataset_id=dataset_id))


def remove(connection: Connection, upload_id: str) -> None:
    """Delete the upload; raises NotFound."""
    get(connection, upload_id)
    connection.execute(delete(uploads).where(in_tenant(connection, uploads), uploads.c.id == upload_id))


def remove_expired(connection: Connection, now: datetime) -> int:
    """Delete the uploads that have expired; returns their number."""
    return connection.execute(
        delete(uploads).where(in_tenant(connection, uploads), uploads.c.expires_at < now)
    ).rowcount


def needed_parts(connection: Connection, upload_ids: Collection[str]) -> dict[str, int]:
    """Artifact keys of the parts of those of these uploads that exist and are not complete, with their sizes."""
    query = select(*_COLUMNS).where(uploads.c.id.in_(list(upload_ids)), uploads.c.dataset_id.is_(None))
    found = map(_upload, connection.execute(query.where(in_tenant(connection, uploads))))
    return {upload.key(number): size for upload in found for number, size in upload.part_sizes.items()}


def _upload(row: Row[Any]) -> Upload:
    return Upload.model_validate({**row._mapping, "options": ReadOptions.model_validate_json(row.options)})
