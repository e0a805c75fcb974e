"""The cache of prepared data: LRU eviction, keys, and detection of a changed file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.preprocess.dataset import Prepared, prepare
from service.errors import DatasetCorrupt
from service.spec.resolved import Resolved
from service.worker import prepared_cache
from service.worker.prepared_cache import PreparedCache, TableFile
from tests.specs import synthetic


def test_jobs_on_the_same_rows_share_them_and_another_split_does_not() -> None:
    cache = PreparedCache()

    first = cache.get_or_prepare(synthetic(), None)

    assert cache.get_or_prepare(synthetic(seed=1, optimizer={"lr": 0.1}), None) is first
    assert cache.get_or_prepare(synthetic(split={"seed": 1}), None) is not first


def test_the_least_recently_used_rows_are_evicted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PreparedCache()
    splits = [synthetic(split={"seed": seed}) for seed in range(3)]
    one = cache.get_or_prepare(splits[0], None)
    monkeypatch.setattr(prepared_cache, "MAX_BYTES", 2 * prepared_cache._size(one))
    two = cache.get_or_prepare(splits[1], None)
    cache.get_or_prepare(splits[0], None)

    cache.get_or_prepare(splits[2], None)

    assert cache.get_or_prepare(splits[0], None) is one
    assert cache.get_or_prepare(splits[1], None) is not two


def test_a_file_that_changed_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"other bytes")

    with pytest.raises(DatasetCorrupt, match="upload the file again"):
        PreparedCache().get_or_prepare(synthetic(), TableFile(tmp_path / "data.parquet", "ab" * 32))


def digits(architecture: dict[str, Any]) -> Resolved:
    """Inline images of 2 x 2 pixels, of which the first is always dark."""
    x = [[0.0, float(i % 3), float(i % 5), float(i % 2)] for i in range(40)]
    return synthetic(data={"kind": "inline", "x": x, "y": [0, 1] * 20}, architecture=architecture)


def test_an_image_network_does_not_share_rows_with_a_network_that_drops_constant_pixels() -> None:
    cache = PreparedCache()

    flat = cache.get_or_prepare(digits({"kind": "mlp"}), None)
    images = cache.get_or_prepare(digits({"kind": "cnn", "shape": [1, 2, 2], "channels": [4]}), None)

    assert (flat.train.x.shape[1], images.train.x.shape[1]) == (3, 4)


def seen(data: Prepared) -> tuple[object, ...]:
    """Everything that training, and whoever uses the weights, gets of the rows."""
    parts = (data.train, data.validation, data.test)
    return *((part.x.tobytes(), part.y.dtype, part.y.tobytes()) for part in parts), data.preprocessing


@st.composite
def jobs(draw: st.DrawFn) -> Resolved:
    """Jobs on much the same few rows that differ in whatever a client may ask for."""
    x = [[0.0, float(i % 3), float(i % 5), float(i % 2)] for i in range(40)]
    y = draw(st.sampled_from([[0, 1] * 20, ["a", "b"] * 20, [True, False] * 20]))
    inline = {"kind": "inline", "x": x, "y": y}
    made = {"kind": "synthetic", "rows": 40, "features": 4, "seed": draw(st.integers(0, 1))}
    image = {"kind": "layers", "shape": draw(st.sampled_from([[1, 2, 2], [4, 1]])), "layers": [{"kind": "flatten"}]}
    architecture = draw(st.sampled_from([{"kind": "mlp"}, {"kind": "mlp", "hidden": [3]}, image]))
    splits: list[dict[str, Any]] = [{}, {"seed": 1}, {"test": 0.2}, {"shuffle": False}]
    if architecture is not image:  # an image cannot do without a pixel
        splits += [{"group": "x2"}, {"order_by": "x1"}]
    return synthetic(
        data=draw(st.sampled_from([inline, inline, made])),
        task=draw(st.sampled_from(["auto", "classification"])),
        architecture=architecture,
        preprocess={"numeric": draw(st.sampled_from(["standardize", "quantile", "none"]))},
        split=draw(st.sampled_from(splits)),
        seed=draw(st.integers(0, 1)),
        max_epochs=draw(st.integers(1, 2)),
    )


@given(jobs(), jobs())
def test_specs_that_differ_in_what_they_train_on_share_neither_rows_nor_an_array(
    one: Resolved, other: Resolved
) -> None:
    rows = [seen(prepare(job.preparation, None)) for job in (one, other)]

    if rows[0] != rows[1]:
        assert one.preparation.key != other.preparation.key
        assert one.array_key != other.array_key
    if one.preparation == other.preparation:
        assert rows[0] == rows[1]
        assert one.preparation.key == other.preparation.key
