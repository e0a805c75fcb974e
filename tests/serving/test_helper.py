"""The prediction helper: predictions and exports, and its process."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from service.artifacts import sha256_of
from service.concurrency.cancellation import CancellableTask, Cancelled, set_current
from service.data.preprocess.dataset import prepare
from service.domain.checkpoint import CheckpointFormat
from service.domain.export import Export, ExportedJob
from service.domain.model_ref import Member, ModelRef
from service.errors import CheckpointCorrupt, Conflict, InvalidData, ServiceError, Unavailable
from service.serving import helper
from service.serving.predictor import Predictor
from service.spec.job import JobSpec
from service.spec.resolve import inline_profile, resolve
from service.training.checkpoint import Metadata, from_bytes, to_bytes
from service.training.loop import Training
from tests.processes import children, linux_only, until
from tests.serving.exports.test_bundle import job_of

CPU = torch.device("cpu")
X = [[float(i % 7), float(i)] for i in range(40)]


def checkpoint(path: Path, y: list[Any], null_values: tuple[str, ...] = (), **fields: Any) -> str:
    """The file of a network trained on X and `y`."""
    spec = JobSpec.model_validate({"data": {"kind": "inline", "x": X, "y": y}, "max_epochs": 3, **fields})
    profile = inline_profile(spec.data).model_copy(update={"null_values": list(null_values)})  # type: ignore[arg-type]
    resolved = resolve(spec, profile)
    rows = prepare(resolved.preparation, None)
    training = Training([resolved], rows, CPU)
    *_, (last,) = training
    path.write_bytes(to_bytes(training.best_state(0), Metadata.of(resolved, rows.preprocessing, last.row)))
    return str(path)


def ref(*paths: Path | str, weights: tuple[float, ...] = (1.0,)) -> ModelRef:
    """The model of these checkpoints."""
    found = zip(paths, weights, strict=True)
    return ModelRef(tuple(Member(str(path), sha256_of(Path(path)), weight) for path, weight in found))


def predicted(model: ModelRef, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers to one request."""
    [answers] = helper.predict(model, [rows]).answers
    if isinstance(answers, ServiceError):
        raise answers
    return answers


