"""A warm trainer process: torch is imported, jobs come in by a pipe, results go to the database."""

from __future__ import annotations

import faulthandler
import logging
import signal
import traceback
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from service import logs
from service.artifacts import Artifacts
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status, StopReason
from service.errors import CheckpointCorrupt, LeaseLost, ServiceError
from service.spec.data import DatasetData
from service.spec.resolve import profile_of, resolve
from service.spec.text import listed
from service.store import datasets
from service.store.engine import Database
from service.store.jobs import attempt, leases, resolutions
from service.store.jobs.attempt import Outcome
from service.store.jobs.claim import Claim
from service.training.checkpoint import Metadata, to_bytes
from service.training.fingerprint import fingerprint
from service.training.loop import train
from service.training.snapshot import to_bytes as to_state
from service.worker import attempt_logs, resume
from service.worker.member import Before, Ending, Heard, Weights
from service.worker.prepared_cache import Shelf, Stored
from service.worker.protocol import DONE, STOP, Ready, ToTrainer, Workplace
from service.worker.recorder import Recorder, insist
from service.worker.resume import Saved
from service.worker.superseded_checkpoints import Superseded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from multiprocessing.connection import Connection

    from service.data.preprocess.preprocessing import Preprocessing
    from service.spec.resolved import Resolved
    from service.training.epoch import Pulse
    from service.training.loop import Report, Start

log = logging.getLogger(__name__)

CANCELLED = Outcome(Status.cancelled, StopReason.cancelled)


def main(pipe: Connection, place: Workplace, pulse: Pulse) -> None:
    """Train what comes down the pipe, until it says to stop or closes because the supervisor is gone."""
    _set_up(place)
    database = Database(place.database_url, place.statement_seconds)
    artifacts = Artifacts(place.artifacts)
    superseded = Superseded(artifacts, place.superseded_bytes)
    trainer = Trainer(database, artifacts, _device(place), pipe, pulse, place.save_seconds, place.keep, superseded)
    pipe.send(Ready(str(trainer.device)))
    while (message := _receive(pipe)) != STOP:
        attempt_logs.begin(place.log_file.parent, message)
        with logs.about(worker=place.worker, job=message[0].job_id, attempt=message[0].attempt, jobs=len(message)):
            log.info("training %s", listed(claim.job_id for claim in message))
            trainer.run(message)
        pipe.send(DONE)
    database.close()


@dataclass
class Array:
    """Claimed jobs on their way through one training."""

    claims: Sequence[Claim]
    jobs: Sequence[Resolved]
    recorder: Recorder
    saved: Sequence[Saved]
    under_way: set[int]  # places in `claims`
    best: dict[int, Weights] = field(default_factory=dict)


