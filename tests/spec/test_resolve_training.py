"""Resolving training settings: split, monitor, batches, limits and warnings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine_constants import MAX_ARRAY_ROW_BYTES, PROCESS_BYTES
from service.errors import InvalidSpec
from service.spec.job import JobSpec
from service.spec.limits import JobLimits, array_memory_of, memory_of
from service.spec.resolve import RowCounts, profile_of, resolve
from service.spec.split import Split, split_sizes
from tests.spec.tables import TABLE, column, refused, resolved, spec, table


@pytest.mark.parametrize(
    ("target", "shuffle", "stratify"), [("species", True, True), ("species", False, False), ("length", True, False)]
)
def test_only_shuffled_classes_are_stratified_by_default(target: str, shuffle: bool, stratify: bool) -> None:
    assert resolved(target=target, split={"shuffle": shuffle}).spec.split.stratify is stratify


@pytest.mark.parametrize(("target", "shuffle"), [("species", False), ("length", True)])
def test_a_stratified_split_that_cannot_be_is_refused(target: str, shuffle: bool) -> None:
    assert refused(target=target, split={"shuffle": shuffle, "stratify": True})[0] == "/split/stratify"


@pytest.mark.parametrize("loss", [{"label_smoothing": 0.1}, {"class_weight": "balanced"}])
def test_regression_refuses_what_only_classes_have(loss: dict[str, Any]) -> None:
    (field,) = loss

    resolved(loss=loss)
    assert refused(target="length", loss=loss)[0] == f"/loss/{field}"


def test_rows_without_a_target_are_dropped_and_counted() -> None:
    result = resolved(table(column("x"), column("y", "text", missing=10, distinct=2)), "y")

    assert result.rows == RowCounts(train=72, validation=18, test=0, dropped=10)
    (warning,) = result.warnings
    assert warning.code == "rows_dropped"
    assert warning.message == "10 rows without a value in 'y' are left out"


@given(st.integers(1, 10_000), st.floats(0, 0.45), st.floats(0, 0.45))
def test_a_split_uses_every_row_once_and_leaves_no_wanted_part_empty(rows: int, validation: float, test: float) -> None:
    parts = split_sizes(rows, Split(validation=validation, test=test))

    assert sum(parts) == rows
    for part, share in zip(parts[1:], (validation, test), strict=True):
        assert (part > 0) == (share > 0)
        assert abs(part - rows * share) <= (0.5 if rows * share >= 0.5 else 1)


@pytest.mark.parametrize(("rows", "taken"), [(3, True), (2, False), (1, False)])
def test_two_training_rows_and_one_validation_row_are_the_least(rows: int, taken: bool) -> None:
    small = table(column("x"), column("y", "boolean"), rows=rows)

    if taken:
        assert resolved(small, "y").rows == RowCounts(2, 1, 0, 0)
    else:
        assert refused(small, "y")[0] == "/split"


def test_a_split_that_gives_away_more_rows_than_there_are_is_refused() -> None:
    pointer, message = refused(split={"validation": 0.6, "test": 0.6})

    assert (pointer, message) == ("/split", "100 usable rows leave 0 for training; at least 2 are needed")


@pytest.mark.parametrize("monitor", ["val_accuracy", "val_f1_macro", "val_roc_auc", "val_log_loss"])
def test_regression_refuses_the_monitors_of_classes(monitor: str) -> None:
    resolved(early_stopping={"monitor": monitor})
    assert refused(target="length", early_stopping={"monitor": monitor})[0] == "/early_stopping/monitor"


@pytest.mark.parametrize("monitor", ["val_mae", "val_rmse", "val_r2"])
def test_classification_refuses_the_monitors_of_numbers(monitor: str) -> None:
    resolved(target="length", early_stopping={"monitor": monitor})
    assert refused(early_stopping={"monitor": monitor})[0] == "/early_stopping/monitor"


def test_r2_of_a_single_validation_row_is_refused() -> None:
    few = table(column("x"), column("y"), rows=5)

    assert refused(few, "y", early_stopping={"monitor": "val_r2"})[0] == "/early_stopping/monitor"
    assert resolved(few, "y", early_stopping={"monitor": "val_mae"}).rows.validation == 1


def test_without_validation_rows_only_the_training_loss_can_decide() -> None:
    split = {"validation": 0.0}

    assert refused(split=split)[0] == "/early_stopping/monitor"
    assert resolved(split=split, early_stopping={"monitor": "train_loss"}).monitor.value == "train_loss"
    assert resolved(split=split, early_stopping=None).monitor.value == "train_loss"


def test_without_early_stopping_the_validation_loss_still_finds_the_best_epoch() -> None:
    assert resolved(early_stopping=None).monitor.value == "val_loss"


def test_batch_norm_needs_two_rows_in_a_batch() -> None:
    assert refused(batch_size=1)[0] == "/batch_size"
    resolved(batch_size=1, architecture={"batch_norm": False})
    resolved(batch_size=1, architecture={"hidden": []})


def test_nesterov_needs_a_momentum() -> None:
    assert refused(optimizer={"kind": "sgd", "nesterov": True})[0] == "/optimizer/nesterov"
    resolved(optimizer={"kind": "sgd", "nesterov": True, "momentum": 0.9})


def limits(**fields: Any) -> JobLimits:
    wide: dict[str, Any] = {"parameters": 10**9, "epochs": 10**6, "seconds": None, "memory_bytes": 2**50}
    return JobLimits(**{**wide, **fields})


def test_a_job_may_ask_for_as_much_as_the_server_allows_and_no_more() -> None:
    size, memory = resolved().parameters, PROCESS_BYTES + sum(memory_of(resolved()).values())

    exact = limits(parameters=size, epochs=100, seconds=60.0, memory_bytes=memory)
    assert resolve(spec(max_seconds=60.0), TABLE, exact).parameters == size
    for bound, fields, pointer, said in (
        (limits(parameters=size - 1), {}, "/architecture", f"{size:,} parameters"),
        (limits(epochs=99), {}, "/max_epochs", "allows 99 epochs, not 100"),
        (limits(seconds=59.0), {"max_seconds": 60.0}, "/max_seconds", "allows 59 seconds, not 60"),
        (limits(memory_bytes=memory - 1), {}, None, "this server has 0.2 GiB for a job"),
    ):
        with pytest.raises(InvalidSpec) as error:
            resolve(spec(**fields), TABLE, bound)
        assert pointer in (None, error.value.field_errors[0].pointer)
        assert said in error.value.detail


def test_a_job_that_asks_for_no_time_gets_what_the_server_allows() -> None:
    assert resolve(spec(), TABLE, limits(seconds=60.0)).spec.max_seconds == 60.0
    assert resolve(spec(max_seconds=5.0), TABLE, limits(seconds=60.0)).spec.max_seconds == 5.0


def test_the_row_sets_of_an_array_fit_into_the_memory_of_the_server() -> None:
    # 100,000 rows of 20 inputs, and padded to 32, in float32.
    job = JobSpec.model_validate({"data": {"kind": "synthetic", "rows": 100_000, "features": 20}})
    profile, one_set = profile_of(job.data), 100_000 * 32 * 4
    plain = resolve(job, profile)
    alone = PROCESS_BYTES + sum(memory_of(plain).values())

    sets = [
        resolve(job, profile, limits(memory_bytes=alone + more)).row_sets
        for more in (0, one_set - 1, one_set, 4 * one_set, 2**40)
    ]

    assert plain.row_set_bytes == one_set
    assert sets == [1, 1, 2, 5, MAX_ARRAY_ROW_BYTES // one_set]
    assert plain.row_sets == sets[-1]
    assert array_memory_of(plain, 1, 1) == alone
    assert array_memory_of(plain, 8, 3) > alone + 2 * one_set


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"architecture": {"hidden": [20_000, 20_000]}}, "/architecture"),
        ({"architecture": {"hidden": [500] * 3}, "batch_size": "full"}, "/batch_size"),
        ({"architecture": {"hidden": []}}, "/data"),
        ({"architecture": {"kind": "ft_transformer"}, "batch_size": 256}, "/architecture"),
    ],
)
def test_the_error_points_at_the_largest_part_of_the_memory(fields: Any, pointer: str) -> None:
    job = JobSpec.model_validate({"data": {"kind": "synthetic", "rows": 200_000, "features": 100}, **fields})

    with pytest.raises(InvalidSpec) as error:
        resolve(job, profile_of(job.data), limits(memory_bytes=2**20))

    assert [fault.pointer for fault in error.value.field_errors] == [pointer]


def test_a_network_of_which_few_rows_fit_in_a_step_is_too_large_and_not_the_batch() -> None:
    data = {"kind": "synthetic", "rows": 2_000, "features": 700}
    wide = {"kind": "ft_transformer", "width": 2_048, "blocks": 16}
    found = []
    for batch_size, network in ((64, wide), (512, {"kind": "ft_transformer"})):
        job = JobSpec.model_validate({"data": data, "architecture": network, "batch_size": batch_size})
        with pytest.raises(InvalidSpec) as error:
            resolve(job, profile_of(job.data))
        found += [(fault.pointer, fault.message.rpartition(": ")[2]) for fault in error.value.field_errors]

    assert found[0] == ("/architecture", "take a smaller network, or fewer inputs")
    assert found[1][0] == "/batch_size"
