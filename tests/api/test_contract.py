"""Requests generated from the OpenAPI document get documented responses."""

from __future__ import annotations

from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.job_factory import JobFactory

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def probe(operation: schemathesis.APIOperation, ids: dict[str, Any]) -> None:
    """Send a few generated requests about existing objects; `make fuzz` sends more."""

    @given(case=operation.as_strategy())
    @settings(max_examples=3, suppress_health_check=list(HealthCheck))
    def answers_as_documented(case: schemathesis.Case) -> None:
        case.path_parameters.update({name: ids[name] for name in case.path_parameters.keys() & ids.keys()})
        case.call_and_validate(checks=CHECKS)

    answers_as_documented()


def test_every_operation_answers_as_documented(app: FastAPI, job_factory: JobFactory) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app).exclude(operation_id="stream_job")

    for operation in schema.get_all_operations():
        probe(operation.ok(), job_factory.ids())
