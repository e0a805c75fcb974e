"""Fixtures: the real application on a real database, in the test process or behind a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.app import create_app
from service.api.connections.server import Server
from service.api.models import publish
from service.artifacts import Artifacts, FolderArtifacts
from service.data.processes.runner import Allowance
from service.domain.checkpoint import CheckpointFormat
from service.domain.export import Export, ExportedJob
from service.domain.model import ModelVersion
from service.domain.model_ref import ModelRef
from service.domain.prediction import DEFAULT, AppliedCalibration, ModelCalibration, PredictedRows, PredictionOptions
from service.domain.report import EvaluationInputs, ReportInputs, StoredFile
from service.errors import Conflict, NotInstalled
from service.reports.evaluation import Evaluation
from service.reports.report import ReportSections
from service.settings import Settings, free_port
from service.spec.read_options import ReadOptions
from service.store.engine import Database
from tests.conftest import POSTGRES
from tests.drift.examples import drift_report
from tests.reports.examples import classification_report, evaluation, version_report

both_databases = pytest.mark.parametrize("backend", ["sqlite", POSTGRES], indirect=True)


class CoinPredictor:
    """A predictor that gives every row the same prediction."""

    has_onnx = True
    model_bytes = 2**30

    def predict(self, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT) -> PredictedRows:
        return PredictedRows([{"prediction": 1, "probabilities": {"0": 0.25, "1": 0.75}} for _ in rows], None)

    def preload(self, ref: ModelRef) -> None:
        """Nothing has to be loaded."""

    def calibration(self, ref: ModelRef) -> ModelCalibration | None:
        return None

    def check_options(self, ref: ModelRef, options: PredictionOptions) -> None:
        """All options are possible."""

    async def predict_few(
        self, tenant: str, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT
    ) -> PredictedRows:
        return self.predict(ref, rows, options)

    def predict_file(
        self,
        ref: ModelRef,
        source: Path,
        reading: ReadOptions,
        allowed: Allowance,
        options: PredictionOptions = DEFAULT,
    ) -> tuple[Path, AppliedCalibration | None]:
        return source, None

    def to_pt(self, checkpoint: Path, sha256: str, target: Path) -> None:
        target.write_bytes(b"PK" + checkpoint.read_bytes())

    def export(self, ref: ModelRef, asked: Export, target: Path) -> None:
        if asked.format is CheckpointFormat.onnx and not self.has_onnx:
            raise NotInstalled("no ONNX here")
        if asked.format is CheckpointFormat.pt2:
            raise Conflict("it differs")
        if isinstance(asked.of, ExportedJob):
            target.write_text(f"{asked.of.job.id} {asked.of.history.read_text()}")
        else:
            members = [(member.sha256, member.weight) for member in ref.members]
            target.write_text(f"{asked.of.model}:{asked.of.version} {members} {asked.calibrated}")

    def card(self, ref: ModelRef, version: ModelVersion) -> str:
        return f"# {version.model}, version {version.version} of {len(ref.members)}\n"

    def report(self, asked: ReportInputs | EvaluationInputs, target: Path, allowed: Allowance) -> None:
        report: ReportSections | Evaluation = classification_report()
        if isinstance(asked, EvaluationInputs):
            report = evaluation(*asked.version)
        elif asked.version is not None:
            report = version_report(*asked.version)
        target.write_text(report.model_dump_json())

    def drift(
        self, ref: ModelRef, profile: StoredFile, source: Path, reading: ReadOptions | None, allowed: Allowance
    ) -> Path:
        target = source.with_name("drift.json")
        target.write_text(drift_report().model_dump_json())
        return target

    def stage_labelled(self, ref: ModelRef, source: Path, reading: ReadOptions, allowed: Allowance) -> int:
        return len(source.read_text().splitlines()) - 1


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """SQLite, unless `both_databases` asks for more."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow the host name that TestClient sends."""
    monkeypatch.setenv("BESTEPOCH_HOSTS", "testserver")


@pytest.fixture(autouse=True)
def unprofiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish without the process that profiles training rows, but in the tests that are about it: it takes half a
    second."""
    if not request.node.get_closest_marker("profiles"):
        monkeypatch.setattr(publish, "profile_published", lambda *_: None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", max_upload_bytes=100_000, max_failed_keys_per_minute=0)


@pytest.fixture
def artifacts(settings: Settings) -> Artifacts:
    return FolderArtifacts(settings.artifacts)


@pytest.fixture
def app(settings: Settings, database: Database, artifacts: Artifacts) -> FastAPI:
    return create_app(settings, database, artifacts, CoinPredictor())


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@contextmanager
def serving(app: FastAPI, **options: Any) -> Iterator[tuple[Server, str]]:
    """A real server in a thread, and its URL; stopped like by a signal."""
    port = free_port("127.0.0.1")
    server = Server(app, port=port, log_config=None, log_level="error", **options)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.fixture
def live(app: FastAPI) -> Iterator[httpx2.Client]:
    """A client of a real server."""
    with serving(app) as (_, url), httpx2.Client(base_url=url, timeout=70) as client:
        yield client
