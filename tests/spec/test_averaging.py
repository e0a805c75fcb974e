"""Averages of weights, learning rates by layer and scheduled weight decay in a spec."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from service.engine_constants import AVERAGE_BYTES
from service.errors import InvalidSpec
from service.spec.averaging import Averaging, Ema, Swa
from service.spec.job import version_needed
from service.spec.limits import file_bytes_of, memory_of
from service.spec.optimizer import AdamW
from service.spec.rate_factors import rate_factor
from tests.specs import synthetic

averages: TypeAdapter[Any] = TypeAdapter(Averaging)
NAMED: dict[str, Any] = {
    "kind": "layers",
    "layers": [
        {"kind": "linear", "out_features": 4, "name": "first"},
        {"kind": "batch_norm"},
        {"kind": "activation"},
        {"kind": "linear", "out_features": 4, "name": "second"},
    ],
}


def test_an_average_without_a_kind_is_a_moving_one() -> None:
    assert averages.validate_python({"decay": 0.9}) == Ema(decay=0.9)
    assert averages.validate_python({"kind": "swa"}) == Swa()


@pytest.mark.parametrize("wrong", [{"decay": 1.0}, {"kind": "swa", "start": 0}, {"kind": "swa", "decay": 0.9}])
def test_an_average_out_of_its_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        averages.validate_python(wrong)


@pytest.mark.parametrize(("epochs", "first"), [(1, 1), (2, 2), (4, 4), (100, 76)])
def test_the_mean_takes_the_last_quarter_of_the_epochs_by_default(epochs: int, first: int) -> None:
    assert Swa().first_epoch(epochs) == first
    assert Swa(start=3).first_epoch(epochs) == 3


def test_a_mean_that_would_start_after_the_end_is_refused() -> None:
    synthetic(averaging={"kind": "swa", "start": 5}, max_epochs=5)

    with pytest.raises(InvalidSpec) as refused:
        synthetic(averaging={"kind": "swa", "start": 6}, max_epochs=5)
    assert refused.value.field_errors[0].pointer == "/averaging/start"


def test_an_average_takes_memory_and_a_part_of_the_state() -> None:
    without, averaged = synthetic(), synthetic(averaging={"kind": "ema"})

    more = memory_of(averaged)["/architecture"] - memory_of(without)["/architecture"]
    assert more == AVERAGE_BYTES * without.parameters
    assert file_bytes_of(averaged) > file_bytes_of(without) + 4 * without.parameters - 1


@pytest.mark.parametrize("key", ["first", "second.bias", "linear", "linear.weight", "batch_norm", "batch_norm.bias"])
def test_a_rate_names_a_layer_by_name_or_kind(key: str) -> None:
    job = synthetic(architecture=NAMED, optimizer={"rates": {key: 0.5}})

    assert job.spec.optimizer.rates == {key: 0.5}


@pytest.mark.parametrize("key", ["third", "activation", "linear.scale", "bias", "", "dropout"])
def test_a_rate_that_names_no_layer_with_parameters_is_refused(key: str) -> None:
    with pytest.raises(
        (InvalidSpec, ValidationError), match=r"no layer with parameters|at least 1 character"
    ) as refused:
        synthetic(architecture=NAMED, optimizer={"rates": {key: 0.5}})
    if isinstance(refused.value, InvalidSpec):
        assert refused.value.field_errors[0].pointer == f"/optimizer/rates/{key}"


def test_the_most_specific_rate_counts() -> None:
    first, norm, _, second, last = synthetic(architecture=NAMED).graph.nodes
    rates = {"first": 2.0, "first.bias": 3.0, "linear": 5.0, "linear.bias": 7.0}

    found = [rate_factor(node, name, rates) for node in (first, second, last) for name in ("weight", "bias")]

    assert found == [2.0, 3.0, 5.0, 7.0, 5.0, 7.0]
    assert rate_factor(norm, "weight", rates) == 1.0


def test_jobs_with_other_rates_or_averages_are_other_arrays_but_their_numbers_may_differ() -> None:
    keys = [
        synthetic(**fields).array_key
        for fields in (
            {},
            {"averaging": {"kind": "ema"}},
            {"averaging": {"kind": "swa"}},
            {"optimizer": {"rates": {"linear": 2.0}}},
            {"optimizer": {"kind": "adamw"}},
            {"optimizer": {"kind": "adamw", "decay_schedule": "flat_cos"}},
        )
    ]

    assert len({*keys}) == len(keys)
    assert keys[1] == synthetic(averaging={"kind": "ema", "decay": 0.9}).array_key


def test_only_decoupled_decay_has_a_schedule() -> None:
    with pytest.raises(ValidationError, match="decay_schedule"):
        synthetic(optimizer={"kind": "adam", "decay_schedule": "flat_cos"})
    assert AdamW(decay_schedule="flat_cos").decay_schedule == "flat_cos"


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"optimizer": {"kind": "adamw"}}, 1),
        ({"optimizer": {"kind": "adamw", "decay_schedule": "flat_cos"}}, 2),
        ({"optimizer": {"rates": {"linear": 2.0}}}, 2),
        ({"averaging": {"kind": "ema"}}, 2),
    ],
)
def test_workers_of_the_last_release_leave_what_they_do_not_know(fields: dict[str, Any], version: int) -> None:
    assert version_needed(synthetic(**fields).spec) == version
