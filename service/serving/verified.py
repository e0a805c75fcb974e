"""Reading stored files whose SHA-256 is known."""

from __future__ import annotations

from service.artifacts import sha256_of
from service.domain.report import StoredFile
from service.errors import ServiceError


def check_sha256(file: StoredFile, otherwise: ServiceError) -> None:
    """Raise `otherwise` if the file is missing or has changed."""
    try:
        same = sha256_of(file.path) == file.sha256
    except OSError as error:
        raise otherwise from error
    if not same:
        raise otherwise
