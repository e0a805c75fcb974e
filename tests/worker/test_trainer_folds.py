"""The trainer: folds and other splits of one table in one claim, each as if it had been trained alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from service.artifacts import Artifacts, sha256_of
from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status
from service.spec.resolve import Resolved
from service.store import datasets
from service.store.engine import Database
from service.store.jobs import jobs
from service.store.jobs.attempt import Outcome
from service.store.jobs.claim import Claim
from service.training.loop import Training
from service.worker.attempt import FlushResult
from service.worker.protocol import STOP
from service.worker.recorder import Recorder
from tests.data.tables import DATASET, Stored, store
from tests.store.records import claim, dataset, job
from tests.worker.trainers import outcome, trainer

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

FOLDS: list[dict[str, Any]] = [{"folds": 4, "fold": fold, "test": 0.1} for fold in (1, 2, 3, 4)]
SPLITS: list[dict[str, Any]] = [
    {"seed": 3, "validation": 0.11},
    {"validation": 0.4, "train_fraction": 0.6, "train_seed": 1},
    {"shuffle": False, "test": 0.3},
]
BASE: dict[str, Any] = {"max_epochs": 7, "early_stopping": {"patience": 1}, "batch_size": 16, "optimizer": {"lr": 0.03}}
VARIANTS: dict[str, dict[str, Any]] = {
    "classification": {},
    "class weights": {"loss": {"class_weight": "balanced"}},
    "sample weights": {"data": {"weight": "w"}},
    "regression": {"data": {"target": "v"}, "architecture": {"hidden": [7], "dropout": 0.2}},
    "full batches": {"batch_size": "full"},
    "moving average and flat-cosine decay": {
        "averaging": {"kind": "ema", "decay": 0.9},
        "optimizer": {"kind": "adamw", "weight_decay": 0.1, "decay_schedule": "flat_cos"},
        "schedule": {"kind": "coslog4"},
    },
    "averaged epochs": {"averaging": {"kind": "swa"}, "schedule": {"kind": "cosine"}},
    "targets out of fold": {"preprocess": {"max_categories": 1, "high_cardinality": "target"}},
    "pinball loss in bins": {
        "data": {"target": "v"},
        "preprocess": {"numeric": "piecewise_linear", "bins": 4, "clip_target": True},
        "loss": {"kind": "quantile", "q": 0.7},
    },
    "quantiles": {"preprocess": {"numeric": "quantile"}, "optimizer": {"kind": "sgd", "max_grad_norm": 0.2}},
}


@pytest.fixture
def stored(database: Database, artifacts: Artifacts, tmp_path: Path) -> Stored:
    """An uploaded table of 103 rows: numbers, text, a class, a number to predict, weights, groups and parts."""
    lines = ["a,b,c,y,v,w,g,part"]
    for i in range(103):
        part = "train" if i % 7 else "validation"
        lines.append(
            f"{i * 37 % 101},{i * i % 13},{'pqr'[i % 3]},{i % 5 // 2},{i * 0.37 % 9},{(i < 50) * 2},{i % 3},{part}"
        )
    return upload(database, artifacts, tmp_path, "\n".join(lines) + "\n")


def upload(database: Database, artifacts: Artifacts, folder: Path, content: str) -> Stored:
    """Store a table as an upload does."""
    stored = store(folder, content)
    key = f"datasets/{DATASET}/data.parquet"
    artifacts.put(key, stored.parquet.read_bytes())
    uploaded = dataset(DATASET).model_copy(
        update={"rows": stored.rows, "columns": stored.columns, "parquet_sha256": sha256_of(stored.parquet)}
    )
    with database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, uploaded, path=key, options="{}")
    return stored


def resolve(stored: Stored, fields: dict[str, Any], **own: Any) -> Resolved:
    data = {"features": ["a", "b", "c"], **fields.get("data", {})}
    task = {"task": "classification"} if data.get("target", "y") == "y" else {}
    rest = {name: value for name, value in fields.items() if name != "data"}
    return stored.resolve(data.pop("target", "y"), data=data, **{**BASE, **task, **rest, **own})


def submit(database: Database, resolved: Resolved) -> str:
    with database.transaction(DEFAULT_TENANT) as connection:
        return jobs.submit(connection, resolved, max_queued=1_000)[0].id


def train(database: Database, artifacts: Artifacts, claims: Sequence[Claim], *messages: str) -> None:
    """Train one claim; the trainer reads `messages` at the end of its first epoch."""
    here, there = Pipe()
    for message in messages:
        here.send(message)
    trainer(database, artifacts, (here, there)).run(claims)


def alone(database: Database, artifacts: Artifacts, resolved: list[Resolved]) -> list[tuple[Any, ...]]:
    """The outcome of each job, claimed and trained alone."""
    found = []
    for each in resolved:
        job_id = submit(database, each)
        train(database, artifacts, claim(database))
        found.append(outcome(database, artifacts, job_id))
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_folds_and_splits_of_one_claim_end_as_they_do_alone(
    database: Database, artifacts: Artifacts, stored: Stored, variant: str
) -> None:
    fields = VARIANTS[variant]
    regression = fields.get("data", {}).get("target") == "v"
    splits = FOLDS if regression else [*FOLDS, *SPLITS[:2]]
    resolved = [
        resolve(stored, fields, split=split, seed=seed, optimizer={**BASE["optimizer"], **fields.get("optimizer", {})})
        for seed, split in enumerate([*splits, splits[0]])
    ]
    expected = alone(database, artifacts, resolved)

    together = [submit(database, each) for each in resolved]
    claims = claim(database, width=16)
    train(database, artifacts, claims)

    assert [each.job_id for each in claims] == together
    assert [outcome(database, artifacts, each) for each in together] == expected
    assert len({len(rows) for _, _, _, rows, *_ in expected}) > 1, "members end at different epochs"


@pytest.mark.parametrize(
    "variant", ["classification", "regression", "moving average and flat-cosine decay", "averaged epochs"]
)
def test_folds_that_are_stopped_after_every_epoch_resume_to_the_same_results(
    database: Database, artifacts: Artifacts, stored: Stored, variant: str
) -> None:
    splits = FOLDS if variant == "regression" else [*FOLDS, *SPLITS[:2]]
    resolved = [resolve(stored, VARIANTS[variant], split=split) for split in splits]
    expected = alone(database, artifacts, resolved)

    together = [submit(database, each) for each in resolved]
    widths = []
    while claims := claim(database, width=16):
        widths.append(len(claims))
        train(database, artifacts, claims, STOP)

    assert [outcome(database, artifacts, each) for each in together] == expected
    assert widths == [sum(len(rows) > epoch for _, _, _, rows, *_ in expected) for epoch in range(len(widths))]
    assert len(widths) > 2


@pytest.mark.parametrize(("values", "together"), [(2**24, [3]), (1, [1, 1, 1])])
def test_folds_that_end_together_are_recorded_together_as_far_as_memory_allows(
    database: Database,
    artifacts: Artifacts,
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
    values: int,
    together: list[int],
) -> None:
    monkeypatch.setattr("service.training.loop.OUTPUT_VALUES", values)
    recorded, finish = list[int](), Recorder.finish

    def counted(recorder: Recorder, outcomes: Mapping[int, Outcome]) -> FlushResult:
        recorded.append(len(outcomes))
        return finish(recorder, outcomes)

    monkeypatch.setattr(Recorder, "finish", counted)
    for fold in (1, 2, 3):
        fields = {"split": {"folds": 3, "fold": fold}, "max_epochs": 2, "early_stopping": None}
        submit(database, resolve(stored, fields))

    train(database, artifacts, claim(database, width=16))

    assert recorded == together


@pytest.mark.parametrize(
    ("split", "fields", "message"),
    [
        ({"group": "g", "folds": 3, "fold": 1}, {}, "the rows have 2 groups; the split needs 3 or more"),
        ({"column": "part"}, {}, "the split leaves no validation rows"),
        ({"shuffle": False, "validation": 0.4, "test": 0.2}, {"data": {"weight": "w"}}, "every training row has the"),
    ],
)
def test_a_split_that_the_rows_do_not_allow_fails_its_job_and_no_other(
    database: Database, artifacts: Artifacts, tmp_path: Path, split: dict[str, Any], fields: Any, message: str
) -> None:
    # By the profile there are three groups and a validation row, but their rows have no target; early weights are 0.
    lines = ["a,b,c,y,w,g,part"]
    for i in range(60):
        missing = i % 10 == 9
        part = "validation" if missing else "train"
        lines.append(f"{i},{i % 7},t{i % 2},{'' if missing else i % 2},{int(i >= 40)},{2 if missing else i % 2},{part}")
    broken = upload(database, artifacts, tmp_path, "\n".join(lines) + "\n")
    sound = [resolve(broken, fields, split={"folds": 3, "fold": fold}) for fold in (1, 2, 3)]
    expected = alone(database, artifacts, sound)
    resolved = [sound[0], resolve(broken, fields, split=split), *sound[1:]]

    together = [submit(database, each) for each in resolved]
    claims = claim(database, width=16)
    train(database, artifacts, claims)

    failed = job(database, together[1])
    assert len(claims) == 4
    assert failed.error is not None
    assert (failed.status, failed.attempt, failed.error.code) == (Status.failed, 1, "invalid_spec")
    assert failed.error.message.startswith(message)
    assert [outcome(database, artifacts, each) for each in (together[0], *together[2:])] == expected


def test_an_array_of_which_no_split_is_possible_fails_and_trains_nothing(
    database: Database, artifacts: Artifacts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker.trainer.Training", lambda *_: pytest.fail("nothing to train"))
    together = [submit(database, resolve(stored, {}, split=split)) for split in FOLDS]
    artifacts.put(f"datasets/{DATASET}/data.parquet", b"not what was uploaded")

    train(database, artifacts, claim(database, width=16))

    ended = [job(database, each) for each in together]
    assert [(each.status, each.attempt, each.error and each.error.code) for each in ended] == [
        (Status.failed, 1, "dataset_corrupt")
    ] * 4


def test_the_members_of_a_claim_share_the_rows_of_a_fold(
    database: Database, artifacts: Artifacts, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[Any]()

    def observed(members: Any, data: Any, *rest: Any) -> Training:
        given.extend(data)
        return Training(members, data, *rest)

    monkeypatch.setattr("service.worker.trainer.Training", observed)
    for split in FOLDS[:2]:
        for seed in (0, 1, 2):
            submit(database, resolve(stored, {}, split=split, seed=seed))

    train(database, artifacts, claim(database, width=16))

    assert [next(n for n, own in enumerate(given) if own is each) for each in given] == [0, 0, 0, 3, 3, 3]
