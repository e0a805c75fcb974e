"""The worker that a job asks for: labels that it must have. Their text form, as `gpu=h100,spot=true`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

from pydantic import Field, StringConstraints

from service.spec.base import Strict
from service.spec.capped_errors import CapErrors

MAX_WORKER_LABELS = 8
"""Labels of a worker, or of a job's request: a claim names all subsets of a worker's labels."""
_KEY, _VALUE = r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"

WorkerLabels = Annotated[
    dict[
        Annotated[str, StringConstraints(strict=True, pattern=f"^{_KEY}$")],
        Annotated[str, StringConstraints(strict=True, pattern=f"^{_VALUE}$")],
    ],
    Field(max_length=MAX_WORKER_LABELS),
    CapErrors(),
]


class WorkerRequest(Strict):
    """The worker that a job asks for."""

    labels: WorkerLabels = {}
    """Labels that the worker must have, as given to `bestepoch worker --labels`; it may have more. The job stays queued
    until there is such a worker."""

    @property
    def text(self) -> str:
        """The labels as one text."""
        return labels_text(self.labels)


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as one text, sorted by key: equal labels have equal texts."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def parse_labels(text: str) -> dict[str, str]:
    """The labels of `KEY=VALUE,...`; none in an empty text. Raises ValueError."""
    labels: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(f"({_KEY})=({_VALUE})", part)
        if found is None:
            raise ValueError(f"{part!r} is not KEY=VALUE of letters, digits, `_`, `-` and `.`")
        if found[1] in labels:
            raise ValueError(f"the label {found[1]!r} is given twice")
        labels[found[1]] = found[2]
    if len(labels) > MAX_WORKER_LABELS:
        raise ValueError(f"there are {len(labels)} labels, and at most {MAX_WORKER_LABELS} are allowed")
    return labels


def subsets(labels: Mapping[str, str]) -> list[str]:
    """The texts of all subsets of these labels: what jobs may ask for that a worker with these labels trains."""
    pairs = sorted(labels.items())
    return [labels_text(dict(some)) for count in range(len(pairs) + 1) for some in combinations(pairs, count)]
