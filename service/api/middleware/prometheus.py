"""Prometheus metrics: of the service, read from the database at each scrape, and of this process's requests."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from service.api.middleware.merged_metrics import merged
from service.errors import StorageError, Unavailable
from service.store.maintenance import statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from prometheus_client import Metric
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.domain.access import Caller
    from service.store.engine import Database
    from service.store.maintenance.statistics import Statistics

log = logging.getLogger(__name__)

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 60.0)
UNMATCHED = "other"  # unmatched routes share a label, to bound cardinality


class Metrics:
    """The metrics; one per application.

    Each process has those of its own requests, `own`, and all export the same service-wide ones.
    """

    def __init__(self, database: Database, folders: Mapping[str, Path]) -> None:
        """`folders`: label and path of each folder whose free disk space is exported."""
        self._service, self.own = CollectorRegistry(), CollectorRegistry()
        self._service.register(_ServiceCollector(database))
        self._service.register(_DiskCollector(folders))
        ProcessCollector(registry=self.own)
        labels = "method", "route"
        self.seconds = Histogram(
            "bestepoch_http_request_seconds",
            "From a request's head to the end of its response; streams and waits count until they end.",
            (*labels, "status"),
            buckets=BUCKETS,
            registry=self.own,
        )
        self.open = Gauge(
            "bestepoch_http_requests_open", "Requests in progress, including streams and waits.", registry=self.own
        )
        self.received = Counter("bestepoch_http_received_bytes", "Bytes of request bodies.", labels, registry=self.own)
        self.failed_keys = Counter(
            "bestepoch_failed_keys",
            "Requests with an invalid API key, throttled ones too.",
            registry=self.own,
        )
        self.shadow_rows = Counter(
            "bestepoch_shadow_rows", "Rows that a shadow version has predicted, too.", registry=self.own
        )
        self.shadow_different = Counter(
            "bestepoch_shadow_different_rows", "Rows that it has predicted differently.", registry=self.own
        )
        self.shadow_failures = Counter(
            "bestepoch_shadow_failures", "Requests whose shadow version has predicted nothing.", registry=self.own
        )
        self.sent = Counter("bestepoch_http_sent_bytes", "Bytes of response bodies.", labels, registry=self.own)

    def text(self, of_processes: Mapping[str, list[Any]] | None = None) -> bytes:
        """The current values in Prometheus's text format; `of_processes`: the own ones of several processes."""
        own = generate_latest(self.own) if of_processes is None else merged(of_processes)
        return generate_latest(self._service) + own


