"""Specs that schemathesis makes up: what is accepted trains, and what is refused is refused in the plan too."""

from __future__ import annotations

import math
from typing import Any

import schemathesis
import torch
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from service.data.preprocess.dataset import prepare
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.training.loop import Training
from tests.fuzz import EXAMPLES, many

DATA = (
    {"kind": "synthetic", "rows": 40, "features": 4},
    {"kind": "synthetic", "rows": 30, "features": 16, "classes": 5},
    {"kind": "inline", "x": [[i, None if i % 5 == 0 else i / 7] for i in range(30)], "y": [i / 3 for i in range(30)]},
    {"kind": "inline", "x": [[i, -i] for i in range(20)], "y": ["a" if i % 3 else "b" for i in range(20)]},
)
SMALL = 300_000  # trained values, and values between the layers: the time is for many specs


def test_a_spec_that_is_accepted_trains(client: TestClient) -> None:
    operation = schemathesis.openapi.from_dict(client.get("/openapi.json").json()).find_operation_by_id("plan_job")
    trained = list[str]()

    @given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        data=st.sampled_from(DATA),
        kept=st.sets(st.sampled_from(sorted(JobSpec.model_fields)), max_size=5),
    )
    @many()
    def trains(case: Any, data: dict[str, Any], kept: set[str]) -> None:
        asked = case.body if isinstance(case.body, dict) else {}
        spec = {name: value for name, value in asked.items() if name in kept} | {"data": data, "device": "cpu"}
        plan, job = client.post("/v1/jobs/plan", json=spec), client.post("/v1/jobs", json=spec)
        assert plan.status_code in (200, 422), plan.text
        assert (job.status_code == 201) == (plan.status_code == 200)
        if plan.status_code == 200:
            resolved_spec = JobSpec.model_validate(job.json()["spec"])
            assert plan.json()["spec"] == job.json()["spec"]
            short = resolved_spec.model_copy(update={"max_epochs": min(resolved_spec.max_epochs, 3)})
            resolved = resolve(short, profile_of(short.data))  # type: ignore[arg-type]
            if resolved.parameters < SMALL and resolved.step_values < SMALL:
                epochs = list(Training([resolved], prepare(resolved.preparation, None), torch.device("cpu")))
                assert 1 <= len(epochs) <= 3
                assert all(math.isfinite(report.row.lr) for (report,) in epochs)
                trained.append(job.json()["id"])

    trains()
    assert len(trained) > EXAMPLES / 10
