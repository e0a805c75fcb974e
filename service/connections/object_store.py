"""The files of an object store or web server, read by obstore; its errors as those of the service."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import obstore
from obstore import exceptions

from service.connections.messages import SourceFile
from service.errors import SourceError

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

    from service.connections.egress import EgressProxy

_log = logging.getLogger(__name__)

CHUNK_BYTES = 1024**2
_EXPIRED = "<Code>(ExpiredToken|InvalidToken|TokenRefreshRequired)</Code>"  # of S3, with the status 400


class ObjectStore:
    """A bucket below a prefix, a container, or the folder of a web server."""

    def __init__(self, store: Store, proxy: EgressProxy, *, can_list: bool) -> None:
        """`can_list`: false for web servers."""
        self._store, self._proxy, self._can_list = store, proxy, can_list

    def test(self) -> None:
        """Raise SourceError unless the server answers and grants access."""
        with self._translated():
            if self._can_list:
                next(iter(obstore.list(self._store, chunk_size=1)), None)
            else:
                obstore.head(self._store, "")

    def files(self, folder: str) -> Iterator[str]:
        """Paths of all files below `folder`, which ends in a slash or is empty; raises SourceError."""
        with self._translated():
            for chunk in obstore.list(self._store, prefix=folder or None):
                yield from (each["path"] for each in chunk if not (each["size"] == 0 and each["path"].endswith("/")))

    def read(self, path: str) -> tuple[SourceFile, Iterator[bytes]]:
        """A file and its bytes; raises FileNotFoundError, SourceError."""
        with self._translated():
            found = obstore.get(self._store, path)
            meta = found.meta
        file = SourceFile(
            path=path,
            size_bytes=meta["size"],
            etag=meta["e_tag"],
            version=meta["version"],
            modified_at=meta["last_modified"] if meta["last_modified"].timestamp() else None,
        )
        return file, self._chunks(found)

    def _chunks(self, found: obstore.GetResult) -> Iterator[bytes]:
        with self._translated():
            yield from (bytes(chunk) for chunk in found.stream(min_chunk_size=CHUNK_BYTES))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SourceError in place of obstore's exceptions, which quote URLs: they go to the log alone."""
        try:
            yield
        except FileNotFoundError:
            if self._proxy.refused is None:
                raise
            raise SourceError(self._reason(None)) from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            first = str(error).partition("\n")[0]
            _log.warning("%s %s", type(error).__name__, re.sub(r"\?\S*", "?...", first)[:300])  # queries hold tokens
            raise SourceError(self._reason(error)) from None

    def _reason(self, error: Exception | None) -> str:
        """What has failed, without the addresses, which are the operator's: the log has them."""
        if self._proxy.refused is not None:
            _log.warning("the server leads to %s", self._proxy.refused)
            return "the server redirects to another host than that of the connection"
        if self._proxy.unreachable is not None:
            _log.warning("no answer from %s", self._proxy.unreachable)
            return "the server of the connection does not answer"
        if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError | PermissionError):
            return "the server refuses access: the secrets of the connection, or what they permit, may be wrong"
        if re.search(_EXPIRED, str(error)):
            return "the server refuses access: the secrets of the connection have expired"
        return "the server did not give the file: see the service's log"
