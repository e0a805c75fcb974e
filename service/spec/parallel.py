"""Training of one job on several devices: data parallel."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.spec.base import Int, Strict

ROWS_OF_RANK = 2
"""Rows of a batch that each device has at least: batch normalization needs two."""


class Parallel(Strict):
    """Data parallel training: each device computes the gradient of its rows of every batch, and the sum is taken in a
    fixed order. The network and its training must fit on one device."""

    devices: Annotated[Int, Field(ge=2, le=64)]
    """GPUs, or on CPUs processes of one thread. Results depend on it, but not on which workers and machines they are
    on."""
    batch_norm: Literal["local", "synchronized"] = "local"
    """Batch normalization: `local` takes the statistics of each device's own rows, and the mean of the devices' running
    statistics after each epoch; `synchronized` takes those of the whole batch."""
