"""The cache of prepared data: LRU eviction, keys, and detection of a changed file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.artifacts import sha256_of
from service.data.preprocess.dataset import Prepared, prepare
from service.errors import DatasetCorrupt, InvalidSpec
from service.spec.resolved import Resolved
from service.spec.split import Split
from service.worker import prepared_cache
from service.worker.prepared_cache import PreparedCache, TableFile
from tests.data.tables import Stored, store
from tests.specs import synthetic


def prepared(cache: PreparedCache, job: Resolved) -> Prepared:
    """The rows of one job on data inside its spec."""
    (found,) = cache.get_or_prepare([job], None)
    assert isinstance(found, Prepared)
    return found


def test_jobs_on_the_same_rows_share_them_and_another_split_does_not() -> None:
    cache = PreparedCache()

    first = prepared(cache, synthetic())

    assert prepared(cache, synthetic(seed=1, optimizer={"lr": 0.1})) is first
    assert prepared(cache, synthetic(split={"seed": 1})) is not first


def test_the_least_recently_used_rows_are_evicted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PreparedCache()
    splits = [synthetic(split={"seed": seed}) for seed in range(3)]
    one = prepared(cache, splits[0])
    monkeypatch.setattr(prepared_cache, "MAX_BYTES", 2 * one.nbytes)
    two = prepared(cache, splits[1])
    prepared(cache, splits[0])

    prepared(cache, splits[2])

    assert prepared(cache, splits[0]) is one
    assert prepared(cache, splits[1]) is not two


def test_a_file_that_changed_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"other bytes")

    (refused,) = PreparedCache().get_or_prepare([synthetic()], TableFile(tmp_path / "data.parquet", "ab" * 32))

    assert isinstance(refused, DatasetCorrupt)
    assert "upload the file again" in refused.detail


def folds(stored: Stored, **split: Any) -> list[Resolved]:
    """Five folds of an uploaded table, two seeds each."""
    return [
        stored.resolve("y", split={"folds": 5, "fold": fold, **split}, seed=seed, task="classification")
        for seed in (0, 1)
        for fold in range(1, 6)
    ]


def uploaded(folder: Path) -> Stored:
    lines = [f"{i % 7},{i * 0.3},{'abc'[i % 3]},{i % 2},g{min(i // 9, 2)}" for i in range(60)]
    return store(folder, "a,b,c,y,g\n" + "\n".join(lines) + "\n")


def test_folds_of_a_table_read_and_verify_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, calls = uploaded(tmp_path), list[str]()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            calls.append(name)
            return function(*arguments)

        return called

    for name in ("load", "sha256_of", "prepare_table"):
        monkeypatch.setattr(prepared_cache, name, counting(name, getattr(prepared_cache, name)))
    cache, jobs = PreparedCache(), folds(stored)
    found = cache.get_or_prepare(jobs, TableFile(stored.parquet, sha256_of(stored.parquet)))

    assert Counter(calls) == {"sha256_of": 1, "load": 1, "prepare_table": 5}
    assert all(found[n] is found[n + 5] for n in range(5))
    for job, own in zip(jobs, found, strict=True):
        assert isinstance(own, Prepared)
        assert seen(own) == seen(prepare(job.preparation, stored.parquet))


def test_folds_beyond_the_size_of_the_cache_are_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_cache, "MAX_BYTES", 1)
    stored = uploaded(tmp_path)

    found = PreparedCache().get_or_prepare(folds(stored), TableFile(stored.parquet, sha256_of(stored.parquet)))

    assert all(found[n] is found[n + 5] for n in range(5))


def test_a_split_that_the_rows_do_not_allow_leaves_the_others_alone(tmp_path: Path) -> None:
    stored = uploaded(tmp_path)
    sound = stored.resolve("y", split={"group": "g"}, task="classification")
    impossible = replace(sound, spec=sound.spec.model_copy(update={"split": Split(group="g", folds=5, fold=1)}))

    prepared_rows, refused = PreparedCache().get_or_prepare(
        [sound, impossible], TableFile(stored.parquet, sha256_of(stored.parquet))
    )

    assert isinstance(prepared_rows, Prepared)
    assert isinstance(refused, InvalidSpec)
    assert refused.detail == "the rows have 3 groups; the split needs 5 or more"


def digits(architecture: dict[str, Any]) -> Resolved:
    """Inline images of 2 x 2 pixels, of which the first is always dark."""
    x = [[0.0, float(i % 3), float(i % 5), float(i % 2)] for i in range(40)]
    return synthetic(data={"kind": "inline", "x": x, "y": [0, 1] * 20}, architecture=architecture)


def test_an_image_network_does_not_share_rows_with_a_network_that_drops_constant_pixels() -> None:
    cache = PreparedCache()

    flat = prepared(cache, digits({"kind": "mlp"}))
    images = prepared(cache, digits({"kind": "cnn", "shape": [1, 2, 2], "channels": [4]}))

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
