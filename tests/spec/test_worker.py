"""Labels of workers: in specs, and as text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.spec.job import JobSpec, version_needed
from service.spec.worker import MAX_WORKER_LABELS, labels_text, parse_labels, subsets

KEYS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)
LABELS = st.dictionaries(KEYS, VALUES, max_size=5)


def spec(worker: Any) -> JobSpec:
    return JobSpec.model_validate({"data": {"kind": "synthetic"}, "worker": worker})


@given(labels=LABELS)
def test_labels_survive_their_text_form(labels: dict[str, str]) -> None:
    assert parse_labels(labels_text(labels)) == labels
    assert spec({"labels": labels}).worker.text == labels_text(dict(reversed(labels.items())))


@given(worker=LABELS, job=LABELS)
def test_a_job_asks_for_a_subset_of_a_workers_labels_if_the_worker_can_train_it(
    worker: dict[str, str], job: dict[str, str]
) -> None:
    assert (labels_text(job) in subsets(worker)) == (job.items() <= worker.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu", "'gpu' is not KEY=VALUE"),
        ("gpu=", "'gpu=' is not KEY=VALUE"),
        ("gpu=h100=x", "is not KEY=VALUE"),
        ("gpu=h 100", "is not KEY=VALUE"),
        ("gpu=a,gpu=b", "'gpu' is given twice"),
        (",".join(f"a{number}=b" for number in range(9)), "9 labels, and at most 8"),
    ],
)
def test_wrong_labels_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_labels(text)


@pytest.mark.parametrize(
    "labels", [{"gpu": "a,b"}, {"gpu": ""}, {"": "a"}, {"g=": "a"}, {"gpu\n": "a"}, {"gpu": 1}, {"x": "y" * 64}]
)
def test_a_spec_with_wrong_labels_is_refused(labels: Any) -> None:
    with pytest.raises(ValidationError):
        spec({"labels": labels})


def test_a_spec_asks_for_at_most_8_labels() -> None:
    labels = {f"a{number}": "b" for number in range(MAX_WORKER_LABELS + 1)}
    with pytest.raises(ValidationError, match="at most 8"):
        spec({"labels": labels})


def test_only_jobs_that_ask_for_labels_need_version_4() -> None:
    assert version_needed(spec({"labels": {"gpu": "h100"}})) == 4
    assert version_needed(spec({})) == 1
