"""Checkpoint files: round trip of network and metadata; damaged files are refused, no code is executed."""

from __future__ import annotations

import io
import json

import pytest
import torch
from safetensors.torch import load
from safetensors.torch import save as save_tensors

from service.errors import CheckpointCorrupt
from service.training.checkpoint import Metadata, from_bytes, to_bytes, to_pt
from service.training.models import build
from tests.training.jobs import Observed, job, network_of, reports

RESOLVED, DATA = job(max_epochs=2)


@pytest.fixture(scope="module")
def report() -> Observed:
    return list(reports(max_epochs=2))[-1]


@pytest.fixture(scope="module")
def data(report: Observed) -> bytes:
    return to_bytes(report.best_state, Metadata.of(RESOLVED, DATA.preprocessing, report.row))


def test_a_loaded_checkpoint_is_the_same_network_in_evaluation_mode(report: Observed, data: bytes) -> None:
    x = torch.tensor(DATA.validation.x)

    checkpoint = from_bytes(data)

    assert not checkpoint.network.training
    assert torch.equal(checkpoint.network(x), network_of(RESOLVED, report.best_state)(x))
    assert (checkpoint.spec, checkpoint.preprocessing) == (RESOLVED.spec, DATA.preprocessing)
    assert (checkpoint.epoch, checkpoint.metrics["val_loss"]) == (2, report.row.val_loss)


def test_equal_weights_give_equal_bytes(report: Observed, data: bytes) -> None:
    again = [to_bytes(report.best_state, Metadata.of(RESOLVED, DATA.preprocessing, report.row)) for _ in range(20)]

    assert set(again) == {data}


def test_any_reader_of_safetensors_finds_the_weights_by_their_usual_names(report: Observed, data: bytes) -> None:
    tensors = load(data)

    assert tensors.keys() == build(RESOLVED.graph).state_dict().keys()
    assert all(torch.equal(values, tensors[key]) for key, values in report.best_state.items())


def test_equal_weights_give_equal_pt_exports(data: bytes) -> None:
    again = {to_pt(data) for _ in range(20)}

    assert len(again) == 1


def test_the_pt_export_loads_as_weights_only_and_strictly(report: Observed, data: bytes) -> None:
    state = torch.load(io.BytesIO(to_pt(data)), weights_only=True)

    network = build(RESOLVED.graph)
    network.load_state_dict(state, strict=True)
    assert all(torch.equal(values, state[key]) for key, values in report.best_state.items())


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"\xff" * 64, b"\x80\x04K\x01."])
def test_damaged_bytes_are_refused(damage: bytes) -> None:
    for read in (from_bytes, to_pt):
        with pytest.raises(CheckpointCorrupt, match="the checkpoint's file is damaged"):
            read(damage)


def test_a_truncated_file_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointCorrupt, match="damaged"):
        from_bytes(data[:-10])


def test_weights_that_are_not_those_of_the_description_are_refused(report: Observed, data: bytes) -> None:
    metadata = Metadata.of(RESOLVED, DATA.preprocessing, report.row)
    missing = {key: values for key, values in report.best_state.items() if key != "layers.0.weight"}
    foreign = save_tensors(report.best_state)
    unknown = to_bytes(report.best_state, metadata).replace(b'\\"format\\":1', b'\\"format\\":9')

    assert json.loads(metadata.model_dump_json())["format"] == 1
    for wrong in (to_bytes(missing, metadata), foreign, unknown):
        with pytest.raises(CheckpointCorrupt, match="do not fit together"):
            from_bytes(wrong)
