"""What of a job may be changed after its submission."""

from __future__ import annotations

from service.spec.base import Name, Strict
from service.spec.job import Labels, Priority


class JobChange(Strict):
    """New values; what is left out stays as it is."""

    name: Name | None = None
    """Another name; null: none."""
    labels: Labels = {}
    """Other labels, in place of all that there were."""
    priority: Priority = 0
    """Another priority, as long as the job has not ended."""
