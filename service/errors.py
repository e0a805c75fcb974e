"""The service's exceptions, each with a stable `code`. Their HTTP status is in api/http/problems.py."""

from __future__ import annotations

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
    """A field and what is wrong there as one sentence: "limit should be a whole number", "epochs: unknown field"."""
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
    """The job spec cannot be trained as it stands."""

    code = "invalid_spec"

    @classmethod
    def at(cls, pointer: str, message: str) -> InvalidSpec:
        """An error with one field error, e.g. `InvalidSpec.at("/data/target", "no such column")`."""
        return cls(message, (FieldError(pointer, message),))


class InvalidData(ServiceError):
    """The uploaded file, or the rows sent, cannot be read as a table."""

    code = "invalid_data"


class InvalidRequest(ServiceError):
    """The request is malformed."""

    code = "invalid_request"


class NotFound(ServiceError):
    """No such object."""

    code = "not_found"


class Conflict(ServiceError):
    """The object's present state does not allow this."""

    code = "conflict"


class IdempotencyMismatch(ServiceError):
    """This Idempotency-Key was used before with a different body."""

    code = "idempotency_mismatch"


class QueueFull(ServiceError):
    """The queue is full; try again later."""

    code = "queue_full"
    retry_seconds = 30


class RateLimited(ServiceError):
    """There are too many requests; send fewer."""

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
    """What is stored takes all the room that it may."""

    code = "quota_exceeded"


class Unauthorized(ServiceError):
    """An API key is required: `Authorization: Bearer KEY`."""

    code = "unauthorized"


class InvalidKey(ServiceError):
    """The API key opens nothing."""

    code = "invalid_key"


class UnknownKey(InvalidKey):
    """This server does not know the key."""


class TooManyFailedKeys(ServiceError):
    """Too many unknown API keys came from this address; try again later, with the right one."""

    code = "too_many_failed_keys"


class OpenBehindProxy(ServiceError):
    """A service without API keys answers nothing that a proxy forwards: make a key."""

    code = "open_behind_proxy"


class Forbidden(ServiceError):
    """The API key does not allow this."""

    code = "insufficient_scope"


class WrongHost(ServiceError):
    """The request names another server than this one."""

    code = "wrong_host"


class CrossSite(ServiceError):
    """Another site's page made a browser send this."""

    code = "cross_site"


class Unavailable(ServiceError):
    """A part that this request needs cannot be reached right now; try again."""

    code = "unavailable"
    retry_seconds = 2


class SchemaMismatch(Unavailable):
    """The database's schema is not one that this version of the service can use."""


class StorageError(ServiceError):
    """The server could not write to its storage."""

    code = "storage_error"


class DatasetCorrupt(ServiceError):
    """The stored data set is missing or is not the one that was uploaded."""

    code = "dataset_corrupt"


class CheckpointCorrupt(ServiceError):
    """The file of the weights is missing or is not the one that was published."""

    code = "checkpoint_corrupt"


class NotInstalled(ServiceError):
    """This server lacks a library that the request needs."""

    code = "not_installed"


class LeaseLost(ServiceError):
    """Another attempt owns this job now; this one must stop."""

    code = "lease_lost"


class Misconfigured(ServiceError):
    """A setting cannot be used as it stands."""

    code = "misconfigured"
