"""Check resources of KEDA and the Prometheus operator: a JSON list on standard input, a list of problems on output.

A program of its own, since its libraries are in the environment of the suite's tools.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus
from pydantic import BaseModel, ValidationError

MODELS: dict[str, type[BaseModel]] = {
    "ScaledJob": keda.ScaledJob,
    "TriggerAuthentication": keda.TriggerAuthentication,
    "ServiceMonitor": prometheus.ServiceMonitor,
}


def problems(manifest: dict[str, Any]) -> list[str]:
    """Values that its model refuses, and fields that it does not know."""
    try:
        read = MODELS[manifest["kind"]].model_validate(manifest)
    except ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return unknown(manifest, read.model_dump(mode="json", by_alias=True, exclude_unset=True), manifest["kind"])


def unknown(written: Any, read: Any, place: str) -> list[str]:
    """The places of `written` that are missing in `read`."""
    if isinstance(written, dict) and isinstance(read, dict):
        missing = [f"{place}.{name}: unknown field" for name in written if name not in read]
        return missing + [
            each for name in written if name in read for each in unknown(written[name], read[name], f"{place}.{name}")
        ]
    if isinstance(written, list) and isinstance(read, list):
        return [
            each
            for number, pair in enumerate(zip(written, read, strict=True))
            for each in unknown(*pair, f"{place}.{number}")
        ]
    return []


manifests = json.load(sys.stdin)
json.dump([f"{each['metadata']['name']}: {problem}" for each in manifests for problem in problems(each)], sys.stdout)
