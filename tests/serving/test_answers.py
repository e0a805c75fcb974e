"""Answers as JSON where a network's output is not a number."""

from __future__ import annotations

import json

import numpy as np

from service.serving.answers import Predicted, _interval


def test_probabilities_that_are_not_numbers_are_null() -> None:
    shares = np.array([[0.25, 0.75], [np.nan, np.nan]])
    sets = np.array([[False, True], [True, True]])

    answers = Predicted(["no", "yes"], np.array([1, 0]), shares, sets, None).to_json()

    assert json.loads(json.dumps(answers, allow_nan=False)) == [
        {"prediction": "yes", "probabilities": {"no": 0.25, "yes": 0.75}, "set": ["yes"]},
        {"prediction": "no", "probabilities": {"no": None, "yes": None}, "set": ["no", "yes"]},
    ]


def test_ends_beyond_float64_are_null() -> None:
    values = np.array([1.0, np.inf, 1.7e308])

    answers = Predicted(None, values, None, None, _interval(values, 1.7e308)).to_json()

    assert [answer["upper"] for answer in answers[1:]] == [None, None]
    assert answers[0]["upper"] is not None
