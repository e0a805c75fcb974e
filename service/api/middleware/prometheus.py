"""Figures for Prometheus: of the service, from the database as they are asked for, and of this process's requests."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

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

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 60.0)
ELSEWHERE = "other"  # than at a route: what strangers ask for must not make series without end


class Metrics:
    """One an application. Every process tells of its own requests, and each of the whole service: take one of these."""

    def __init__(self, database: Database, folders: Mapping[str, Path]) -> None:
        """`folders`: those whose disks are watched, by what the metric calls them."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_OfService(database))
        self.registry.register(_OfDisks(folders))
        labels = "method", "route"
        self.seconds = Histogram(
            "bestepoch_http_request_seconds",
            "From a request's head to the end of its answer; streams and waits last as long as they are wanted.",
            (*labels, "status"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.open = Gauge(
            "bestepoch_http_requests_open", "Requests under way, streams and waits among them.", registry=self.registry
        )
        self.received = Counter(
            "bestepoch_http_received_bytes", "Bytes of requests' bodies.", labels, registry=self.registry
        )
        self.failed_keys = Counter(
            "bestepoch_failed_keys", "API keys sent that opened nothing, and those not tried.", registry=self.registry
        )
        self.sent = Counter("bestepoch_http_sent_bytes", "Bytes of answers' bodies.", labels, registry=self.registry)

    def text(self) -> bytes:
        """All of it, now, in Prometheus's text format."""
        return generate_latest(self.registry)


class _OfService(Collector):
    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Nothing yet: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything that the database knows; that it is away, when it is."""
        up = GaugeMetricFamily("bestepoch_database_up", "Whether the database answers.")
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
            "bestepoch_jobs", "Jobs stored, by how they are doing.", labels=["status", "stop_reason", "code"]
        )
        for labels, number in known.jobs.items():
            jobs.add_metric(labels, number)
        yield jobs
        yield from _of_storage(known)
        yield from _of_workers(known)


def _of_storage(known: Statistics) -> Iterator[Metric]:
    collecting = known.collecting
    for name, text, value in (
        ("queue_oldest_seconds", "Since the first of the queued jobs was submitted.", known.waiting_seconds),
        ("epochs", "Epochs of all jobs stored.", known.epochs),
        ("workers", "Workers alive.", len(known.workers)),
        ("trainers", "Trainer processes of these.", sum(worker.trainers for worker in known.workers)),
        ("datasets", "Data sets stored.", known.datasets),
        ("dataset_bytes", "Bytes of these.", known.dataset_bytes),
        ("database_bytes", "Bytes that the database takes.", known.database_bytes),
        ("artifact_files", "Files in the artifacts folder, as the last collection found it.", collecting.files),
        ("artifact_bytes", "Bytes of these.", collecting.bytes),
        ("trash_files", "Files in its trash, as the last collection left it.", collecting.trash_files),
        ("trash_bytes", "Bytes of these.", collecting.trash_bytes),
    ):
        yield GaugeMetricFamily(f"bestepoch_{name}", text, value=value)
    for name, text, value in (
        ("collections", "Garbage collections begun.", collecting.collections),
        ("collections_failed", "Those that an error ended.", collecting.failed),
        ("collections_refused", "Those stopped: a mismatch, too many strays.", collecting.refused),
        ("undeleted_files", "Times that a collection could not remove a file.", collecting.undeleted),
    ):
        yield CounterMetricFamily(f"bestepoch_{name}", text, value=value)


def _of_workers(known: Statistics) -> Iterator[Metric]:
    for name, text in (
        ("claims", "Times that a worker took jobs from the queue."),
        ("claimed", "Jobs that a worker took."),
        ("claim_seconds", "Time that taking them took."),
        ("waited_seconds", "Time from the submission of each of them to its first claim."),
        ("lapsed_leases", "Leases of others that a worker found lapsed: jobs that it took back to the queue."),
        ("trainer_restarts", "Trainer processes of a worker that died and were replaced."),
    ):
        counted = CounterMetricFamily(f"bestepoch_worker_{name}", text, labels=["worker"])
        for worker in known.workers:
            counted.add_metric([worker.id], getattr(worker, name))
        yield counted


class _OfDisks(Collector):
    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def describe(self) -> list[Metric]:
        """Nothing yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Of this machine, whether or not the database answers."""
        free = GaugeMetricFamily(
            "bestepoch_disk_free_bytes", "Free where HOME and the artifacts folder lie.", labels=["folder"]
        )
        for name, folder in self._folders.items():
            with suppress(OSError):  # it is not there (yet)
                free.add_metric([name], shutil.disk_usage(folder).free)
        yield free


class Measured:
    """Counts, times and logs each request."""

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
    """A line; of what changes nothing and goes well, only where everything is to be known."""
    level = logging.DEBUG if scope["method"] in ("GET", "HEAD") and status < 400 else logging.INFO
    if not log.isEnabledFor(level):
        return
    path = scope["raw_path"].decode("ascii", "backslashreplace")  # still quoted: no path can break a line
    caller: Caller | None = scope["state"].get("caller")
    who = {"tenant": caller.tenant, "key": caller.key} if caller else {}
    client = (scope.get("client") or ("",))[0]
    log.log(level, "%s %s %d", scope["method"], path, status, extra={**measured, **who, "client": client})


def _route(scope: Scope) -> tuple[str, str]:
    """Method and path as it is written in the documentation."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return ELSEWHERE, ELSEWHERE
    prefix = "/v1" if scope["path"].startswith("/v1/") else ""  # which the route itself does not know of
    return scope["method"], prefix + path