class _ServiceCollector(Collector):
    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Nothing: registering must not query the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Metrics from the database; only `bestepoch_database_up` 0 while it is unavailable."""
        up = GaugeMetricFamily("bestepoch_database_up", "1 while the database answers, else 0.")
        try:
            with self._database.reading() as connection:
                known = statistics.read(connection)
        except (Unavailable, StorageError):
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        jobs = GaugeMetricFamily(
            "bestepoch_jobs", "Jobs by status, stop reason and error code.", labels=["status", "stop_reason", "code"]
        )
        for labels, number in known.jobs.items():
            jobs.add_metric(labels, number)
        yield jobs
        yield from _storage_metrics(known)
        yield from _worker_metrics(known)
        yield from _demand_metrics(known)


def _storage_metrics(known: Statistics) -> Iterator[Metric]:
    collecting = known.collecting
    for name, text, value in (
        ("queue_oldest_seconds", "Time since the oldest queued job was submitted.", known.waiting_seconds),
        ("sweeps_undecided", "Sweeps whose next decision or publication is due.", known.undecided_sweeps),
        ("epochs", "Recorded epochs of all jobs.", known.epochs),
        ("workers", "Live workers.", len(known.workers)),
        ("trainers", "Trainer processes of live workers.", sum(worker.trainers for worker in known.workers)),
        ("datasets", "Stored data sets.", known.datasets),
        ("dataset_bytes", "Bytes of the stored data sets.", known.dataset_bytes),
        ("database_bytes", "Size of the database.", known.database_bytes),
        ("artifact_files", "Files in the artifact store at the last garbage collection.", collecting.files),
        (
            "artifact_bytes",
            "Bytes of these files.",
            collecting.bytes,
        ),
        ("trash_files", "Files in the trash after the last garbage collection.", collecting.trash_files),
        ("trash_bytes", "Bytes of the files in the trash.", collecting.trash_bytes),
    ):
        yield GaugeMetricFamily(f"bestepoch_{name}", text, value=value)
    for name, text, value in (
        ("collections", "Garbage collections started.", collecting.collections),
        ("collections_failed", "Garbage collections that failed.", collecting.failed),
        (
            "collections_refused",
            "Garbage collections refused: id mismatch, or too many strays.",
            collecting.refused,
        ),
        ("undeleted_files", "Files that a garbage collection could not delete.", collecting.undeleted),
    ):
        yield CounterMetricFamily(f"bestepoch_{name}", text, value=value)


def _demand_metrics(known: Statistics) -> Iterator[Metric]:
    for name, text, classes in (
        ("queued_trainers", "Trainers that queued jobs need, by what these ask for.", known.demand.queued_by_class()),
        ("running_trainers", "Trainers that train, by their workers.", known.demand.running_by_class()),
    ):
        family = GaugeMetricFamily(f"bestepoch_{name}", text, labels=["device", "labels"])
        for labels, (_, trainers) in classes.items():
            family.add_metric(labels, trainers)
        yield family


def _worker_metrics(known: Statistics) -> Iterator[Metric]:
    for name, text in (
        ("claims", "Claim transactions that took jobs from the queue."),
        ("claimed", "Jobs claimed."),
        ("claim_seconds", "Time spent in claim transactions."),
        ("waited_seconds", "Queue time: from the submission of each claimed job to its first claim, summed."),
        ("lapsed_leases", "Expired leases of other workers whose jobs a worker requeued."),
        ("trainer_restarts", "Trainer processes that died and were replaced."),
    ):
        counted = CounterMetricFamily(f"bestepoch_worker_{name}", text, labels=["worker"])
        for worker in known.workers:
            counted.add_metric([worker.id], getattr(worker, name))
        yield counted


class _DiskCollector(Collector):
    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def describe(self) -> list[Metric]:
        """Nothing: registering must not access the disks."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Free disk space on this machine, whether or not the database answers."""
        free = GaugeMetricFamily(
            "bestepoch_disk_free_bytes",
            "Free disk space of HOME and of the artifacts folder, or of the cache of an object store.",
            labels=["folder"],
        )
        for name, folder in self._folders.items():
            with suppress(OSError):  # the folder does not exist (yet)
                free.add_metric([name], shutil.disk_usage(folder).free)
        yield free


class MetricsMiddleware:
    """Records the metrics of each request, and logs it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, received, sent, began = 500, 0, 0, time.perf_counter()

        async def receiving() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status, sent
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        self._metrics.open.inc()
        try:
            await self.app(scope, receiving, sending)
        finally:
            self._metrics.open.dec()
            of, seconds = _route(scope), time.perf_counter() - began
            self._metrics.seconds.labels(*of, f"{status}").observe(seconds)
            self._metrics.received.labels(*of).inc(received)
            self._metrics.sent.labels(*of).inc(sent)
            _log(scope, status, seconds=round(seconds, 6), received=received, sent=sent)


def _log(scope: Scope, status: int, **measured: float) -> None:
    """Access log line: at level debug for successful reads, else info."""
    level = logging.DEBUG if scope["method"] in ("GET", "HEAD") and status < 400 else logging.INFO
    if not log.isEnabledFor(level):
        return
    path = scope["raw_path"].decode("ascii", "backslashreplace")  # percent-encoded: no path can inject a line break
    caller: Caller | None = scope["state"].get("caller")
    who = {"tenant": caller.tenant, "key": caller.key} if caller else {}
    client = (scope.get("client") or ("",))[0]
    log.log(level, "%s %s %d", scope["method"], path, status, extra={**measured, **who, "client": client})


def _route(scope: Scope) -> tuple[str, str]:
    """Method and path template, as in the OpenAPI document."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return UNMATCHED, UNMATCHED
    prefix = "/v1" if scope["path"].startswith("/v1/") else ""  # the route has no router prefix
    return scope["method"], prefix + path