def test_classes_come_with_their_probabilities(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a", ["yes" if i % 2 else "no" for i in range(40)])
    rows = [{"x0": float(i), "x1": None if i == 3 else 2.0} for i in range(5)]

    together = predicted(ref(path), rows)

    for answer in together:
        assert set(answer["probabilities"]) == {"yes", "no"}
        assert sum(answer["probabilities"].values()) == pytest.approx(1.0)
        assert answer["prediction"] == max(answer["probabilities"], key=answer["probabilities"].get)


def test_booleans_are_answered_as_booleans(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "b", [i % 2 == 0 for i in range(40)])

    [answer] = predicted(ref(path), [{"x0": 1, "x1": 2}])

    assert answer["prediction"] in (True, False)
    assert set(answer["probabilities"]) == {"true", "false"}


def test_a_number_beyond_float64_is_null(tmp_path: Path) -> None:
    path = checkpoint(
        tmp_path / "c",
        [i * 1e300 for i in range(40)],
        task="regression",
        preprocess={"numeric": "none"},
        architecture={"hidden": []},
    )

    answers = predicted(ref(path), [{"x0": 1.0, "x1": 2.0}, {"x0": 1e300, "x1": 1e300}])

    assert isinstance(answers[0]["prediction"], float)
    assert answers[1] == {"prediction": None}


def test_null_values_of_the_data_set_are_missing_in_predictions_too(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "d", [i % 3 for i in range(40)], null_values=("unknown", "-999"))

    [missing, text, number] = predicted(ref(path), [{"x0": v, "x1": 1.0} for v in (None, "unknown", -999)])

    assert text == missing
    assert number == missing


def test_an_answer_has_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint(tmp_path / "e", [i % 3 for i in range(40)])
    monkeypatch.setattr(helper, "MAX_PROBABILITIES", 10)

    with pytest.raises(InvalidData, match="send at most 3 at once"):
        helper.check_rows(ref(path), [{"x0": 1.0, "x1": 1.0}] * 4)


def test_the_export_is_what_torch_loads_without_unpickling(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "f", [i % 3 for i in range(40)])

    helper.export_pt(path, sha256_of(Path(path)), str(tmp_path / "export"))

    state = torch.load(tmp_path / "export", weights_only=True)
    assert state["layers.0.weight"].shape == (64, 2)


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    running = Predictor()
    yield running
    running.close()


def test_the_helper_returns_predictions_and_errors(predictor: Predictor, tmp_path: Path) -> None:
    path = Path(checkpoint(tmp_path / "g", [i % 3 for i in range(40)]))

    assert len(predictor.predict(ref(path), [{"x0": 1.0, "x1": 2.0}]).answers) == 1
    with pytest.raises(InvalidData) as wrong:
        predictor.predict(ref(path), [{"x0": "one", "x1": 2.0}])
    with pytest.raises(CheckpointCorrupt, match="No such file"):
        predictor.to_pt(tmp_path / "nowhere", "", tmp_path / "export")

    assert wrong.value.field_errors[0].pointer == "/rows/0/x0"


def test_a_helper_that_dies_is_replaced(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(checkpoint(tmp_path / "h", [i % 3 for i in range(40)]))
    predictor.to_pt(path, sha256_of(path), tmp_path / "export")
    process = predictor._pool._helpers[0]._process
    assert process is not None
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr("service.serving.helper_process.ANSWER_SECONDS", 0.1)

    with pytest.raises(Unavailable):
        predictor.to_pt(path, sha256_of(path), tmp_path / "export")

    monkeypatch.setattr("service.serving.helper_process.ANSWER_SECONDS", 30.0)
    started = time.monotonic()
    predictor.to_pt(path, sha256_of(path), tmp_path / "another")
    assert (tmp_path / "another").stat().st_size == (tmp_path / "export").stat().st_size
    assert time.monotonic() - started < 30.0


def test_an_export_error_is_reported_and_the_helper_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint(tmp_path / "i", [i % 3 for i in range(40)])

    def fails(*_: object) -> bytes:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr("service.serving.exports.export.to_pt2", fails)
    with pytest.raises(Conflict, match=r"^this model cannot be exported as pt2: no such operator$"):
        helper.export(ref(path), program_of(path, tmp_path), str(tmp_path / "export"))


def program_of(path: str | Path, history: Path) -> Export:
    """The inputs of an export as pt2 of the checkpoint."""
    of = ExportedJob(job=job_of(from_bytes(Path(path).read_bytes())), dataset=None, history=history)
    return Export(format=CheckpointFormat.pt2, of=of, calibrated=True, tables={})


def test_many_rows_are_predicted_in_parts_bit_identically(predictor: Predictor, tmp_path: Path) -> None:
    path = Path(checkpoint(tmp_path / "j", [i % 3 for i in range(40)]))
    rows = [{"x0": i * 0.3, "x1": float(i)} for i in range(150)]

    answers = predictor.predict(ref(path), rows).answers

    assert answers == [answer for row in rows for answer in predictor.predict(ref(path), [row]).answers]
    with pytest.raises(InvalidData) as wrong:
        predictor.predict(ref(path), [*rows, {"x0": "one", "x1": 2.0}])
    assert wrong.value.field_errors[0].pointer == "/rows/150/x0"


def test_the_model_cache_is_bounded_in_bytes_and_evicts_the_least_recently_used(tmp_path: Path) -> None:
    paths = [checkpoint(tmp_path / f"m{i}", [i % 3 for i in range(40)], seed=i) for i in range(3)]
    large = checkpoint(tmp_path / "large", [i % 3 for i in range(40)], architecture={"hidden": [512]})
    first, second, third = ((path, sha256_of(Path(path))) for path in paths)
    one = helper.ModelCache(2**30).load(*first).size_bytes
    models = helper.ModelCache(2 * one + one // 2)

    kept = models.load(*first)
    models.load(*second)
    assert models.load(*first) is kept
    models.load(*third)

    assert models.size_bytes == 2 * one
    assert models.load(*first) is kept
    assert models.load(large, sha256_of(Path(large))).size_bytes > models.max_bytes  # it predicts, and is not cached
    assert (models.load(*first) is kept, models.size_bytes) == (True, 2 * one)


def test_members_that_do_not_fit_into_the_cache_together_do_not_evict_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [checkpoint(tmp_path / f"m{i}", [i % 3 for i in range(40)], seed=i) for i in range(4)]
    model, other = ref(*paths[:3], weights=(1.0,) * 3), ref(paths[3])
    one = helper.ModelCache(2**30).load(paths[0], sha256_of(Path(paths[0]))).size_bytes
    models, read, loaded = helper.ModelCache(2 * one + one // 2), helper._read, list[str]()
    models.weighted(other)
    models.weighted(model)

    def counted(path: str, sha256: str) -> bytes:
        loaded.append(path)
        return read(path, sha256)

    monkeypatch.setattr(helper, "_read", counted)
    models.weighted(model)
    assert loaded == paths[2:3]
    models.weighted(other)

    assert loaded == paths[2:4]
    assert models.size_bytes == 2 * one


@linux_only
def test_a_helper_keeps_no_more_memory_than_its_budget(tmp_path: Path) -> None:
    wide = {"architecture": {"hidden": [2048, 1024]}, "max_epochs": 1}  # some 8 MB of weights
    first = Path(checkpoint(tmp_path / "w", [i % 3 for i in range(40)], **wide))
    paths = [Path(shutil.copy(first, tmp_path / f"w{i}")) for i in range(8)]
    running = Predictor(model_bytes=20 * 2**20)
    used = []
    try:
        for path in paths:
            running.predict(ref(path), [{"x0": 1.0, "x1": 2.0}])
            pid = running._pool._helpers[0]._process.pid  # type: ignore[union-attr]
            used.append(memory_of(pid))
    finally:
        running.close()

    assert used[-1] - used[1] < 4 * 8 * 2**20  # of eight models in one copy, six came after


@linux_only
def test_an_export_ends_when_its_task_is_cancelled(predictor: Predictor, tmp_path: Path) -> None:
    path = Path(checkpoint(tmp_path / "k", [i % 3 for i in range(40)]))
    work, before = CancellableTask("a"), set(children(os.getpid()))

    def export() -> None:
        set_current(work)
        predictor.export(ref(path), program_of(path, tmp_path), tmp_path / "export")

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(export)
        until(lambda: set(children(os.getpid())) - before)
        work.cancel()
        with pytest.raises(Cancelled):
            running.result(timeout=10)

    assert not (tmp_path / "export").exists()


def memory_of(pid: int) -> int:
    """Bytes that a process holds now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
