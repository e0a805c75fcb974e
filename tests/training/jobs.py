"""Jobs that several tests train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from service.data.preprocess.dataset import Prepared, prepare
from service.spec.resolve import Resolved
from service.training.loop import Report, train
from service.training.models import Network, build
from tests.specs import synthetic

CPU = torch.device("cpu")


def job(**fields: Any) -> tuple[Resolved, Prepared]:
    """A small job with `fields` of its spec set, and its rows."""
    resolved = synthetic(**fields)
    return resolved, prepare(resolved.preparation, None)


def reports(**fields: Any) -> Iterator[Report]:
    """The reports of such a job."""
    resolved, data = job(**fields)
    return (report for (report,) in train([resolved], data, CPU))


def network_of(resolved: Resolved, state: dict[str, Tensor]) -> Network:
    """The plain network with these weights, in evaluation mode."""
    network = build(resolved.layers)
    network.load_state_dict(state, strict=True)
    return network.eval()
