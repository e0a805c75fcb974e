"""The OpenAPI document beyond the endpoints' signatures: tags, problem responses, examples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from service.api.http.problems import MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.openapi.models import Example

DESCRIPTION = """
Training as a service: POST a job spec, watch it train with early stopping, download the best epoch.

Errors are `application/problem+json` (RFC 9457) with a stable `code`. Times are UTC (RFC 3339).
Numbers that are not finite are `null`. Clients must accept states that they don't know.
"""

TAGS = [
    {"name": "jobs", "description": "Networks to train: submit, plan, read, cancel, delete."},
    {"name": "progress", "description": "The epochs of a job, as a list, as CSV or as they happen."},
    {"name": "checkpoints", "description": "Weights of the best and of the last epoch."},
    {"name": "predictions", "description": "Predictions of the best epoch for new rows."},
    {"name": "sweeps", "description": "Many jobs from one base spec: a grid, a list of points, folds, seeds."},
    {"name": "models", "description": "Published models: versions and aliases under a name that stays."},
    {"name": "datasets", "description": "Tables to train on, uploaded or read from connections."},
    {"name": "service", "description": "Architectures, workers, usage, health and metrics."},
]

_MEANINGS = {
    400: "The body is not JSON.",
    401: "The API key is missing or invalid.",
    403: "The API key does not allow this, or a proxy forwarded it to a service that has no key yet.",
    404: "No such object.",
    409: "The object's current state does not allow this.",
    413: "The body, or the result, is too large.",
    415: "The body's media type is not supported here.",
    416: "The range is outside the file.",
    422: "Something in the request is wrong; `errors` says where.",
    424: "The server of a connection refuses access or does not answer.",
    429: "A rate limit, queue limit or stream limit is reached; `Retry-After` says when to retry.",
    500: "An internal error; the server's log has the details under `request_id`.",
    501: "The server lacks an optional library.",
    503: "The database or a helper process is unavailable; `Retry-After` says when to retry.",
    507: "The server could not write to its storage.",
}

SPEC_EXAMPLES: dict[str, Example] = {
    "penguins": {
        "summary": "An uploaded table, everything else by default",
        "value": {
            "name": "penguins",
            "labels": {"project": "birds"},
            "data": {"kind": "dataset", "id": "ds_18d2f3c1a2b40007d1e2f3a4", "target": "species"},
            "early_stopping": {"patience": 10, "monitor": "val_accuracy"},
        },
    },
    "reference": {
        "summary": "Random labels on synthetic data: early stopping ends the training soon",
        "value": {
            "name": "reference",
            "data": {"kind": "synthetic", "rows": 1000, "features": 20, "classes": 2},
            "architecture": {"hidden": [64, 32]},
            "optimizer": {"kind": "adam", "lr": 0.001},
            "batch_size": "full",
            "early_stopping": {"patience": 10},
        },
    },
    "inline": {
        "summary": "A small table in the request itself",
        "value": {
            "data": {
                "kind": "inline",
                "x": [[0.1, 1.2], [0.3, 0.9], [2.2, 0.1], [1.9, None], [0.2, 1.1], [2.1, 0.3]],
                "y": ["left", "left", "right", "right", "left", "right"],
            },
            "architecture": {"hidden": [8]},
            "max_epochs": 20,
        },
    },
}

SWEEP_EXAMPLES: dict[str, Example] = {
    "grid": {
        "summary": "Every combination of three learning rates and two widths, each with five seeds",
        "value": {
            "name": "rates and widths",
            "base": {"data": {"kind": "synthetic", "signal": 2.0}, "max_epochs": 50},
            "grid": {"optimizer.lr": [0.001, 0.003, 0.01], "architecture.hidden": [[16], [64, 32]]},
            "replicates": 5,
        },
    },
    "points": {
        "summary": "A list of points",
        "value": {
            "base": {"data": {"kind": "synthetic", "signal": 2.0}},
            "points": [{"optimizer.kind": "sgd", "optimizer.lr": 0.1}, {"optimizer.kind": "adamw"}],
        },
    },
    "preset": {
        "summary": "The best model for a table: tested recipes, cross-validated, and published under a name",
        "value": {
            "base": {"data": {"kind": "synthetic", "signal": 2.0}},
            "preset": "good",
            "model": "signal",
        },
    },
    "folds": {
        "summary": "Two ways to scale numbers, compared by five-fold cross-validation",
        "value": {
            "base": {"data": {"kind": "synthetic", "signal": 2.0}, "max_epochs": 50},
            "grid": {"preprocess.numeric": ["standardize", "quantile"]},
            "folds": 5,
        },
    },
}

PREDICT_EXAMPLES: dict[str, Example] = {
    "penguins": {
        "summary": "Two rows, one with a missing value",
        "value": {
            "rows": [
                {"bill_length_mm": 39.1, "bill_depth_mm": 18.7, "island": "Torgersen", "sex": "male"},
                {"bill_length_mm": 47.5, "bill_depth_mm": 15.0, "island": "Biscoe", "sex": None},
            ]
        },
    },
}

REFERENCE_EXAMPLES: dict[str, Example] = {
    "files": {
        "summary": "All Parquet files of a folder, as one table",
        "value": {"connection": "lake", "path": "2026/*.parquet", "name": "sales"},
    },
    "query": {
        "summary": "The rows of a query",
        "value": {"connection": "warehouse", "query": "SELECT * FROM sales ORDER BY id", "name": "sales"},
    },
}

EVALUATE_EXAMPLES: dict[str, Example] = {
    "penguins": {
        "summary": "A row with its true class",
        "value": {"rows": [{"bill_length_mm": 39.1, "bill_depth_mm": 18.7, "sex": "male", "species": "Adelie"}]},
    },
}


MODEL_EXAMPLES: dict[str, Example] = {
    "job": {
        "summary": "The best epoch of a job",
        "value": {"name": "churn", "from": {"job": "job_18d2f3c1a2b40007d1e2f3a4"}},
    },
    "sweep": {
        "summary": "The best point of a sweep, with all its folds and seeds",
        "value": {"name": "churn", "from": {"sweep": "swp_18d2f3c1a2b40007d1e2f3a4"}, "alias": "challenger"},
    },
    "members": {
        "summary": "A weighted average of two jobs",
        "value": {
            "name": "churn",
            "from": {
                "members": [
                    {"job": "job_18d2f3c1a2b40007d1e2f3a4", "weight": 2.0},
                    {"job": "job_18d2f3c1a2b40008d1e2f3a4"},
                ]
            },
            "description": "two thirds wide, one third deep",
        },
    },
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for these error statuses."""
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in statuses}


def amend(app: FastAPI) -> None:
    """Give error responses their media type, and rewrite unions for client generators."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            for operation in (operation for path in document["paths"].values() for operation in path.values()):
                for status, response in operation["responses"].items():
                    if status >= "400":
                        response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
            for schema in document["components"]["schemas"].values():
                for field in schema.get("properties", {}).values():
                    _rewrite_union(field)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _rewrite_union(field: dict[str, Any]) -> None:
    """Rewrite a union in terms that client generators support; the original is valid OpenAPI too.

    openapi-python-client skips every operation with an object as a field's `default`, such as the submission of a job;
    and a `const` in a union makes it accept no other member.
    """
    members = field.get("anyOf") or field.get("oneOf")
    if members and isinstance(field.get("default"), dict):
        field["description"] += f" Left out, it is `{json.dumps(field.pop('default'))}`."
    for member in members or []:
        if "const" in member:
            member["enum"] = [member.pop("const")]
