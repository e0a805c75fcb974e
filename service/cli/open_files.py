"""The process's limit of open files (RLIMIT_NOFILE), and the number of connections that it allows."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

MAX_FILES = 1_048_576  # some systems report a thousand times as many, or no limit
MIN_CONNECTIONS = 16


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit; returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = MAX_FILES if hard == unlimited else min(hard, MAX_FILES)
    if soft == unlimited or soft >= wanted:
        return MAX_FILES if soft == unlimited else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:  # macOS reports no hard limit but has one
        log.warning("the limit of %d open files cannot be raised: %s", soft, error)
        return soft
    return wanted


def connections_within(files: int) -> int:
    """The number of connections that leave enough descriptors.

    Each connection may open a file too. A quarter of the descriptors, at least 128, is reserved for the database, child
    processes and connections that are about to be refused.
    """
    return max(MIN_CONNECTIONS, (files - max(128, files // 4)) // 2)


def backlog_within(files: int) -> int:
    """The listen backlog: connections that wait to be accepted."""
    return min(2_048, max(MIN_CONNECTIONS, files // 16))
