"""A trainer process: torch is imported, jobs come in by a pipe, results go to the database."""

from __future__ import annotations

import faulthandler
import logging
import signal
import traceback
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import torch

from service import logs
from service.artifacts import open_artifacts
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status, StopReason
from service.errors import LeaseLost, ServiceError
from service.spec.data import DatasetData
from service.spec.resolve import profile_of, resolve
from service.spec.text import listed
from service.store import datasets
from service.store.engine import Database
from service.store.jobs import resolutions
from service.store.jobs.attempt import Outcome
from service.store.jobs.claim import Claim
from service.training import shards
from service.training.loop import Training
from service.training.ranks import RankLost
from service.training.snapshot import fingerprint
from service.worker import attempt_logs
from service.worker.checkpoint_files import CheckpointFiles, WeightsPacker
from service.worker.interruption import Interruption
from service.worker.memory_errors import is_out_of_memory
from service.worker.prepared_cache import PreparedCache, TableFile
from service.worker.prepared_files import PreparedFiles
from service.worker.protocol import DONE, RELEASE, STOP, RankTask, Ready, SharedNumber, ToTrainer, TrainerConfig
from service.worker.rank import Interrupted, RankOfJob
from service.worker.recorder import Recorder, retry
from service.worker.requeue import requeue
from service.worker.resume import resume, saved_states
from service.worker.superseded_checkpoints import SupersededCheckpoints

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from service.artifacts import Artifacts
    from service.data.preprocess.dataset import Prepared
    from service.spec.resolved import Resolved
    from service.training.loop import EpochReport
    from service.training.progress import ProgressCounter
    from service.training.scoring import BestEvaluation
    from service.worker.protocol import CheckpointPolicy

log = logging.getLogger(__name__)

CANCELLED = Outcome(Status.cancelled, StopReason.cancelled)


def main(pipe: Connection, config: TrainerConfig, progress: ProgressCounter, busy: SharedNumber) -> None:
    """Train the jobs that come down the pipe until a message says to stop, or the pipe closes with the supervisor.

    `busy`: the number of trainers that have jobs, which share the cores.
    """
    _set_up(config)
    shards.use_threads(config.threads, lambda: busy.value)
    database = Database(config.database_url, config.statement_seconds)
    files = None if config.prepared_files is None else PreparedFiles(config.prepared_files, progress)
    prepared = PreparedCache(files, shared=config.share_rows)
    artifacts, device = open_artifacts(config.artifacts), _device(config)
    trainer = Trainer(database, artifacts, device, pipe, progress, config.checkpoints, prepared)
    pipe.send(Ready(str(trainer.device)))
    while (message := _receive(pipe)) != STOP:
        if message == RELEASE:
            continue  # its jobs had ended
        task = message if isinstance(message, RankTask) else None
        claims = [message.claim] if isinstance(message, RankTask) else message
        attempt_logs.begin(config.log_file.parent, claims)  # ranks of one machine share the log
        with logs.about(worker=config.worker, job=claims[0].job_id, attempt=claims[0].attempt, jobs=len(claims)):
            log.info("training %s%s", listed(claim.job_id for claim in claims), f" as rank {task.rank}" if task else "")
            if task is None or task.leads:
                trainer.run(claims, task)
            else:
                trainer.follow(task)
        pipe.send(DONE)
    database.close()


