"""A version compared with a job on the rows that are held out from both."""

from __future__ import annotations

from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, root_mean_squared_error

from service.client.comparison import Comparison, compare
from service.client.transport import Transport
from tests.examples import sampled

RNG = np.random.default_rng(0)
CLASSES = ["no", "yes"]
TRUTH = RNG.integers(0, 2, 60)


class Jobs(httpx2.BaseTransport):
    """A service that has kept the predictions of these jobs: rows by part, and by path."""

    def __init__(self, kept: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
        self._kept = kept

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        params, job = dict(request.url.params), request.url.path.split("/")[3]
        rows, start = self._kept[job].get(params["part"], []), int(params["offset"])
        end = start + min(7, int(params["limit"]))  # pages are short here
        return httpx2.Response(200, json={"data": rows[start:end], "next": end if end < len(rows) else None})


def compared(kept: dict[str, dict[str, list[dict[str, Any]]]], weights: dict[str, float]) -> Comparison | None:
    transport = Transport("http://service", None, 1, 1.0)
    transport.http = httpx2.Client(base_url="http://service", transport=Jobs(kept))
    return compare(transport, {f"/v1/jobs/{job}": weight for job, weight in weights.items()}, "/v1/jobs/other")


def classified(rows: np.ndarray, shares: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"row": int(row), "truth": CLASSES[TRUTH[row]], "probabilities": {"no": 1 - share, "yes": share}}
        for row, share in zip(rows, shares, strict=True)
    ]


def measured(rows: np.ndarray, values: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"row": int(row), "truth": float(TRUTH[row]), "prediction": value}
        for row, value in zip(rows, values, strict=True)
    ]


def test_out_of_fold_rows_are_compared_where_the_other_job_validated_them() -> None:
    shares, own = RNG.uniform(0.05, 0.95, 60), RNG.uniform(0.05, 0.95, 60)
    first, second, others = np.arange(30), np.arange(30, 60), np.arange(20, 40)
    kept = {
        "a": {"validation": classified(first, shares[first])},
        "b": {"validation": classified(second, shares[second])},
        "other": {"validation": classified(others, own[others])},
    }

    found = compared(kept, {"a": 1.0, "b": 3.0})

    assert found is not None
    assert (found.part, found.rows, found.loss) == ("validation", 20, "log_loss")
    assert found.value == pytest.approx(log_loss(TRUTH[others], shares[others], labels=[0, 1]))
    assert found.other == pytest.approx(log_loss(TRUTH[others], own[others], labels=[0, 1]))
    rows = [-np.log(np.where(TRUTH[others] == 1, each[others], 1 - each[others])) for each in (own, shares)]
    error = np.std(rows[0] - rows[1], ddof=1) / np.sqrt(20)
    assert found.difference.value == pytest.approx(found.other - found.value)
    assert found.difference.low == pytest.approx(found.other - found.value - 1.96 * error)


def test_test_rows_come_first_and_are_those_of_all_members() -> None:
    values = RNG.normal(size=(3, 60))
    kept = {
        "a": {
            "test": measured(np.arange(20), values[0, :20]),
            "validation": measured(np.arange(20, 60), values[0, 20:]),
        },
        "b": {"test": measured(np.arange(5, 25), values[1, 5:25])},
        "other": {"test": measured(np.arange(60), values[2]), "validation": []},
    }

    found = compared(kept, {"a": 1.0, "b": 3.0})

    assert found is not None
    assert (found.part, found.rows, found.loss) == ("test", 15, "rmse")
    mean = (values[0, 5:20] + 3 * values[1, 5:20]) / 4
    assert found.value == pytest.approx(root_mean_squared_error(TRUTH[5:20], mean))
    assert found.other == pytest.approx(root_mean_squared_error(TRUTH[5:20], values[2, 5:20]))


def test_the_interval_of_a_difference_of_rmse_is_that_of_resampled_rows() -> None:
    truth, values = RNG.normal(size=2_000), RNG.normal(size=(2, 2_000)) * [[0.5], [0.6]]
    kept = {
        job: {"test": [{"row": i, "truth": truth[i], "prediction": truth[i] + values[place, i]} for i in range(2_000)]}
        for place, job in enumerate(("a", "other"))
    }

    found = compared(kept, {"a": 1.0})

    assert found is not None
    rows = RNG.integers(0, 2_000, size=(2_000, 2_000))
    resampled = np.sqrt(np.square(values[1, rows]).mean(1)) - np.sqrt(np.square(values[0, rows]).mean(1))
    assert [found.difference.low, found.difference.high] == pytest.approx(
        np.quantile(resampled, [0.025, 0.975]), rel=0.1
    )


def test_predictions_that_are_not_finite_are_left_out() -> None:
    kept = {
        "a": {"test": measured(np.arange(10), np.array([None, *np.arange(9.0)], dtype=object))},
        "other": {"test": measured(np.arange(10), np.array([*np.arange(9.0), None], dtype=object))},
    }

    found = compared(kept, {"a": 1.0})

    assert found is not None
    assert found.rows == 8


def test_jobs_without_shared_rows_are_not_compared() -> None:
    kept = {
        "a": {"validation": measured(np.arange(10), np.zeros(10))},
        "other": {"validation": measured(np.arange(10, 20), np.zeros(10))},
    }

    assert compared(kept, {"a": 1.0}) is None


@sampled(25, 100)
@given(st.lists(st.tuples(st.floats(-100, 100), st.booleans()), min_size=2, max_size=30))
def test_equal_networks_gain_nothing(rows: list[tuple[float, bool]]) -> None:
    kept = [{"row": i, "truth": truth, "prediction": value} for i, (value, truth) in enumerate(rows)]

    found = compared({"a": {"test": kept}, "other": {"test": kept}}, {"a": 2.0})

    assert found is not None
    assert (found.difference.value, found.difference.low, found.difference.high) == (0.0, 0.0, 0.0)