class Trainer:
    """Trains claimed jobs to their ends and records them, whatever these are."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        device: torch.device,
        pipe: Connection,
        pulse: Pulse,
        save_seconds: float,
        keep: Collection[str],
        superseded: Superseded | None = None,
    ) -> None:
        """`save_seconds` and `keep`: see Workplace."""
        self._database, self._artifacts, self._pipe, self._pulse = database, artifacts, pipe, pulse
        self._saving = save_seconds, keep, superseded or Superseded(artifacts)
        self._shelf = Shelf()
        self.device = device

    def run(self, claims: Sequence[Claim]) -> None:
        """Train these jobs, which share an `array_key`, as one array."""
        device = torch.device("cpu") if claims[0].spec.device == "cpu" else self.device
        try:
            jobs, stored, saved = insist(lambda: self._load(claims))
        except (ServiceError, OSError) as error:
            log.exception("the jobs cannot start")
            failed = Outcome(Status.failed, error=_explain(error))
            apart = partial(leases.record_crash, error=_explain(error))  # perhaps it is one of them alone
            self._write_each(claims, apart if len(claims) > 1 else partial(attempt.finish, outcome=failed))
            return
        members = [(claim, job.monitor) for claim, job in zip(claims, jobs, strict=True)]
        recorder = Recorder(self._database, self._artifacts, str(device), members, *self._saving)
        array = Array(claims, jobs, recorder, saved, set(range(len(claims))))
        try:
            self._train(array, stored, device)
        except Exception as error:
            log.exception("training failed")
            if (
                device.type == "cuda"
                and isinstance(error, RuntimeError)
                and not isinstance(error, torch.OutOfMemoryError)
            ):
                raise  # the GPU's context may be beyond use: leave it to a fresh process
            self._fail(array, _explain(error))

    def _load(self, claims: Sequence[Claim]) -> tuple[list[Resolved], Stored | None, list[Saved]]:
        """What was resolved at submission; jobs that an older version stored are resolved now."""
        data, saved = claims[0].spec.data, resume.saved(self._database, claims)
        with self._database.reading() as connection:
            if all(claim.resolved for claim in claims):
                jobs = resolutions.read(connection, [(claim.spec, claim.resolved or {}) for claim in claims])
            elif isinstance(data, DatasetData):
                profile = datasets.get(connection, data.id).profile
                jobs = [resolve(claim.spec, profile) for claim in claims]
            else:
                jobs = [resolve(claim.spec, profile_of(data)) for claim in claims]
            if not isinstance(data, DatasetData):
                return jobs, None, saved
            key, sha256 = datasets.file_of(connection, data.id)
        return jobs, Stored(self._artifacts.path(key), sha256), saved

    def _train(self, array: Array, stored: Stored | None, device: torch.device) -> None:
        data = self._shelf.take(array.jobs[0], stored)
        array.jobs = [data.counted(job) for job in array.jobs]
        begun = self._go_back(array, data.preprocessing, device)
        training = train(array.jobs, data, device, begun, self._pulse)
        reports = next(training)
        while True:
            leaving = self._record(array, [report for report in reports if report.member in array.under_way], device)
            array.under_way -= leaving
            if not array.under_way:
                return
            if self._pipe.poll():  # STOP, or nobody is left at the other end
                array.recorder.release(array.under_way)
                return
            reports = training.send(set(range(len(array.claims))) - array.under_way)

    def _go_back(self, array: Array, preprocessing: Preprocessing, device: torch.device) -> list[Start | None]:
        """Where each member goes on; what earlier attempts wrote of later epochs is forgotten."""
        begun: list[Start | None] = []
        before: dict[int, Before] = {}
        for member, saved in enumerate(array.saved):
            if saved.state is None:
                begun.append(None)
                continue
            found = resume.start(self._artifacts, saved)
            if found is None:
                if array.claims[member].forked:
                    raise CheckpointCorrupt("the saved state that the fork goes on from is missing or has changed")
                begun.append(None)
                before[member] = Before(0, resume.anew(array.claims[member].job_id))
                continue
            at, made_by = found
            begun.append(at)
            best = resume.best(at, array.jobs[member], preprocessing)
            if best is not None:
                array.best[member] = best
            entry = resume.entry(array.claims[member].job_id, at, resume.differing(made_by, fingerprint(device)))
            seconds = sum(row.seconds for row in at.rows)
            before[member] = Before(at.snapshot.epoch, entry, seconds, best, saved.best)
        array.under_way -= array.recorder.go_back(before).lost
        return begun

    def _record(self, array: Array, reports: Sequence[Report], device: torch.device) -> set[int]:
        """Record an epoch of every member; those that are done with."""
        endings, states = {}, {report.member: _state(report, device) for report in reports}
        for report in reports:
            member, job = report.member, array.jobs[report.member]
            if report.row.is_best or member in array.best:
                array.best[member] = _best_weights(report, job, array.best.get(member))
            array.recorder.add(member, report.row, array.best.get(member), states[member])
            if report.ended:
                endings[member] = _ending(_outcome(report), array, report, states[member])
        lost = array.recorder.finish(endings).lost if endings else frozenset()
        heard = array.recorder.flush()
        by_member = {report.member: report for report in reports}
        cancelled = {member: _ending(CANCELLED, array, by_member[member], states[member]) for member in heard.cancelled}
        late = array.recorder.finish(cancelled) if cancelled else Heard()
        if heard.paused:
            array.recorder.release(heard.paused)
        return set(endings) | set(cancelled) | heard.paused | lost | heard.lost | late.lost

    def _fail(self, array: Array, error: JobError) -> None:
        """An error in training: nobody knows whose it is in an array, so each member is tried again by itself."""
        claims = [array.claims[member] for member in array.under_way]
        if len(array.claims) > 1:
            self._write_each(claims, partial(leases.record_crash, error=error))
        elif claims:
            array.recorder.finish({0: Ending(Outcome(Status.failed, error=error), array.best.get(0), None)})

    def _write_each(self, claims: Sequence[Claim], write: Callable[..., None]) -> None:
        def attempt(claim: Claim) -> None:
            with self._database.transaction() as connection:
                write(connection, claim.job_id, claim.attempt)

        for claim in claims:
            try:
                insist(partial(attempt, claim))
            except LeaseLost:
                log.warning("lease lost: attempt %s of %s is not ours any more", claim.attempt, claim.job_id)


def _set_up(place: Workplace) -> None:
    """Log to a new file until there is a job; leave signals to the supervisor, who says "stop" when an epoch may still
    end."""
    place.log_file.unlink(missing_ok=True)
    attempt_logs.write_to(place.log_file)
    faulthandler.enable()
    logs.set_up("info", place.log_format)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(place.threads)
    # On a GPU: the same bits each time, and float32 where float32 is said.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = True, False


def _device(place: Workplace) -> torch.device:
    """The place's GPU if there is one that this build of torch can use; raises RuntimeError if there must be."""
    if place.device == "cpu" or (place.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError("DEVICE is cuda, but this torch finds no GPU that it can use")
    return torch.device("cuda", place.gpu % torch.cuda.device_count())


def _receive(pipe: Connection) -> ToTrainer:
    try:
        message: ToTrainer = pipe.recv()
    except EOFError:
        return STOP
    return message


def _ending(outcome: Outcome, array: Array, report: Report, state: Weights) -> Ending:
    """How a member ends, with the weights that it leaves."""
    metadata = Metadata.of(array.jobs[report.member], report.preprocessing, report.row)
    last = Weights(report.row, lambda: to_bytes(report.last_state(), metadata))
    return Ending(outcome, array.best.get(report.member), last, state)


def _best_weights(report: Report, job: Resolved, before: Weights | None) -> Weights:
    """The best epoch's weights; packed from the run's present best, so only until the next report."""
    row = report.row if report.row.is_best or before is None else before.row
    return Weights(row, lambda: to_bytes(report.best_state(), Metadata.of(job, report.preprocessing, row)))


def _state(report: Report, device: torch.device) -> Weights:
    return Weights(report.row, lambda: to_state(report.snapshot(), fingerprint(device)))


def _outcome(report: Report) -> Outcome:
    if report.error is not None:
        return Outcome(Status.failed, error=report.error)
    return Outcome(Status.succeeded, report.stop, report.test())


def _explain(error: Exception) -> JobError:
    tail = "".join(traceback.format_exception(error))[-4_000:]
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error):
        return JobError(code=ErrorCode.out_of_memory, message="the machine's memory did not suffice", log_tail=tail)
    if isinstance(error, ServiceError) and error.code in set(ErrorCode):
        return JobError(code=ErrorCode(error.code), message=error.detail, log_tail=tail)
    return JobError(code=ErrorCode.internal, message=f"{type(error).__name__}: {error}", log_tail=tail)
