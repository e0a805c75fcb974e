"""Downloads of a version of a model as one file that predicts without the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from service.client.transport import EXPORT_SECONDS

if TYPE_CHECKING:
    from service.client.transport import Transport

ExportFormat = Literal["bundle", "onnx", "pt2"]


def save_export(
    transport: Transport,
    version: str,
    path: str | Path,
    format: ExportFormat,  # noqa: A002
    *,
    calibrated: bool,
) -> Path:
    """Save the version at the URL path `version` as the file `path`, or in the folder `path` under a default name."""
    params = {"format": format, "calibrated": calibrated}
    answer = transport.request("GET", f"{version}/download", params=params, timeout=EXPORT_SECONDS)
    target = Path(path)
    if target.is_dir():
        name, number = answer.headers["model-name"], answer.headers["model-version"]
        target /= f"{name}-{number}.{'zip' if format == 'bundle' else format}"
    target.write_bytes(answer.content)
    return target
