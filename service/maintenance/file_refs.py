"""All files that rows refer to, in pages, with no transaction open while a file is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.store.maintenance import integrity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.store.engine import Database
    from service.store.maintenance.integrity import FileRef

FILES_OF = (
    integrity.checkpoint_files,
    integrity.other_job_files,
    integrity.dataset_files,
    integrity.member_files,
    integrity.other_member_files,
    integrity.version_files,
)


def file_refs(database: Database) -> Iterator[FileRef]:
    """Each file that a row refers to; a file of several rows may come several times. Raises Unavailable."""
    for read in FILES_OF:
        last: FileRef | None = None
        while True:
            with database.reading() as connection:
                page = read(connection, last)
            if not page:
                break
            for file in page:
                if last is None or file.path != last.path:  # best and last often share a file
                    yield file
                last = file
