"""An artifact store in a bucket of an object store. Objects are put if absent; readers get files of a local cache."""

from __future__ import annotations

import hashlib
import logging
import mmap
import time
from datetime import timedelta
from functools import partial
from typing import IO, TYPE_CHECKING, Literal

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from service.artifacts.hashing import sha256_of
from service.artifacts.interface import CHUNK_BYTES, DEPLOYMENT_ID, FOLDERS, TRASH, UPLOADS, Artifacts, File, checked
from service.artifacts.retries import NO_BUCKET, retried, summary
from service.errors import StorageError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from obstore import GetOptions
    from obstore.store import ObjectStore

    from service.artifacts.cache import FileCache

log = logging.getLogger(__name__)

PART_BYTES = 16 * 1024**2  # of a multipart upload of bytes in memory; a file up to this size is one conditional request
PARTS_AT_ONCE = 4
# A file is read part by part: those that are sent, and the next one, are in memory. S3 accepts no smaller parts.
FILE_PART_BYTES, FILE_PARTS_AT_ONCE = 5 * 1024**2, 2
MAX_PARTS = 10_000  # of S3
LONG_TRIES = 3  # to write or read all of a large file, which may fail at its end
PAGE = 1_000  # objects of a listing
CHECK_SECONDS = 5.0  # for which a successful check holds


