"""A warm trainer process: torch is imported, jobs come in by a pipe, results go to the database."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

import torch

from service.artifacts import Artifacts, sha256_of
from service.data.prepare import prepare
from service.errors import DatasetCorrupt, LeaseLost, ServiceError
from service.lifecycle import Control, ErrorCode, JobError, Status, StopReason
from service.spec.data import DatasetData
from service.spec.resolve import profile_of, resolve
from service.store import datasets, queue
from service.store.engine import Database
from service.store.queue import Claim, Outcome
from service.training.checkpoint import Metadata, to_bytes
from service.training.loop import train
from service.worker.protocol import DONE, STOP, Ready, ToTrainer, Workplace
from service.worker.recorder import Recorder, Weights

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from service.spec.resolve import Resolved
    from service.training.loop import Report

log = logging.getLogger(__name__)


def main(pipe: Connection, place: Workplace) -> None:
    """Train what comes down the pipe, until it says to stop or closes because the supervisor is gone."""
    _set_up(place)
    device = _device(place.device)
    database, artifacts = Database(place.database_url), Artifacts(place.artifacts)
    pipe.send(Ready(str(device)))
    while (message := _receive(pipe)) != STOP:
        os.ftruncate(sys.stderr.fileno(), 0)  # the log's tail belongs to one job
        run(message, database, artifacts, device, pipe)
        pipe.send(DONE)
    database.close()


def run(claim: Claim, database: Database, artifacts: Artifacts, device: torch.device, pipe: Connection) -> None:
    """Train one claimed job to its end and record it, whatever that end is."""
    chosen = torch.device("cpu") if claim.spec.device == "cpu" else device
    try:
        resolved, parquet = _load(claim, database, artifacts)
    except (ServiceError, OSError) as error:
        _fail(claim, database, error)
        return
    recorder = Recorder(database, artifacts, claim, resolved.monitor, str(chosen))
    best = last = None
    try:
        for report in train(resolved, prepare(resolved, parquet), chosen):
            last = _last_weights(report, resolved)
            best = _best_weights(report, resolved, best)
            control = recorder.add(report.row, best)
            if report.stop or report.failed:
                outcome = _outcome(report)
            elif control is Control.cancel:
                outcome = Outcome(Status.cancelled, StopReason.cancelled)
            elif pipe.poll():  # STOP, or nobody is left at the other end
                _release(claim, database)
                return
            else:
                continue
            recorder.finish(outcome, best, last)
            return
    except LeaseLost:
        log.warning("lease lost: attempt %s of %s is not ours any more", claim.attempt, claim.job_id)
    except Exception as error:
        log.exception("training failed")
        try:
            recorder.finish(Outcome(Status.failed, error=_explain(error)), best, None)
        except LeaseLost:
            log.warning("lease lost while failing %s", claim.job_id)


def _set_up(place: Workplace) -> None:
    """Log to a file of our own; leave signals to the supervisor, who says "stop" when an epoch may still end."""
    place.log_file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(place.log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    os.dup2(handle, sys.stdout.fileno())
    os.dup2(handle, sys.stderr.fileno())
    os.close(handle)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(place.threads)


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def _receive(pipe: Connection) -> ToTrainer:
    try:
        message: ToTrainer = pipe.recv()
    except EOFError:
        return STOP
    return message


def _load(claim: Claim, database: Database, artifacts: Artifacts) -> tuple[Resolved, Path | None]:
    data = claim.spec.data
    if not isinstance(data, DatasetData):
        return resolve(claim.spec, profile_of(data)), None
    with database.reading() as connection:
        dataset = datasets.get(connection, data.id)
        parquet = artifacts.path(datasets.path_of(connection, data.id))
    if not parquet.exists() or sha256_of(parquet) != dataset.parquet_sha256:
        raise DatasetCorrupt(f"the stored rows of {data.id} are missing or changed; upload the file again")
    return resolve(claim.spec, dataset.profile), parquet


def _last_weights(report: Report, resolved: Resolved) -> Weights:
    metadata = Metadata.of(resolved, report.preprocessing, report.row)
    return Weights(report.row, lambda: to_bytes(report.last_state(), metadata))


def _best_weights(report: Report, resolved: Resolved, before: Weights | None) -> Weights | None:
    """The best epoch's weights; the bytes are packed from the run's present best, so only until the next report."""
    if not report.row.is_best and before is None:
        return None
    row = report.row if report.row.is_best or before is None else before.row
    metadata = Metadata.of(resolved, report.preprocessing, row)
    return Weights(row, lambda: to_bytes(report.best_state(), metadata))


def _outcome(report: Report) -> Outcome:
    if report.failed:
        message = f"epoch {report.row.epoch}: {report.row.reason}"
        return Outcome(Status.failed, error=JobError(code=ErrorCode.non_finite_loss, message=message))
    return Outcome(Status.succeeded, report.stop, report.test)


def _release(claim: Claim, database: Database) -> None:
    with database.transaction() as connection:
        queue.release(connection, claim.job_id, claim.attempt)


def _fail(claim: Claim, database: Database, error: Exception) -> None:
    log.exception("the job cannot start")
    with database.transaction() as connection:
        queue.finish(connection, claim.job_id, claim.attempt, Outcome(Status.failed, error=_explain(error)))


def _explain(error: Exception) -> JobError:
    tail = "".join(traceback.format_exception(error))[-4_000:]
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return JobError(code=ErrorCode.out_of_memory, message="the machine's memory did not suffice", log_tail=tail)
    if isinstance(error, ServiceError) and error.code in set(ErrorCode):
        return JobError(code=ErrorCode(error.code), message=error.detail, log_tail=tail)
    return JobError(code=ErrorCode.internal, message=f"{type(error).__name__}: {error}", log_tail=tail)
