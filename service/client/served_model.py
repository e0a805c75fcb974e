"""One version of a published model, at an address that says which: predictions, reports, drift, downloads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from service.client import downloads
from service.client.predicting import Predicting
from service.client.predictions import FILE_SECONDS, body_of
from service.client.reports import evaluate, read_report
from service.domain.checkpoint import CheckpointFormat
from service.drift.report import ModelDrift
from service.reports.report import VersionReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpx2 import Headers

    from service.client.reports import Format
    from service.client.transport import Transport
    from service.reports.evaluation import Evaluation

FileFormat = Literal["bundle", "onnx", "pt2"]


class ServedModel(Predicting):
    """The version at `address`: `NAME` (its alias `champion`), `NAME@ALIAS` or `NAME:VERSION`.

    An alias is looked up at each request.
    """

    def __init__(self, transport: Transport, address: str) -> None:
        self._transport, self.address = transport, address
        self._path = f"/v1/models/{address}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    @overload
    def report(
        self, format: Literal["object"] = "object", *, costs: Mapping[str, float] | None = None
    ) -> VersionReport: ...
    @overload
    def report(self, format: Literal["markdown", "html"], *, costs: Mapping[str, float] | None = None) -> str: ...
    def report(
        self,
        format: Format = "object",  # noqa: A002
        *,
        costs: Mapping[str, float] | None = None,
    ) -> VersionReport | str:
        """What the version is worth, as `Job.report`."""
        return read_report(self._transport, self._path, VersionReport, format, costs)

    @overload
    def evaluate(self, rows: Any, format: Literal["object"] = "object") -> Evaluation: ...
    @overload
    def evaluate(self, rows: Any, format: Literal["markdown", "html"]) -> str: ...
    def evaluate(self, rows: Any, format: Format = "object") -> Evaluation | str:  # noqa: A002
        """How good the version is on labelled rows, compared with its report.

        `rows`: a DataFrame, the path of a CSV, Parquet or JSON Lines file, or dicts by column name (10,000 at most),
        with the target in its column; rows without are left out.
        """
        return evaluate(self._transport, self._path, rows, format)

    def drift(self, rows: Any = None) -> ModelDrift:
        """How rows, which need no target, differ from those that the version was trained on.

        `rows`: a DataFrame, the path of a CSV, JSON Lines or Parquet file, or up to 10,000 dicts by column name;
        default: a sample of the rows that the version was asked to predict, where the service keeps one. Raises
        ApiError with the status 409 if the version has no profile of its training rows.
        """
        method, options = "GET", dict[str, Any](timeout=FILE_SECONDS)
        if rows is not None:
            content, media_type = body_of(rows)
            method, options = "POST", options | {"content": content, "headers": {"Content-Type": media_type}}
        return ModelDrift.model_validate(self._transport.json(method, f"{self._path}/drift", **options))

    def download(
        self,
        path: str | Path,
        format: FileFormat = "bundle",  # noqa: A002
        *,
        calibrated: bool = True,
    ) -> Path:
        """Save the version as one file that predicts without the service, with preprocessing and all members inside.

        As the file `path`, or in the folder `path` under a default name. `calibrated`: whether its probabilities are
        the calibrated ones, as those of `predict` are.
        """
        params = {"format": format, "calibrated": calibrated}

        def name(headers: Headers) -> str:
            ending = CheckpointFormat(format).file_ending(calibrated=calibrated)
            return f"{headers['model-name']}-{headers['model-version']}{ending}"

        return downloads.save(self._transport, f"{self._path}/download", params, target=path, name=name)

    def card(self) -> str:
        """The model card of the version, in Markdown."""
        return self._transport.request("GET", f"{self._path}/card").text