class ObjectArtifacts(Artifacts):
    """An artifact store in a bucket, with a cache on this machine."""

    is_local = False

    def __init__(self, store: ObjectStore, url: str, cache: FileCache) -> None:
        """`url`: of the store, for messages."""
        self._store, self._url, self._cache = store, url.rstrip("/"), cache
        self._checked_at = -CHECK_SECONDS

    def path(self, key: str, sha256: str) -> Path:
        """See Artifacts."""
        return self._cache.path(sha256, partial(self._download, _checked(key)))

    def _download(self, key: str, target: Path) -> str | None:
        """Download an object; returns its SHA-256, or None if there is none. Goes on where the connection broke."""
        digest = hashlib.sha256()
        with target.open("wb") as file:
            while True:
                before = file.tell()
                try:
                    retried(f"read {key}", partial(self._read_on, key, file, digest))
                    return digest.hexdigest()
                except FileNotFoundError:
                    return None
                except Unavailable:
                    if file.tell() == before:
                        raise

    def _read_on(self, key: str, file: IO[bytes], digest: hashlib._Hash) -> None:
        offset = file.tell()
        found = obstore.get(self._store, key, options={"range": {"offset": offset}} if offset else None)
        for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)

    def size(self, key: str) -> int | None:
        """See Artifacts."""
        try:
            return retried(f"look up {key}", lambda: obstore.head(self._store, _checked(key)))["size"]
        except FileNotFoundError:
            return None

    def sha256(self, key: str) -> str:
        """See Artifacts."""

        def read() -> str:
            digest = hashlib.sha256()
            for chunk in obstore.get(self._store, _checked(key)).stream(min_chunk_size=CHUNK_BYTES):
                digest.update(chunk)
            return digest.hexdigest()

        return retried(f"read {key}", read, tries=LONG_TRIES)

    def address(self, key: str) -> str:
        """See Artifacts."""
        return f"{self._url}/{key}".rstrip("/")

    def put(self, key: str, data: bytes, *, replace: bool = False) -> None:
        """See Artifacts. If the answer to an earlier try was lost, the object is there already, with these bytes."""
        if len(data) > PART_BYTES:
            self._put_large(key, data, hashlib.sha256(data).hexdigest(), replace=replace)
        else:
            self._put_small(key, data, replace=replace)

    def _put_small(self, key: str, data: bytes | mmap.mmap, *, replace: bool) -> None:
        mode: Literal["create", "overwrite"] = "overwrite" if replace else "create"
        try:
            retried(f"write {key}", lambda: obstore.put(self._store, _checked(key), data, mode=mode))
        except AlreadyExistsError:
            self._require_same(key, hashlib.sha256(data).hexdigest())

    def adopt(self, source: Path, key: str, *, replace: bool = False) -> None:
        """See Artifacts. Small files are mapped rather than read: their pages are the kernel's, who may drop them."""
        try:
            size = source.stat().st_size
            if size > PART_BYTES:
                self._put_large(key, source, sha256_of(source), replace=replace)
            elif size == 0:  # cannot be mapped
                self._put_small(key, b"", replace=replace)
            else:
                with source.open("rb") as file:
                    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # not closed: obstore may still use it
                self._put_small(key, data, replace=replace)
        except OSError as error:
            raise StorageError(f"the file for the artifact store cannot be read: {error.strerror or error}") from error

    def _put_large(self, key: str, data: bytes | Path, sha256: str, *, replace: bool) -> None:
        """Upload in parts. Their completion is not conditional at all providers: the key is looked up before.

        In between nobody else writes it, as keys contain a random id or the number of an attempt.
        """
        part_bytes, at_once = PART_BYTES, PARTS_AT_ONCE
        if not isinstance(data, bytes):
            part_bytes, at_once = max(FILE_PART_BYTES, -(-data.stat().st_size // MAX_PARTS)), FILE_PARTS_AT_ONCE

        def upload() -> None:
            if not replace and self.size(key) is not None:
                self._require_same(key, sha256)
                return
            where = self._store, _checked(key)
            try:
                obstore.put(*where, data, use_multipart=True, chunk_size=part_bytes, max_concurrency=at_once)
            except FileNotFoundError as error:  # no such upload: a request whose answer was lost has completed it
                if NO_BUCKET in str(error):
                    raise
                if self.size(key) is None or self.sha256(key) != sha256:
                    raise GenericError(summary(error)) from error

        retried(f"write {key}", upload, tries=LONG_TRIES)

    def _require_same(self, key: str, sha256: str) -> None:
        """Raise StorageError if the object at this key has other bytes than those that were to be stored."""
        if self.sha256(key) != sha256:
            raise StorageError(f"the artifact store has another file at {self.address(key)}, which stays")

    def delete(self, key: str) -> bool:
        """See Artifacts."""
        try:
            retried(f"delete {key}", lambda: obstore.delete(self._store, _checked(key)))
        except FileNotFoundError:
            return True
        except Unavailable as error:
            log.warning("could not remove %s, retrying later: %s", key, error)
            return False
        return True

    def move_to_trash(self, key: str) -> bool:
        """See Artifacts. A copy, then a deletion: a failure in between leaves both."""
        try:
            target = _checked(f"{TRASH}/{key}")
            retried(f"copy {key} to the trash", lambda: obstore.copy(self._store, _checked(key), target))
        except FileNotFoundError:
            return True  # another process was faster
        except Unavailable as error:
            log.warning("could not move %s to the trash, retrying later: %s", key, error)
            return False
        return self.delete(key)

    def scratch(self) -> AbstractContextManager[Path]:
        """See Artifacts."""
        return self._cache.scratch()

    def files(self) -> Iterator[File]:
        """See Artifacts."""
        for kind in FOLDERS:
            yield from self._list(kind, parts=3)

    def trash(self) -> Iterator[File]:
        """See Artifacts."""
        for kind in FOLDERS:
            yield from self._list(f"{TRASH}/{kind}", parts=4)

    def _list(self, prefix: str, parts: int) -> Iterator[File]:
        """The objects below the prefix whose keys have this number of parts, in pages; goes on after the last one."""
        last: str | None = None
        while page := retried(f"list {prefix}", partial(self._page, prefix, last)):
            yield from (file for file in page if file.key.count("/") == parts - 1)
            last = page[-1].key

    def _page(self, prefix: str, after: str | None) -> list[File]:
        listed = obstore.list(self._store, prefix, offset=after, chunk_size=PAGE)
        return [File(each["path"], each["size"]) for each in next(iter(listed), [])]

    def unfinished(self) -> list[str]:
        """None: temporary files are on this machine alone, and the cache deletes what killed processes leave."""
        return []

    def remove_unfinished(self, name: str) -> bool:
        """See Artifacts."""
        raise NotImplementedError(f"no unfinished files are listed: {name}")

    def deployment_id(self) -> str | None:
        """See Artifacts."""
        try:
            found = retried("read the deployment id", lambda: obstore.get(self._store, DEPLOYMENT_ID).bytes())
        except FileNotFoundError:
            return None
        return bytes(found).decode().strip()

    def url(self, key: str, seconds: int) -> str | None:
        """See Artifacts."""
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        return obstore.sign(self._store, "GET", _checked(key), timedelta(seconds=seconds))

    def upload_url(self, key: str, seconds: int) -> str | None:
        """See Artifacts."""
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        return obstore.sign(self._store, "PUT", _checked(key), timedelta(seconds=seconds))

    def parts(self, upload: str | None = None) -> Iterator[File]:
        """See Artifacts."""
        return self._list(UPLOADS if upload is None else f"{UPLOADS}/{upload}", parts=3)

    def chunks(self, key: str) -> Iterator[bytes]:
        """See Artifacts. Goes on where the connection broke, if the object is still the same one."""
        offset, size, options = 0, None, None
        while size is None or offset < size:
            before = offset
            try:
                found = retried(f"read {key}", partial(obstore.get, self._store, _checked(key), options=options))
                size = found.meta["size"]
                for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                    offset += len(chunk)
                    yield bytes(chunk)
            except PreconditionError as error:
                raise FileNotFoundError(f"{key} was replaced while it was read") from error
            except BaseError as error:
                if offset == before:
                    raise Unavailable(f"the artifact store does not answer: read {key}: {summary(error)}") from error
            options = _rest(offset, found.meta["e_tag"])

    def check(self) -> None:
        """See Artifacts. Looks up the deployment id; that objects can be written is not tried."""
        if time.monotonic() - self._checked_at < CHECK_SECONDS:
            return
        try:
            retried("look up the deployment id", lambda: obstore.head(self._store, DEPLOYMENT_ID), seconds=0.0)
        except FileNotFoundError as error:
            raise StorageError("the artifact store has lost its deployment id") from error
        self._checked_at = time.monotonic()


def _checked(key: str) -> str:
    return checked(key).as_posix()


def _rest(offset: int, tag: str | None) -> GetOptions:
    """The bytes from this offset on, of the object with this ETag."""
    options: GetOptions = {"range": {"offset": offset}}
    return options if tag is None else {**options, "if_match": tag}
