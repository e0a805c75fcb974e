"""The service's exceptions, each with a stable `code`. Their HTTP status is in api/http/problems.py."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One error in a request's body: a JSON pointer to the field, and a message."""

    pointer: str
    message: str


def json_pointer(*parts: str | int) -> str:
    """The JSON pointer (RFC 6901) along these names and indices: `json_pointer("rows", 1, "a/b")` is `/rows/1/a~1b`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def located(where: str, message: str) -> str:
    """A field and what is wrong there as one sentence: "limit should be a whole number", "epochs: unknown field".

    The message may begin with the field's name, which is not repeated.
    """
    message = message.removeprefix(re.split(r"[./]", where)[-1] + " ")
    return f"{where}: {message}" if message.startswith("unknown ") else f"{where} {message}"


class ServiceError(Exception):
    """The request could not be served."""

    code = "internal"
    retry_seconds: int | None = None  # Retry-After, where a retry may succeed

    def __init__(self, detail: str | None = None, field_errors: tuple[FieldError, ...] = ()) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.field_errors = field_errors
        super().__init__(self.detail)


class InvalidSpec(ServiceError):
    """The job spec is invalid."""

    code = "invalid_spec"

    @classmethod
    def at(cls, pointer: str, message: str) -> InvalidSpec:
        """An error with one field error, e.g. `InvalidSpec.at("/data/target", "no such column")`."""
        return cls(message, (FieldError(pointer, message),))


class InvalidData(ServiceError):
    """The uploaded file, or the rows sent, cannot be read as a table."""

    code = "invalid_data"


class ReadingLimit(InvalidData):
    """Reading the file takes more time or memory than this server allows."""


class InvalidRequest(ServiceError):
    """The request is malformed."""

    code = "invalid_request"


class NotFound(ServiceError):
    """No such object."""

    code = "not_found"


class Conflict(ServiceError):
    """The object's current state does not allow this."""

    code = "conflict"


class IdempotencyMismatch(ServiceError):
    """This Idempotency-Key was used before with a different body."""

    code = "idempotency_mismatch"


class QueueFull(ServiceError):
    """The queue is full; try again later."""

    code = "queue_full"
    retry_seconds = 30


class RateLimited(ServiceError):
    """Too many requests; send fewer."""

    code = "rate_limited"
    retry_seconds = 1


class TooManyStreams(ServiceError):
    """Too many streams and waits are open; close some."""

    code = "too_many_streams"
    retry_seconds = 10


class TooLarge(ServiceError):
    """The body is larger than this server accepts."""

    code = "too_large"


class QuotaExceeded(ServiceError):
    """The storage quota is used up."""

    code = "quota_exceeded"


class Unauthorized(ServiceError):
    """An API key is required: `Authorization: Bearer KEY`."""

    code = "unauthorized"


class InvalidKey(ServiceError):
    """Unknown, expired or revoked API key."""

    code = "invalid_key"


class UnknownKey(InvalidKey):
    """Unknown API key."""


class TooManyFailedKeys(ServiceError):
    """Too many unknown API keys from this address; try again later."""

    code = "too_many_failed_keys"


class OpenBehindProxy(ServiceError):
    """A service without API keys refuses requests that a proxy forwards: create a key."""

    code = "open_behind_proxy"


class Forbidden(ServiceError):
    """The API key does not allow this."""

    code = "insufficient_scope"


class WrongHost(ServiceError):
    """Host not allowed."""

    code = "wrong_host"


class CrossSite(ServiceError):
    """Cross-site request refused."""

    code = "cross_site"


class Unavailable(ServiceError):
    """The database or another component is unavailable; try again."""

    code = "unavailable"
    retry_seconds = 2


class SchemaMismatch(Unavailable):
    """The database's schema is not compatible with this version of the service."""


class StorageError(ServiceError):
    """The server could not write to its storage."""

    code = "storage_error"


class DatasetCorrupt(ServiceError):
    """The stored data set is missing or damaged."""

    code = "dataset_corrupt"


class CheckpointCorrupt(ServiceError):
    """The checkpoint file is missing or damaged."""

    code = "checkpoint_corrupt"


class PredictionsCorrupt(ServiceError):
    """The file of a job's predictions is missing or damaged."""

    code = "predictions_corrupt"


class SourceError(ServiceError):
    """The server of a connection refuses access, does not answer, or is not where it may be."""

    code = "source_failed"


class NotInstalled(ServiceError):
    """The server lacks an optional library that the request needs."""

    code = "not_installed"


class LeaseLost(ServiceError):
    """The lease is lost: another attempt owns the job, so this one must stop."""

    code = "lease_lost"


class Misconfigured(ServiceError):
    """Invalid setting."""

    code = "misconfigured"
