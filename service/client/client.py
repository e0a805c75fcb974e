"""The client of a service: uploads, jobs, sweeps and data sets."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from service.client import downloads
from service.client.fit import model_name, published_model
from service.client.job import Job
from service.client.models import Models
from service.client.progress_bar import of_bytes
from service.client.sweep import Sweep
from service.client.transport import Transport
from service.client.upload_parts import upload_in_parts
from service.client.uploads import as_file
from service.domain.advice import EarlyStoppingAdvice as Advice
from service.domain.job import Job as State
from service.domain.sweep import Sweep as SweepState
from service.spec.sweep import SweepSpec
from service.spec.table import Dataset, DatasetSummary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from service.client.model import Model

UPLOAD_SECONDS = 900.0
SMALL_BYTES = 1024**2  # which are never uploaded in parts

Preset = Literal["fast", "good", "best"]
SWEEP_FIELDS = frozenset(SweepSpec.model_fields) - {"base"}


class Client:
    """A client of the service at `url`.

    `tries`: attempts of each request before a transient error (429, 502, 503, 504, a lost connection) is raised.
    Requests that create something carry an Idempotency-Key, so that a repeated one creates nothing more.
    Methods raise ApiError when the service rejects a request, ServiceUnavailable when no service answers.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", api_key: str | None = None, *, tries: int = 6, timeout: float = 30.0
    ) -> None:
        self._transport = Transport(url, api_key, tries, timeout)
        self.models = Models(self._transport)
        self._part_bytes: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the HTTP connections."""
        self._transport.close()

    def train(self, data: Any, target: str | None = None, **spec: Any) -> Job:
        """Upload `data` and submit a job that trains on it.

        `data`: as for `upload`, or a data set of the service. `target`: the column to predict; not needed for (X, y).
        `spec`: other fields of the job spec, such as `max_epochs=50`.
        """
        return self.submit(self._spec(data, target, spec))

    def fit(
        self,
        data: Any,
        target: str | None = None,
        *,
        preset: Preset = "best",
        model: str | None = None,
        progress: bool = True,
        **spec: Any,
    ) -> Model:
        """Train the networks of a preset on `data`, wait, and return the published model.

        `data`, `target`: as in `train`. `preset`: `fast` trains one network, `good` one recipe on several folds, `best`
        several recipes, of which it takes the best ensemble. `model`: a name for the model, by default that of the
        file or the target; a model of that name gets another version. `progress`: in a terminal, show a progress bar.
        `spec`: other fields of the job spec, which a preset leaves as they are. The returned model predicts with the
        version that was made, also where another one is the champion. An interrupt cancels the training. Raises
        RuntimeError if no model could be made.
        """
        base = self._spec(data, target, spec)
        name = model or model_name(data, base["data"]["target"])
        epochs = self.plan_sweep(base, preset=preset)["epochs"]
        return published_model(self.sweep(base, preset=preset, model=name), epochs, progress=progress)

    def sweep(
        self,
        base: Any,
        target: str | None = None,
        *,
        grid: Mapping[str, Sequence[Any]] | None = None,
        points: Sequence[Mapping[str, Any]] | None = None,
        space: Mapping[str, Mapping[str, Any]] | None = None,
        search: Mapping[str, Any] | None = None,
        preset: Preset | None = None,
        replicates: int = 1,
        folds: int | None = None,
        repeats: int = 1,
        model: str | None = None,
        select: Literal["best", "greedy"] | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> Sweep:
        """Submit a sweep: many jobs that vary one base.

        `base`: a job spec, or data with `target` as in `train`. `spec`: other fields of the base. `grid`: values to
        combine, by dotted name into the spec, as in `{"optimizer.lr": [0.001, 0.01]}`. `points`: instead of a grid,
        one dict of changes per configuration. `space`: instead of both, ranges and choices from which `search` draws,
        as in `{"optimizer.lr": {"log": [1e-4, 0.1]}}` with `{"kind": "random", "trials": 20}`. `preset`: instead of
        all these, tested recipes, as in `fit`. `replicates`: jobs per configuration, each with another random seed.
        `folds`: cross-validation folds; `repeats`: random assignments of rows to them. `model`: publish a version of
        this model at the end, from the jobs that `select` takes. `name`, `labels`: of the sweep.
        """
        fields: dict[str, Any] = {"grid": grid, "points": points, "space": space, "search": search, "preset": preset}
        fields |= {"replicates": replicates, "folds": folds, "repeats": repeats, "model": model, "select": select}
        body = self._sweep_body(base, target, {**fields, "name": name, "labels": labels}, spec)
        return Sweep(self._transport, SweepState.model_validate(self._transport.create("/v1/sweeps", body)))

    def plan_sweep(self, base: Any, target: str | None = None, **options: Any) -> dict[str, Any]:
        """How many jobs, arrays and epochs `sweep` would train with these arguments, and about how many `seconds`."""
        spec = {name: value for name, value in options.items() if name not in SWEEP_FIELDS}
        fields = {name: value for name, value in options.items() if name in SWEEP_FIELDS}
        body = self._sweep_body(base, target, fields, spec)
        return dict(self._transport.json("POST", "/v1/sweeps/plan", json=body))

    def upload(self, data: Any, name: str | None = None, *, progress: bool = True, **options: Any) -> Dataset:
        """Upload a table as a data set: a path, bytes, a pandas or polars DataFrame, an array, or (X, y).

        `options`: how to read a file, such as `delimiter=";"`; detected by default. A large file is uploaded in parts:
        if it is interrupted, the next upload of the same file sends only the rest. `progress`: show a progress bar of
        those, in a terminal.
        """
        content, file_name = as_file(data)
        named = {"name": name or file_name} if name or file_name else {}
        source = Path(data) if isinstance(data, str | Path) else content
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        if size > SMALL_BYTES and size > self._upload_part_bytes():
            with of_bytes(size) if progress else nullcontext() as advance:
                answer = upload_in_parts(self._transport, source, {**named, **options}, advance)
            return Dataset.model_validate(answer)
        answer = self._transport.json(
            "POST", "/v1/datasets", params={**named, **options}, content=content, timeout=UPLOAD_SECONDS
        )
        return Dataset.model_validate(answer)

    def _upload_part_bytes(self) -> float:
        """Size of the parts in which the service wants larger files; infinite for a version that takes no parts."""
        if self._part_bytes is None:
            self._part_bytes = self.usage()["bounds"].get("upload_part_bytes", math.inf)
        return self._part_bytes

    def import_dataset(
        self, connection: str, *, path: str | None = None, query: str | None = None, **fields: Any
    ) -> Dataset:
        """Read a data set from a connection that an operator has declared; its rows are stored as a snapshot.

        `path`: a file, or a pattern such as `2026/*.parquet`. `query`: instead of it, one SELECT for a database.
        `fields`: a `name`, and how to read the files, such as `delimiter=";"`.
        """
        asked = {"connection": connection, "path": path, "query": query, **fields}
        body = {name: value for name, value in asked.items() if value is not None}
        return Dataset.model_validate(self._transport.create("/v1/datasets", body, timeout=UPLOAD_SECONDS))

    def refresh_dataset(self, dataset: Dataset | DatasetSummary | str) -> Dataset:
        """Read a data set from its connection again: its next version, or one with the same bytes if there is one."""
        dataset_id = dataset if isinstance(dataset, str) else dataset.id
        path = f"/v1/datasets/{dataset_id}/refresh"
        return Dataset.model_validate(self._transport.create(path, None, timeout=UPLOAD_SECONDS))

    def connections(self) -> Iterator[dict[str, Any]]:
        """The connections that data sets can be read from: `name` and `kind`."""
        yield from self._transport.pages("/v1/connections", {})

    def submit(self, spec: dict[str, Any]) -> Job:
        """Submit a job spec."""
        return Job(self._transport, State.model_validate(self._transport.create("/v1/jobs", spec)))

    def plan(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Preview what `submit` would train, without creating a job."""
        return dict(self._transport.json("POST", "/v1/jobs/plan", json=spec))

    def job(self, job_id: str) -> Job:
        """The job with this id."""
        return Job(self._transport, State.model_validate(self._transport.json("GET", f"/v1/jobs/{job_id}")))

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """Matching jobs, newest first: `status=`, `name=`, `sweep=`, `labels={...}`."""
        labels = filters.pop("labels", {})
        params = {**filters, **{f"label.{key}": value for key, value in labels.items()}}
        for job in self._transport.pages("/v1/jobs", params):
            yield Job(self._transport, State.model_validate(job))

    def sweep_of(self, sweep_id: str) -> Sweep:
        """The sweep with this id."""
        state = self._transport.json("GET", f"/v1/sweeps/{sweep_id}")
        return Sweep(self._transport, SweepState.model_validate(state))

    def sweeps(self) -> Iterator[Sweep]:
        """All sweeps, newest first."""
        for sweep in self._transport.pages("/v1/sweeps", {}):
            yield Sweep(self._transport, SweepState.model_validate(sweep))

    def early_stopping_advice(self, monitor: str = "val_loss", max_regret: float = 0.01, **filters: Any) -> Advice:
        """Which patience would have saved how many epochs at what regret, by the recorded histories.

        `max_regret`: how much worse the best epoch may become, relative to its value. Filters: `dataset=`, `sweep=`,
        `name=`, `labels={...}`.
        """
        labels = filters.pop("labels", {})
        params = {"monitor": monitor, "max_regret": max_regret, **filters}
        params |= {f"label.{key}": value for key, value in labels.items()}
        return Advice.model_validate(self._transport.json("GET", "/v1/advice/early-stopping", params=params))

    @overload
    def datasets(self, *, columns: Literal[False] = False) -> Iterator[DatasetSummary]: ...

    @overload
    def datasets(self, *, columns: Literal[True]) -> Iterator[Dataset]: ...

    def datasets(self, *, columns: bool = False) -> Iterator[Dataset] | Iterator[DatasetSummary]:
        """Stored data sets, newest first; `columns=True` includes the profile of each column, long for wide tables."""
        if columns:
            return map(Dataset.model_validate, self._transport.pages("/v1/datasets", {"columns": "true"}))
        return map(DatasetSummary.model_validate, self._transport.pages("/v1/datasets", {"columns": "false"}))

    def download_dataset(
        self,
        dataset: Dataset | DatasetSummary | str,
        path: str | Path,
        format: Literal["parquet", "csv"] = "parquet",  # noqa: A002
    ) -> Path:
        """Save a data set as the file `path`, or in the folder `path` under a default name."""
        dataset_id = dataset if isinstance(dataset, str) else dataset.id
        name, address = f"{dataset_id}.{format}", f"/v1/datasets/{dataset_id}/download"
        return downloads.save(self._transport, address, {"format": format}, target=path, name=lambda _: name)

    def usage(self) -> dict[str, Any]:
        """The API key's scope and tenant, with the tenant's usage and limits."""
        return dict(self._transport.json("GET", "/v1/usage"))

    def _sweep_body(
        self, base: Any, target: str | None, fields: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]:
        if isinstance(base, dict) and target is not None:
            raise TypeError("target= needs data; a job spec has its target in data.target")
        job = {**base, **spec} if isinstance(base, dict) else self._spec(base, target, spec)
        defaults = {"replicates": 1, "repeats": 1}
        given = {name: value for name, value in fields.items() if value is not None and value != defaults.get(name)}
        return {"base": job, **given}

    def _spec(self, data: Any, target: str | None, spec: Mapping[str, Any]) -> dict[str, Any]:
        dataset = data if isinstance(data, Dataset | DatasetSummary) else self.upload(data)
        column = target or ("y" if isinstance(data, tuple) else None)
        if column is None:
            raise TypeError("data needs target=, the name of the column to predict")
        chosen = spec.get("data", {})
        return {**spec, "data": {"kind": "dataset", "id": dataset.id, "target": column, **chosen}}