class Trainer:
    """Trains claimed jobs until they end, and records them."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        device: torch.device,
        pipe: Connection,
        progress: ProgressCounter,
        policy: CheckpointPolicy,
        prepared: PreparedCache | None = None,
    ) -> None:
        """`pipe`: to the supervisor; a message, or its end, requeues the jobs at the epoch's end, or within it.

        `prepared`: rows of jobs; None: those of this trainer alone, in memory.
        """
        self._database, self._artifacts, self._pipe, self._progress = database, artifacts, pipe, progress
        self._policy = policy
        self._superseded = SupersededCheckpoints(artifacts, policy.superseded_bytes)
        self._prepared_cache = PreparedCache() if prepared is None else prepared
        self.device = device

    def run(self, claims: Sequence[Claim], task: RankTask | None = None) -> None:
        """Train these jobs, which share a key, as one array, each on its own rows; `task`: of a job on several devices,
        which this trainer leads."""
        device = self._device_of(claims[0])
        self._interruption = Interruption(self._pipe, self._policy.drain_seconds, self._policy.save_seconds)
        files = CheckpointFiles(self._artifacts, self._superseded, self._policy.keep)
        recorder = Recorder(self._database, files, str(device), claims, self._policy.save_seconds, self._progress)
        try:
            self._train(recorder, device, task)
        except RankLost as error:
            log.warning("the attempt ends: %s", error)
            recorder.crash(JobError(code=ErrorCode.worker_lost, message=str(error)))
        except LeaseLost:
            log.warning("the attempt ends: another rank was lost, and the job was requeued")
        except Interrupted:
            recorder.release(recorder.active)
        except Exception as error:
            log.exception("training failed")
            if device.type == "cuda" and isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise  # the CUDA context may be corrupt: leave the jobs to a fresh process
            recorder.fail(_job_error(error))

    def follow(self, task: RankTask) -> None:
        """Train as a rank of a job that another trainer leads, and records."""
        try:
            (job,), table = retry(lambda: self._load([task.claim]))
            (data,) = self._prepared_cache.get_or_prepare([job], table)
            if isinstance(data, ServiceError):
                raise data
            rank = RankOfJob(self._database, task, self._pipe, self._device_of(task.claim), self._progress)
            rank.follow(data.counted(job), data)
        except Interrupted:  # before the ranks have met: the leader would count the loss of this one as a crash
            requeue(self._database, [task.claim], None)
        except (RankLost, LeaseLost, ServiceError) as error:  # the leader records what became of the job
            log.warning("the rank ends: %r", error)

    def _device_of(self, claim: Claim) -> torch.device:
        return torch.device("cpu") if claim.spec.device == "cpu" else self.device

    def _train(self, recorder: Recorder, device: torch.device, task: RankTask | None) -> None:
        jobs, data = self._prepare(recorder)
        if not jobs:
            return
        saved = retry(lambda: saved_states(self._database, recorder.attempts), self._progress)
        machine = fingerprint(device, jobs[0].graph, jobs[0].spec.optimizer)
        for attempt, state in zip(recorder.attempts, saved, strict=True):
            retry(partial(resume, self._artifacts, attempt, state, machine), self._progress)
        packer = WeightsPacker(jobs, data, machine)
        recorder.start(packer)
        points = [attempt.resume_point for attempt in recorder.attempts]
        with ExitStack() as exits:
            ranks = None
            if task is not None:
                rank = RankOfJob(self._database, task, self._pipe, device, self._progress)
                ranks = exits.enter_context(rank.lead())
            packer.training = training = Training(jobs, data, device, points, self._progress, ranks)
            for attempt in recorder.attempts:
                attempt.resume_point = None  # its tensors are copied
            del points
            recorder.release_at_limit()  # jobs that an earlier attempt has trained to it
            while recorder.active:
                training.drop(set(training.active) - recorder.active)
                self._record(recorder, packer, training)
                asked = self._pipe.poll() or (ranks is not None and ranks.asked_to_stop)
                if recorder.active and asked:  # STOP, RELEASE, or a supervisor is gone
                    recorder.release(recorder.active)

    def _prepare(self, recorder: Recorder) -> tuple[list[Resolved], list[Prepared]]:
        """The jobs and their rows. A job whose rows cannot be prepared fails, e.g. by its split; the others remain."""
        claims = [attempt.claim for attempt in recorder.attempts]
        resolved, table = retry(lambda: self._load(claims), self._progress)
        prepared = self._prepared_cache.get_or_prepare(resolved, table)
        jobs: list[Resolved] = []
        data: list[Prepared] = []
        errors: dict[int, JobError] = {}
        for number, (job, own) in enumerate(zip(resolved, prepared, strict=True)):
            try:
                if isinstance(own, ServiceError):
                    raise own
                jobs.append(own.counted(job))
                data.append(own)
            except ServiceError as error:
                log.warning("%s fails before training: %s", claims[number].job_id, error)
                errors[number] = _job_error(error)
        if errors:
            recorder.reject(errors)
        return jobs, data

    def _load(self, claims: Sequence[Claim]) -> tuple[list[Resolved], TableFile | None]:
        """The jobs as they were resolved at submission; those that an older version stored are resolved now."""
        data = claims[0].spec.data
        with self._database.reading() as connection:
            if all(claim.resolved for claim in claims):
                jobs = resolutions.read(connection, [(claim.spec, claim.resolved or {}) for claim in claims])
            elif isinstance(data, DatasetData):
                profile = datasets.get(connection, data.id).profile
                jobs = [resolve(claim.spec, profile) for claim in claims]
            else:
                jobs = [resolve(claim.spec, profile_of(data)) for claim in claims]
            if not isinstance(data, DatasetData):
                return jobs, None
            key, sha256 = datasets.file_of(connection, data.id)
        return jobs, TableFile(self._artifacts.path(key, sha256), sha256)

    def _record(self, recorder: Recorder, packer: WeightsPacker, training: Training) -> None:
        """Train and record an epoch of every job, and end or release those that are done or were asked to stop."""
        ended = {}
        reports = training.epoch(self._interruption.begin())
        if training.interrupted:
            if self._interruption.stopping:
                recorder.release(recorder.active)
            else:
                recorder.flush()  # saves states; requests of clients take effect at the epoch's end
            return
        for report in reports:
            recorder.add(report.member, report.row)
            if report.ended:
                ended[report.member] = report
        for packer.evaluations in training.evaluate_best(ended):
            recorder.finish({n: _outcome(ended[n], found) for n, found in packer.evaluations.items()})
        packer.evaluations = {}
        recorder.release_at_limit()
        flushed = recorder.flush()
        if flushed.cancelled:
            recorder.finish(dict.fromkeys(flushed.cancelled, CANCELLED))
        if flushed.paused:
            recorder.release(flushed.paused)


def _set_up(config: TrainerConfig) -> None:
    """Set up logging, signals and torch. The supervisor says when to stop, so that an epoch can end: ignore signals."""
    config.log_file.unlink(missing_ok=True)
    attempt_logs.write_to(config.log_file)
    faulthandler.enable()
    logs.set_up("info", config.log_format)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)  # more would change bits: see service/training/shards.py
    # Deterministic results on a GPU, and true float32.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = True, False


def _device(config: TrainerConfig) -> torch.device:
    """The configured GPU if this build of torch can use it; raises RuntimeError if one is required and missing."""
    if config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError("DEVICE is cuda, but this torch finds no GPU that it can use")
    return torch.device("cuda", config.gpu % torch.cuda.device_count())


def _receive(pipe: Connection) -> ToTrainer:
    try:
        message: ToTrainer = pipe.recv()
    except EOFError:
        return STOP
    return message


def _outcome(report: EpochReport, best: BestEvaluation | None) -> Outcome:
    if report.error is not None:
        return Outcome(Status.failed, error=report.error)
    return Outcome(Status.succeeded, report.stop, None if best is None else best.test_metrics)


def _job_error(error: Exception) -> JobError:
    tail = "".join(traceback.format_exception(error))[-4_000:]
    if is_out_of_memory(error):
        return JobError(code=ErrorCode.out_of_memory, message="out of memory", log_tail=tail)
    if isinstance(error, ServiceError) and error.code in set(ErrorCode):
        return JobError(code=ErrorCode(error.code), message=error.detail, log_tail=tail)
    return JobError(code=ErrorCode.internal, message=f"{type(error).__name__}: {error}", log_tail=tail)
