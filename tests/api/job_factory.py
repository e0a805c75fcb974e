"""Brings jobs into any state as a worker does: with the store's functions and real files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from safetensors.numpy import save

from service.artifacts import Artifacts
from service.data.formats import prediction_table
from service.data.formats.prediction_table import PredictionTable
from service.domain.access import DEFAULT_TENANT, Actor
from service.domain.checkpoint import METADATA_KEY, Checkpoint, CheckpointKind
from service.domain.epoch import Epoch
from service.domain.job import Job
from service.domain.job_file import JobFile, JobFileKind
from service.domain.model import ModelMember, ModelVersion, Signature, VersionMetrics
from service.domain.status import Status, StopReason
from service.domain.sweep import Sweep
from service.spec.model import VersionSource, WeightedJob
from service.spec.sweep import SweepSpec
from service.store import checkpoints, sweeps
from service.store.engine import Database
from service.store.jobs import attempt, jobs
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome, write
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from service.store.models import versions
from service.store.models.versions import NewMember, NewModelVersion
from service.store.sweeps import SweepJob
from tests.specs import synthetic


def epoch(number: int, **fields: Any) -> Epoch:
    values = {"train_loss": 0.5, "val_loss": 1 / number, "metrics": {"val_accuracy": 0.5}, "lr": 0.01, "seconds": 0.1}
    decision = {"improved": True, "is_best": True, "wait": 0, "closeness": 0.0, "reason": "the best so far"}
    return Epoch.model_validate({"epoch": number, **values, **decision, **fields})


def weights(
    number: int,
    *,
    target: str = "y",
    classes: list[Any] | None = None,
    features: str = "x0 x1",
    feature: dict[str, Any] | None = None,
    **preprocessing: Any,
) -> bytes:
    """A checkpoint file with dummy weights that describes its columns as a real one does; `feature`: fields of each."""
    described = {
        "preprocessing": {
            "features": [{"column": name, **(feature or {})} for name in features.split()],
            "target": {"column": target, "classes": classes},
            **preprocessing,
        }
    }
    tensors = {"layers.0.weight": np.full((4, 8), number, np.float32)}
    return save(tensors, {METADATA_KEY: json.dumps({**described, "epoch": number})})


@dataclass(frozen=True)
class JobFactory:
    """Creates jobs in any state."""

    database: Database
    artifacts: Artifacts

    def queued(self, **fields: Any) -> Job:
        with self.database.transaction(DEFAULT_TENANT) as connection:
            return jobs.submit(connection, synthetic(**fields), max_queued=100_000)[0]

    def running(self, **fields: Any) -> Claim:
        """A new job, claimed; no other job may be queued."""
        self.queued(**fields)
        with self.database.transaction() as connection:
            return claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)[0]

    def record(self, claim: Claim, *epochs: Epoch) -> None:
        best = BestSoFar(epochs[-1].epoch, 0.5, {"val_loss": 0.5})
        with self.database.transaction() as connection:
            write(connection, "cpu", [AttemptRecord(claim.job_id, claim.attempt, epochs, best, eta_seconds=1.0)])

    def publish(
        self, claim: Claim, number: int, kind: CheckpointKind = CheckpointKind.best, data: bytes | None = None
    ) -> bytes:
        """Write and publish a checkpoint file with dummy weights or `data`; returns its bytes."""
        data = data or weights(number)
        key = f"checkpoints/{claim.job_id}/{kind.value}-{number}.safetensors"
        self.artifacts.put(key, data)
        checkpoint = Checkpoint(
            kind=kind,
            epoch=number,
            metrics={"val_loss": 1 / number},
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            path=key,
            download_url="",
            created_at=datetime.now(UTC),
        )
        with self.database.transaction() as connection:
            written = write(connection, "cpu", [AttemptRecord(claim.job_id, claim.attempt, published=[checkpoint])])
        for old in written.replaced:
            self.artifacts.delete(old)
        return data

    def keep_predictions(self, claim: Claim, table: PredictionTable) -> bytes:
        """Store the predictions of a running job; returns the file's bytes."""
        key = f"jobs/{claim.job_id}/{claim.attempt}-predictions-{table.source.epoch}.safetensors"
        data = prediction_table.to_bytes(table)
        self.artifacts.put(key, data)
        file = JobFile(
            kind=JobFileKind.predictions,
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            path=key,
            created_at=datetime.now(UTC),
        )
        with self.database.transaction() as connection:
            write(connection, "cpu", [AttemptRecord(claim.job_id, claim.attempt, files=[file])])
        return data

    def finish(
        self, claim: Claim, status: Status = Status.succeeded, stop: StopReason = StopReason.early_stopped
    ) -> None:
        reason = stop if status is Status.succeeded else None
        with self.database.transaction() as connection:
            attempt.finish(connection, claim.job_id, claim.attempt, Outcome(status, reason))

    def trained(self, epochs: int = 3, data: bytes | None = None, **fields: Any) -> Claim:
        """A succeeded job with a best checkpoint: dummy weights or `data`."""
        claim = self.running(**fields)
        self.record(claim, *(epoch(number) for number in range(1, epochs + 1)))
        self.publish(claim, epochs, data=data)
        self.finish(claim)
        return claim

    def swept(self) -> Sweep:
        """A cancelled sweep of one job."""
        spec = SweepSpec.model_validate({"base": {"data": {"kind": "synthetic"}}})
        with self.database.transaction(DEFAULT_TENANT) as connection:
            new = sweeps.prepare(spec, [SweepJob({}, synthetic())], DEFAULT_TENANT)
            sweep, _ = sweeps.create(connection, new, max_queued=100_000)
            return sweeps.cancel(connection, sweep.id)

    def new_version(self, *job_ids: str, name: str = "our-model", **fields: Any) -> NewModelVersion:
        """A version of these jobs, to be stored by `versions.create`."""
        members = []
        for job_id in job_ids:
            with self.database.reading(DEFAULT_TENANT) as connection:
                best = checkpoints.get(connection, job_id, CheckpointKind.best)
            lineage = {"test_metrics": None, "dataset": None, "spec": {}, "weight": 1 / len(job_ids)}
            member = ModelMember.model_validate({**best.model_dump(), "job": job_id, **lineage})
            members.append(NewMember(member, best.path))
        values: dict[str, Any] = {
            "description": None,
            "alias": None,
            "source": VersionSource(members=[WeightedJob(job=job_id) for job_id in job_ids]),
            "signature": Signature(task="regression", target="y", classes=None, features=["x0", "x1"]),
            "metrics": VersionMetrics(validation=None, test=None),
            "created_by": Actor(key=None, name=None),
            "service_version": "0",
        }
        return NewModelVersion(name=name, members=members, **{**values, **fields})

    def published(self, *job_ids: str, **fields: Any) -> ModelVersion:
        """A version of these jobs, or of a new one."""
        new = self.new_version(*(job_ids or (self.trained().job_id,)), **fields)
        with self.database.transaction(DEFAULT_TENANT) as connection:
            return versions.create(connection, new)[0]

    def ids(self) -> dict[str, Any]:
        """Path parameters that name objects: a new job, a sweep, and a version of a model with its alias."""
        job_id = self.trained().job_id
        name = self.published(job_id).model
        return {
            "job_id": job_id,
            "sweep_id": self.swept().id,
            "name": name,
            "model": name,
            "version": 1,
            "alias": "champion",
        }
