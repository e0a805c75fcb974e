"""Requests of the scikit-learn estimators: rows and targets as data, waiting, errors."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from service.client.transport import ApiError
from service.client.uploads import json_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from service.client.client import Client
    from service.client.job import Job

# Small tables are inline data of the job spec: this avoids an upload and a data set that is left behind. Larger ones
# would slow down every read of the job, which includes its spec.
MAX_INLINE_VALUES = 2_000


def weights_of(client: Client, address: str) -> dict[str, float]:
    """The weight of each member of the version at `NAME:VERSION`, by job id."""
    name, _, version = address.partition(":")
    return {member.job: member.weight for member in client.models.get(name).version(int(version)).members}


def data_of(client: Client, x: NDArray[Any], y: NDArray[Any], weight: NDArray[np.float64] | None) -> dict[str, Any]:
    """The `data` of a job spec; uploads larger tables."""
    if weight is None and x.size <= MAX_INLINE_VALUES:
        return {"kind": "inline", "x": json_rows(x), "y": y.tolist()}
    # The weights are another column, not a feature.
    table = x if weight is None else np.column_stack([x, weight])
    name = None if weight is None else f"x{x.shape[1]}"
    return {"kind": "dataset", "id": client.upload((table, y)).id, "target": "y", "weight": name}


def wait(job: Job) -> Job:
    """Wait until the job has ended; cancel it when interrupted."""
    try:
        return job.wait()
    except BaseException:
        with suppress(Exception):
            job.cancel()
        raise


def numbers(prediction: dict[str, Any]) -> list[float | None]:
    """The numbers of a prediction: the probabilities, or the predicted value."""
    if "probabilities" in prediction:
        return list(prediction["probabilities"].values())
    return [prediction["prediction"]]


@contextmanager
def rejections_as_value_errors() -> Iterator[None]:
    """Raise the ValueError that scikit-learn expects for wrong parameters or data, instead of ApiError."""
    try:
        yield
    except ApiError as error:
        if error.status != 422:
            raise
        raise ValueError(str(error)) from error
