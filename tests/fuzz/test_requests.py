"""Requests that schemathesis makes up from the documentation, right ones and wrong ones, with all of its checks."""

from __future__ import annotations

import time
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.api.job_factory import JobFactory
from tests.fuzz import many
from tests.fuzz.conftest import KEY

# What a schema allows may still be wrong: a column that the data set has not, a rule that cannot be.
EXCLUDED = [positive_data_acceptance]
# And any bytes at all may be a file.
TAKE_FILES = {"predict", "predict_by_model", "measure_drift", "evaluate_model", "create_dataset"}
SHARDS = 8
SECONDS = 20.0  # of one request; the slowest take two


@pytest.mark.parametrize("shard", range(SHARDS))
def test_made_up_requests_are_answered_as_documented(shard: int, app: FastAPI, job_factory: JobFactory) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for said in [said for path in schema.raw_schema["paths"].values() for said in path.values()]:
        # Every request has the key: a header that it takes for wrong because it left it out would be put right again.
        said.pop("security", None)
    for result in list(schema.get_all_operations())[shard::SHARDS]:
        try_out(result.ok(), job_factory.ids())


def try_out(operation: schemathesis.APIOperation, ids: dict[str, Any]) -> None:
    """Half of the requests are about objects that are there, until one deletes them."""
    excluded = EXCLUDED + [negative_data_rejection] * (operation.definition.raw["operationId"] in TAKE_FILES)
    modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @given(case=st.one_of(*modes), real=st.booleans())
    @many()
    def is_answered(case: schemathesis.Case, real: bool) -> None:
        if real:
            case.path_parameters.update({name: ids[name] for name in case.path_parameters.keys() & ids.keys()})
        began = time.monotonic()
        case.call_and_validate(headers={"Authorization": f"Bearer {KEY}"}, excluded_checks=excluded)
        assert time.monotonic() - began < SECONDS

    is_answered()
