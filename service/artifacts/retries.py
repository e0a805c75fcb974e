"""Retries of requests to an object store: exponential backoff with jitter, until a deadline."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, TypeVar

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)

from service.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = 20.0  # no further try after so many seconds; callers have retries of their own
FIRST_WAIT, LONGEST_WAIT = 0.2, 3.0  # seconds
DENIED = (NotSupportedError, PermissionDeniedError, UnauthenticatedError, UnknownConfigurationKeyError)
NO_BUCKET = "NoSuchBucket"


def retried(what: str, request: Callable[[], T], seconds: float | None = None, tries: int = 1) -> T:
    """The result of `request`, which is repeated while the store fails. Raises Unavailable after RETRY_SECONDS.

    Denied requests are not repeated: an operator has to fix the credentials, the policy or the clock.
    FileNotFoundError, AlreadyExistsError and PreconditionError are answers, and pass. `seconds`: another deadline.
    `tries`: at least so many, of a request that may take longer than the deadline before it fails.
    """
    deadline, wait = time.monotonic() + (RETRY_SECONDS if seconds is None else seconds), FIRST_WAIT
    while True:
        tries -= 1
        try:
            return request()
        except FileNotFoundError as error:
            if NO_BUCKET in str(error):
                raise Unavailable(f"the artifact store's bucket does not exist: {what} failed") from error
            raise
        except (AlreadyExistsError, PreconditionError):
            raise
        except BaseError as error:
            if isinstance(error, DENIED) or (time.monotonic() >= deadline and tries <= 0):
                raise Unavailable(f"the artifact store does not answer: {what}: {summary(error)}") from error
            log.info("the artifact store failed, trying again: %s: %s", what, summary(error))
            time.sleep(min(wait, max(deadline - time.monotonic(), FIRST_WAIT)) * random.uniform(0.5, 1.0))
            wait = min(wait * 2, LONGEST_WAIT)


def summary(error: Exception) -> str:
    """The first line of an error of obstore, without its debug output."""
    return str(error).partition("\n")[0][:300]
