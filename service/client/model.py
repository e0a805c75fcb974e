"""Published models: versions, aliases, and predictions under a name that stays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from service.client.predictions import FILE_SECONDS, PredictOptions, Predictor, body_of
from service.client.reports import evaluate, read_report
from service.client.transport import EXPORT_SECONDS
from service.domain.model import CHAMPION, AliasMoved, ModelAlias, ModelVersion, ModelVersionSummary
from service.domain.model import Model as State
from service.drift.report import ModelDrift
from service.reports.report import VersionReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from service.client.job import Job
    from service.client.predictions import Frame
    from service.client.reports import Format
    from service.client.sweep import Sweep
    from service.client.transport import Transport
    from service.domain.prediction import AppliedCalibration
    from service.reports.evaluation import Evaluation

FileFormat = Literal["bundle", "onnx", "pt2"]


class Model:
    """A model; `state` is its last known state, updated by `refresh()` and by moves of aliases."""

    def __init__(self, transport: Transport, state: State) -> None:
        self._transport, self.state = transport, state
        self._path = f"/v1/models/{state.name}"

    def __repr__(self) -> str:
        aliases = ", ".join(f"{alias.alias} -> {alias.version}" for alias in self.state.aliases)
        return f"<Model {self.name}: {self.state.versions} versions, {aliases or 'no aliases'}>"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.state.name

    def refresh(self) -> Model:
        """Update `state`."""
        self.state = State.model_validate(self._transport.json("GET", self._path))
        return self

    def versions(self) -> Iterator[ModelVersionSummary]:
        """The versions, newest first, without their members."""
        return map(ModelVersionSummary.model_validate, self._transport.pages(f"{self._path}/versions", {}))

    def version(self, number: int | None = None) -> ModelVersion:
        """A version with its members and their lineage; default: the newest, LookupError if there is none."""
        chosen = self.state.latest if number is None else number
        if chosen is None:
            raise LookupError(f"the model {self.name!r} has no versions")
        return ModelVersion.model_validate(self._transport.json("GET", f"{self._path}/versions/{chosen}"))

    def promote(self, version: int, alias: str = CHAMPION, *, expected: int | None = None) -> ModelAlias:
        """Point an alias to a version, atomically.

        `expected`: only if it points to this version now; otherwise ApiError with the status 409.
        """
        body = {"version": version} | ({} if expected is None else {"expected": expected})
        moved = ModelAlias.model_validate(self._transport.json("PUT", f"{self._path}/aliases/{alias}", json=body))
        self.refresh()
        return moved

    def rollback(self, alias: str = CHAMPION) -> ModelAlias:
        """Move an alias back to the version before; raises LookupError if there is none."""
        now = ModelAlias.model_validate(self._transport.json("GET", f"{self._path}/aliases/{alias}"))
        if now.previous is None:
            raise LookupError(f"the alias {alias!r} of {self.name!r} has no version to roll back to")
        return self.promote(now.previous, alias, expected=now.version)

    def history(self, alias: str = CHAMPION) -> Iterator[AliasMoved]:
        """The moves of an alias, newest first: who, when, from where and to where."""
        return map(AliasMoved.model_validate, self._transport.pages(f"{self._path}/aliases/{alias}/history", {}))

    @overload
    def predict(
        self, rows: Iterable[Mapping[str, Any]], *, at: str | int = CHAMPION, **options: Unpack[PredictOptions]
    ) -> list[dict[str, Any]]: ...
    @overload
    def predict(
        self, rows: str | Path, out: None = None, *, at: str | int = CHAMPION, **options: Unpack[PredictOptions]
    ) -> list[dict[str, Any]]: ...
    @overload
    def predict(
        self, rows: str | Path, out: str | Path, *, at: str | int = CHAMPION, **options: Unpack[PredictOptions]
    ) -> Path: ...
    @overload
    def predict(self, rows: Frame, *, at: str | int = CHAMPION, **options: Unpack[PredictOptions]) -> Frame: ...
    def predict(
        self,
        rows: Any,
        out: str | Path | None = None,
        *,
        at: str | int = CHAMPION,
        calibrated: bool = True,
        interval: float | None = None,
    ) -> Any:
        """Predict as `Job.predict` does, with the version that `champion` points to.

        `at`: another alias, or the number of a version.
        """
        options = PredictOptions(calibrated=calibrated, interval=interval)
        return Predictor(self._transport, self._at(at), options).of(rows, out)

    def calibration(self, *, at: str | int = CHAMPION, interval: float | None = None) -> AppliedCalibration | None:
        """How `predict` is calibrated, or why it stays raw; None for regression without `interval`."""
        return Predictor(self._transport, self._at(at), PredictOptions(interval=interval)).calibration()

    @overload
    def report(
        self,
        format: Literal["object"] = "object",
        *,
        at: str | int = CHAMPION,
        costs: Mapping[str, float] | None = None,
    ) -> VersionReport: ...
    @overload
    def report(
        self, format: Literal["markdown", "html"], *, at: str | int = CHAMPION, costs: Mapping[str, float] | None = None
    ) -> str: ...
    def report(
        self,
        format: Format = "object",  # noqa: A002
        *,
        at: str | int = CHAMPION,
        costs: Mapping[str, float] | None = None,
    ) -> VersionReport | str:
        """The report of the version that `champion` points to, as `Job.report`; `at`: another alias, or version."""
        return read_report(self._transport, self._at(at), VersionReport, format, costs)

    @overload
    def evaluate(self, rows: Any, format: Literal["object"] = "object", *, at: str | int = CHAMPION) -> Evaluation: ...
    @overload
    def evaluate(self, rows: Any, format: Literal["markdown", "html"], *, at: str | int = CHAMPION) -> str: ...
    def evaluate(
        self,
        rows: Any,
        format: Format = "object",  # noqa: A002
        *,
        at: str | int = CHAMPION,
    ) -> Evaluation | str:
        """How good the version that `champion` points to is on labelled rows, compared with its report.

        `rows`: a DataFrame, the path of a CSV, Parquet or JSON Lines file, or dicts by column name (10,000 at most),
        with the target in its column; rows without are left out. `at`: another alias, or the number of a version.
        """
        return evaluate(self._transport, self._at(at), rows, format)

    def download(
        self,
        path: str | Path,
        format: FileFormat = "bundle",  # noqa: A002
        *,
        at: str | int = CHAMPION,
        calibrated: bool = True,
    ) -> Path:
        """Save a version as one file that predicts without the service, with the preprocessing and all members inside.

        As the file `path`, or in the folder `path` under a default name. `at`: see `predict`. `calibrated`: whether its
        probabilities are the calibrated ones, as those of `predict` are.
        """
        return _save(self._transport, self._at(at), Path(path), format, calibrated=calibrated)

    def card(self, *, at: str | int = CHAMPION) -> str:
        """The model card of a version, in Markdown; `at`: see `predict`."""
        return self._transport.request("GET", f"{self._at(at)}/card").text

    def _at(self, at: str | int) -> str:
        """The path of a version by its number, or by an alias."""
        return self._path + (f":{at}" if isinstance(at, int) else f"@{at}")

    def drift(self, rows: Any = None, *, at: str | int = CHAMPION) -> ModelDrift:
        """How rows, which need no target, differ from those that a version was trained on.

        `rows`: a DataFrame, the path of a CSV, JSON Lines or Parquet file, or up to 10,000 dicts by column name;
        default: a sample of the rows that the version was asked to predict, where the service keeps one. `at`: as in
        `predict`. Raises ApiError with the status 409 if the version has no profile of its training rows.
        """
        return Models(self._transport).drift(self.name + (f":{at}" if isinstance(at, int) else f"@{at}"), rows)

    def delete_alias(self, alias: str) -> None:
        """Delete an alias; the version that it points to stays."""
        self._transport.delete(f"{self._path}/aliases/{alias}")
        self.refresh()

    def delete_version(self, number: int) -> None:
        """Delete a version that no alias points to."""
        self._transport.delete(f"{self._path}/versions/{number}")
        self.refresh()

    def delete(self) -> None:
        """Delete the model with all its versions; it must have no alias."""
        self._transport.delete(self._path)


class Models:
    """The published models of a service: `client.models`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        source: Job | Sweep | Mapping[Job, float] | Mapping[str, float] | Mapping[Job | str, float],
        *,
        select: str | None = None,
        description: str | None = None,
        alias: str | None = None,
    ) -> ModelVersion:
        """Publish the next version of the model `name`.

        `source`: a job; a sweep, with `select="best"` or `"greedy"`; or the weight of each member by job or job id, as
        in `{job: 3.0, "job_...": 1.0}`. It is not the object `from` of the HTTP request.
        `alias`: is moved to the new version; the first version of a name gets `champion` anyway.
        """
        body: dict[str, Any] = {"name": name, "from": _source(source) | ({} if select is None else {"select": select})}
        body |= {key: value for key, value in (("description", description), ("alias", alias)) if value is not None}
        return ModelVersion.model_validate(self._transport.create("/v1/models", body))

    def get(self, name: str) -> Model:
        """The model of this name."""
        return Model(self._transport, State.model_validate(self._transport.json("GET", f"/v1/models/{name}")))

    def predict_file(self, address: str, rows: str | Path, **options: Unpack[PredictOptions]) -> bytes:
        """The predictions for a file of rows, as the bytes of a file of the same format.

        `address`: `NAME`, `NAME@ALIAS` or `NAME:VERSION`.
        """
        return Predictor(self._transport, f"/v1/models/{address}", options).bytes_of(rows)

    def report(
        self,
        address: str,
        format: Format = "object",  # noqa: A002
        *,
        costs: Mapping[str, float] | None = None,
    ) -> VersionReport | str:
        """The report of the version at an address, as `Model.report`."""
        return read_report(self._transport, f"/v1/models/{address}", VersionReport, format, costs)

    def evaluate(self, address: str, rows: Any, format: Format = "object") -> Evaluation | str:  # noqa: A002
        """Evaluate the version at an address on labelled rows, as `Model.evaluate`."""
        return evaluate(self._transport, f"/v1/models/{address}", rows, format)

    def drift(self, address: str, rows: Any = None) -> ModelDrift:
        """See `Model.drift`. `address`: `NAME`, `NAME@ALIAS` or `NAME:VERSION`."""
        method, options = "GET", dict[str, Any](timeout=FILE_SECONDS)
        if rows is not None:
            content, media_type = body_of(rows)
            method, options = "POST", options | {"content": content, "headers": {"Content-Type": media_type}}
        return ModelDrift.model_validate(self._transport.json(method, f"/v1/models/{address}/drift", **options))

    def download(
        self,
        address: str,
        path: str | Path,
        format: FileFormat = "bundle",  # noqa: A002
        *,
        calibrated: bool = True,
    ) -> Path:
        """`Model.download` of a version by its address: `NAME`, `NAME@ALIAS` or `NAME:VERSION`."""
        return _save(self._transport, f"/v1/models/{address}", Path(path), format, calibrated=calibrated)

    def list(self, **filters: Any) -> Iterator[Model]:
        """Matching models, newest first: `name=`, `job=`."""
        for state in self._transport.pages("/v1/models", filters):
            yield Model(self._transport, State.model_validate(state))


def _save(transport: Transport, path: str, target: Path, format: FileFormat, *, calibrated: bool) -> Path:  # noqa: A002
    params = {"format": format, "calibrated": calibrated}
    answer = transport.request("GET", f"{path}/download", params=params, timeout=EXPORT_SECONDS)
    if target.is_dir():
        name, version = answer.headers["model-name"], answer.headers["model-version"]
        target /= f"{name}-{version}.{'zip' if format == 'bundle' else format}"
    target.write_bytes(answer.content)
    return target


def _source(source: Any) -> dict[str, Any]:
    """`from` of the request."""
    if hasattr(source, "items"):
        return {"members": [{"job": getattr(job, "id", job), "weight": weight} for job, weight in source.items()]}
    kind = "sweep" if hasattr(source, "summary") else "job"
    return {kind: source.id}
