"""The model card of a version: what it says, and that names from data are never markup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.data.preprocess.features import FittedFeature
from service.domain.access import Actor
from service.domain.model import ModelVersion
from service.serving.exports.version_card import version_card
from service.spec.table import ColumnType
from tests.serving.exports.networks import TARGETS, mixed
from tests.serving.exports.test_card import NAMES, tokens

MEMBER: dict[str, Any] = {"epoch": 7, "sha256": "ab" * 32, "size_bytes": 10, "metrics": {}, "test_metrics": None}


class Names(NamedTuple):
    """Where people's own words get into a card."""

    description: str = "the first"
    target: str = "y"
    column: str = "x"
    category: str = "blue"
    data: str = "birds"
    author: str = "ann"
    setting: str = "relu"


PLAIN = Names()


def version(names: Names = PLAIN, **fields: Any) -> ModelVersion:
    data = {"kind": "dataset", "id": "ds_1", "target": names.target}
    members = [
        {
            "job": f"job_{place}",
            "weight": weight,
            "dataset": {"id": "ds_1", "name": names.data, "sha256": "cd" * 32},
            "spec": {"data": data, "batch_size": 32, "seed": place, "architecture": {"activation": names.setting}},
            **MEMBER,
        }
        for place, weight in enumerate([0.75, 0.25])
    ]
    values: dict[str, Any] = {
        "model": "churn",
        "version": 3,
        "description": names.description,
        "aliases": ["champion"],
        "from": {"sweep": "swp_1", "select": "greedy"},
        "task": "classification",
        "target": names.target,
        "classes": ["a", "b"],
        "features": [names.column],
        "metrics": {
            "validation": {"rows": 1_000, "values": {"log_loss": 0.5, "accuracy": None}},
            "test": {"rows": 200, "values": {"log_loss": 0.625, "accuracy": 0.75}},
        },
        "calibration": {"temperature": 1.25, "rows": 1_000, "reason": "fitted"},
        "members": members,
        "member_count": len(members),
        "service_version": "9.9",
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "created_by": Actor(key="key_1", name=names.author),
    }
    return ModelVersion.model_validate({**values, **fields})


def columns(names: Names) -> list[FittedFeature]:
    known = [names.category, "other"]
    return [FittedFeature(column=names.column, type=ColumnType.text, categories=known, indicator=False)]


@pytest.mark.parametrize("temperature", [None, 1.25])
def test_it_says_what_the_version_is_made_of_and_how_good_it_is(temperature: float | None) -> None:
    text = version_card(version(), columns(PLAIN), temperature=temperature)

    assert text.startswith("# `churn`, version 3\n")
    for said in (
        "one of 2 classes, from 1 columns, as the weighted mean of the predictions of 2 jobs",
        "| rows | 1,000 | 200 |",
        "| log_loss | 0.5 | 0.625 |",
        "| accuracy |  | 0.75 |",
        '| made from | `{"sweep": "swp_1", "select": "greedy"}` |',
        "| made at | 2026-01-02 03:04:05 UTC |",
        '| made by | `{"key": "key_1", "name": "ann"}` |',
        "| service version | `9.9` |",
        f"| `job_0` | 0.75 | 7 | `{'ab' * 32}` |",
        f"| `dataset` | `birds` | `ds_1` | `{'cd' * 32}` |",
        "| batch size | `32` |",
        "divided by the temperature 1.25 (1,000 validation rows: `fitted`)",
        "| `x` | text | `blue`, `other` |",
    ):
        assert said in text
    assert text.count("`ds_1`") == 1  # of both members
    assert ("load()" in text, "POST /v1/models/churn:3/predict" in text) == (
        temperature is not None,
        temperature is None,
    )


def test_a_raw_bundle_says_that_its_probabilities_are_not_calibrated() -> None:
    text = version_card(version(), columns(PLAIN), temperature=1.0)

    assert "divided by the temperature 1.25 (1,000 validation rows: `fitted`). Those of this bundle are not" in text
    assert "Probabilities are the weighted mean of those of the members, not calibrated by a temperature." in text
    assert "last layer" not in text


def test_lineage_says_in_words_what_has_no_name() -> None:
    text = version_card(
        version(**{"from": {"members": [{"job": "job_0"}]}, "created_by": Actor(key=None, name=None)}), columns(PLAIN)
    )

    assert "| made from | the jobs under Members |" in text
    assert "| made by | without a named API key |" in text


def test_what_differs_between_members_is_listed_up_to_a_bound() -> None:
    several = version().members * 3
    changed = [
        each.model_copy(update={"spec": {**each.spec, "batch_size": 2**place}}) for place, each in enumerate(several)
    ]

    text = version_card(version(members=[each.model_dump() for each in changed]), columns(PLAIN))

    assert "| batch size | `1`; `2`; `4`; `3 more` |" in text


def test_without_kept_predictions_it_says_that_nothing_was_measured() -> None:
    text = version_card(
        version(metrics={"validation": None, "test": None}, calibration=None, description=None), columns(PLAIN)
    )

    assert "The jobs have kept no predictions to measure the average by." in text
    assert "probabilities are raw" in text


@settings(max_examples=60)
@given(names=st.builds(Names, *[NAMES] * len(Names._fields)))
@example(names=Names(*["<img src=x onerror=alert(1)>"] * 7))
@example(names=Names(*["` <img src=x> `"] * 7))
def test_user_text_is_never_markup(names: Names) -> None:
    plain = tokens(version_card(version(), columns(PLAIN), temperature=1.0))

    found = tokens(version_card(version(names), columns(names), temperature=1.0))

    assert [(token.type, token.tag) for token in found] == [(token.type, token.tag) for token in plain]
    assert not {token.type for token in found} & {"html_inline", "html_block", "link_open"}


def test_real_columns_are_described() -> None:
    features = mixed(TARGETS[0]).preprocessing.features

    text = version_card(version(), features, temperature=2.0)

    assert "| `city` | text | ` `, `Böblingen`, `Ulm` |" in text
    assert "divided by the temperature 2, which was fitted" in text
