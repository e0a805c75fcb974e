"""The service, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, overload

from service.client.job import Job
from service.client.sweep import Sweep
from service.client.transport import Transport
from service.client.uploads import as_file
from service.lifecycle import Job as State
from service.spec.table import Dataset, DatasetSummary
from service.sweep_records import Sweep as SweepState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UPLOAD_SECONDS = 900.0


class Client:
    """A service at `url`.

    `tries`: of each request, before an error that may pass (429, 503, a lost connection) is raised. What creates
    something is sent with an Idempotency-Key of its own, so that it is created once. Refusals raise ApiError.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", api_key: str | None = None, *, tries: int = 6, timeout: float = 30.0
    ) -> None:
        self._transport = Transport(url, api_key, tries, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._transport.http.close()

    def train(self, data: Any, target: str | None = None, **spec: Any) -> Job:
        """Upload `data` and train on it: see `upload` for what it may be, and a job spec for `spec`.

        `target`: the column to predict; left out for (X, y).
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
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> Sweep:
        """Queue many jobs that start from one base, once: a job spec, or data and `target` as in `train`.

        `spec`: more of the base. `grid`: values to combine, by dotted name into the spec, as in
        `{"optimizer.lr": [0.001, 0.01]}`; or `points`: changes one by one. `replicates`: jobs a point, each with its
        own seed; `folds`: of cross-validation. `name` and `labels` are the sweep's.
        """
        if isinstance(base, dict) and target is not None:
            raise TypeError("target= goes with data; a spec names its own in data.target")
        whole = {**base, **spec} if isinstance(base, dict) else self._spec(base, target, spec)
        asked: dict[str, Any] = {"name": name, "labels": labels, "base": whole, "grid": grid, "points": points}
        asked |= {"replicates": replicates, "folds": folds}
        body = {key: value for key, value in asked.items() if value is not None}
        return Sweep(self._transport, SweepState.model_validate(self._transport.create("/v1/sweeps", body)))

    def upload(self, data: Any, name: str | None = None, **options: Any) -> Dataset:
        """Store a table: a path, bytes, a pandas or polars DataFrame, an array, or (X, y).

        `options`: how a file is to be read, such as `delimiter=";"`; left out, all of it is found.
        """
        content, found = as_file(data)
        named = {"name": name or found} if name or found else {}
        answer = self._transport.json(
            "POST", "/v1/datasets", params={**named, **options}, content=content, timeout=UPLOAD_SECONDS
        )
        return Dataset.model_validate(answer)

    def submit(self, spec: dict[str, Any]) -> Job:
        """Queue a job, once."""
        return Job(self._transport, State.model_validate(self._transport.create("/v1/jobs", spec)))

    def plan(self, spec: dict[str, Any]) -> dict[str, Any]:
        """What `submit` would train; creates nothing."""
        return dict(self._transport.json("POST", "/v1/jobs/plan", json=spec))

    def job(self, job_id: str) -> Job:
        """The job of this id."""
        return Job(self._transport, State.model_validate(self._transport.json("GET", f"/v1/jobs/{job_id}")))

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """Jobs that fit, newest first: `status=`, `name=`, `sweep=`, `labels={...}`."""
        labels = filters.pop("labels", {})
        asked = {**filters, **{f"label.{key}": value for key, value in labels.items()}}
        for job in self._transport.pages("/v1/jobs", asked):
            yield Job(self._transport, State.model_validate(job))

    def sweep_of(self, sweep_id: str) -> Sweep:
        """The sweep of this id."""
        state = self._transport.json("GET", f"/v1/sweeps/{sweep_id}")
        return Sweep(self._transport, SweepState.model_validate(state))

    def sweeps(self) -> Iterator[Sweep]:
        """Sweeps, newest first."""
        for sweep in self._transport.pages("/v1/sweeps", {}):
            yield Sweep(self._transport, SweepState.model_validate(sweep))

    @overload
    def datasets(self, *, columns: Literal[False] = False) -> Iterator[DatasetSummary]: ...

    @overload
    def datasets(self, *, columns: Literal[True]) -> Iterator[Dataset]: ...

    def datasets(self, *, columns: bool = False) -> Iterator[Dataset] | Iterator[DatasetSummary]:
        """Stored data sets, newest first; `columns=True`: with what is known of their columns, long for wide tables."""
        if columns:
            return map(Dataset.model_validate, self._transport.pages("/v1/datasets", {"columns": "true"}))
        return map(DatasetSummary.model_validate, self._transport.pages("/v1/datasets", {"columns": "false"}))

    def usage(self) -> dict[str, Any]:
        """What the key is, what its tenant takes, and how much that may be."""
        return dict(self._transport.json("GET", "/v1/usage"))

    def _spec(self, data: Any, target: str | None, spec: dict[str, Any]) -> dict[str, Any]:
        dataset = data if isinstance(data, Dataset | DatasetSummary) else self.upload(data)
        column = target or ("y" if isinstance(data, tuple) else None)
        if column is None:
            raise TypeError("data needs target=, the column to predict")
        chosen = spec.get("data", {})
        return {**spec, "data": {"kind": "dataset", "id": dataset.id, "target": column, **chosen}}
