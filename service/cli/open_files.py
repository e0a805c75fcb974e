"""The process's limit of open files: raised as far as it goes, and how many connections it allows."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

MOST = 1_048_576  # some systems name a thousand times as many, or no limit
LEAST_CONNECTIONS = 16


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one; the limit from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = MOST if hard == unlimited else min(hard, MOST)
    if soft == unlimited or soft >= wanted:
        return MOST if soft == unlimited else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:  # macOS names no hard limit and has one
        log.warning("the limit of %d open files cannot be raised: %s", soft, error)
        return soft
    return wanted


def connections_within(files: int) -> int:
    """How many connections leave enough descriptors: each may need a file of its own, and a quarter, 128 at least, is
    for the database, child processes and connections about to be refused."""
    return max(LEAST_CONNECTIONS, (files - max(128, files // 4)) // 2)


def backlog_within(files: int) -> int:
    """How many connections may be accepted at once before any is looked at."""
    return min(2_048, max(LEAST_CONNECTIONS, files // 16))
