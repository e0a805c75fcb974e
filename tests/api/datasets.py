"""Uploads of a small table, and the files that they leave."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient

from service.artifacts import Artifacts

CSV = b"size,kind,seen,ok\n1.5,a,2024-01-02,true\n2.5,b,2024-01-03,false\nNA,a,2024-01-04,true\n"


def upload(client: TestClient | httpx2.Client, data: bytes = CSV, **query: Any) -> Any:
    return client.post("/v1/datasets", content=data, params=query)


def files(artifacts: Artifacts, folder: str) -> list[Path]:
    """All files below the folder; subfolders may disappear meanwhile."""
    return [Path(place) / name for place, _, names in os.walk(artifacts.path(folder)) for name in names]
