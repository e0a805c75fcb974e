"""Which versions of the service can train a job: workers of several run side by side while they are updated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.spec.job import JobSpec

# What is new in specs, or in the form in which resolved jobs are stored, under the next number: whether a spec makes
# use of it. Those that do stay queued until a worker claims that knows the number; all others any worker trains, which
# leaves out fields that it does not know. E.g. `2: lambda spec: spec.label_noise > 0`.
SINCE: dict[int, Callable[[JobSpec], bool]] = {}

SPEC_VERSION = max(SINCE, default=1)
"""The newest specs that this version can train."""


def version_needed(spec: JobSpec) -> int:
    """The smallest SPEC_VERSION that trains this spec as it is meant."""
    return max((version for version, uses in SINCE.items() if uses(spec)), default=1)
