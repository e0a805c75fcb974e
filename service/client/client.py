"""The client of a service: uploads, jobs, sweeps and data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, overload

from service.client.job import Job
from service.client.model import Models
from service.client.sweep import Sweep
from service.client.transport import Transport
from service.client.uploads import as_file
from service.domain.advice import EarlyStoppingAdvice as Advice
from service.domain.job import Job as State
from service.domain.sweep import Sweep as SweepState
from service.spec.table import Dataset, DatasetSummary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UPLOAD_SECONDS = 900.0


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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the HTTP connections."""
        self._transport.http.close()

    def train(self, data: Any, target: str | None = None, **spec: Any) -> Job:
        """Upload `data` and submit a job that trains on it.

        `data`: as for `upload`, or a data set of the service. `target`: the column to predict; not needed for (X, y).
        `spec`: other fields of the job spec, such as `max_epochs=50`.
        """
        return self.submit(self._spec(data, target, spec))

    def sweep(
        self,
        base: Any,
        target: str | None = None,
        *,
        grid: Mapping[str, Sequence[Any]] | None = None,
        points: Sequence[Mapping[str, Any]] | None = None,
        replicates: int = 1,
        folds: int | None = None,
        repeats: int = 1,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> Sweep:
        """Submit a sweep: many jobs that vary one base.

        `base`: a job spec, or data with `target` as in `train`. `spec`: other fields of the base. `grid`: values to
        combine, by dotted name into the spec, as in `{"optimizer.lr": [0.001, 0.01]}`. `points`: instead of a grid,
        one dict of changes per configuration. `replicates`: jobs per configuration, each with another random seed.
        `folds`: cross-validation folds; `repeats`: random assignments of rows to them. `name`, `labels`: of the sweep.
        """
        if isinstance(base, dict) and target is not None:
            raise TypeError("target= needs data; a job spec has its target in data.target")
        job = {**base, **spec} if isinstance(base, dict) else self._spec(base, target, spec)
        fields: dict[str, Any] = {"name": name, "labels": labels, "base": job, "grid": grid, "points": points}
        fields |= {"replicates": replicates, "folds": folds, "repeats": repeats if repeats > 1 else None}
        body = {key: value for key, value in fields.items() if value is not None}
        return Sweep(self._transport, SweepState.model_validate(self._transport.create("/v1/sweeps", body)))

    def upload(self, data: Any, name: str | None = None, **options: Any) -> Dataset:
        """Upload a table as a data set: a path, bytes, a pandas or polars DataFrame, an array, or (X, y).

        `options`: how to read a file, such as `delimiter=";"`; detected by default.
        """
        content, file_name = as_file(data)
        named = {"name": name or file_name} if name or file_name else {}
        answer = self._transport.json(
            "POST", "/v1/datasets", params={**named, **options}, content=content, timeout=UPLOAD_SECONDS
        )
        return Dataset.model_validate(answer)

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

    def usage(self) -> dict[str, Any]:
        """The API key's scope and tenant, with the tenant's usage and limits."""
        return dict(self._transport.json("GET", "/v1/usage"))

    def _spec(self, data: Any, target: str | None, spec: dict[str, Any]) -> dict[str, Any]:
        dataset = data if isinstance(data, Dataset | DatasetSummary) else self.upload(data)
        column = target or ("y" if isinstance(data, tuple) else None)
        if column is None:
            raise TypeError("data needs target=, the name of the column to predict")
        chosen = spec.get("data", {})
        return {**spec, "data": {"kind": "dataset", "id": dataset.id, "target": column, **chosen}}
