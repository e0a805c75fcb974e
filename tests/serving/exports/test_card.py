"""The model card: user text is escaped everywhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from service.data.preprocess.features import FittedFeature
from service.data.preprocess.preprocessing import FittedTarget
from service.serving.exports.card import card
from service.serving.exports.markdown import code
from service.spec.job import JobSpec
from service.spec.layers import InputLayout
from service.spec.lowering import lower
from service.spec.resolved import SpecWarning
from service.spec.table import ColumnType, Dataset
from service.training.checkpoint import LoadedCheckpoint
from tests.serving.exports.networks import mixed
from tests.serving.exports.test_bundle import job_of

MARKUP = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SPECIAL = "`\\*_~{}[]()<>#|!&;:/.@+-=\"'$^ \n\r\t\x00\x1b\u2028\u202eab1é"
NAMES = st.text(SPECIAL, min_size=1, max_size=12) | st.sampled_from(
    ["<script>alert(1)</script>", "[x](javascript:y)", "![x](http://y)", "``` ", "`|`", "\\|", "\\`<b>`", "a\n\n# b"]
)


class Names(NamedTuple):
    """Where people's own words get into a card."""

    job: str
    data: str
    target: str
    column: str
    category: str
    split: str
    warning: str


@pytest.fixture(scope="module")
def network() -> LoadedCheckpoint:
    return mixed(FittedTarget(column="y", mean=0.0, scale=1.0))


def tokens(text: str) -> list[Token]:
    """What a reader makes of Markdown, without what contains others."""
    return [inner for token in MARKUP.parse(text) for inner in [token, *(token.children or [])]]


def written(network: LoadedCheckpoint, names: Names, splitting: str) -> str:
    feature = FittedFeature(
        column=names.column, type=ColumnType.text, categories=[names.category, "other"], indicator=False
    )
    preprocessing = network.preprocessing.model_copy(
        update={"features": [feature], "target": FittedTarget(column=names.target, mean=0.0, scale=1.0)}
    )
    spec = network.spec.model_copy(update={"split": network.spec.split.model_copy(update={splitting: names.split})})
    known: dict[str, Any] = {"rows": 10, "sha256": "0" * 64, "columns": [], "name": names.data}
    dataset = Dataset.model_construct(**known)
    warning = SpecWarning.model_construct(code="ids", message=names.warning, pointer="/data")
    changed = network._replace(preprocessing=preprocessing, spec=spec)
    job = job_of(network).model_copy(update={"name": names.job, "spec": spec, "warnings": [warning]})
    return card(job, changed, dataset)


@settings(max_examples=60)
@given(
    names=st.builds(Names, *[NAMES] * len(Names._fields)), splitting=st.sampled_from(["group", "column", "order_by"])
)
@example(names=Names(*["<img src=x onerror=alert(1)>"] * 7), splitting="group")
@example(names=Names(*["` <img src=x> `"] * 7), splitting="column")
def test_user_text_is_never_markup(network: LoadedCheckpoint, names: Names, splitting: str) -> None:
    plain = tokens(written(network, Names(*Names._fields), splitting))

    found = tokens(written(network, names, splitting))

    assert [(token.type, token.tag) for token in found] == [(token.type, token.tag) for token in plain]
    assert not {token.type for token in found} & {"html_inline", "html_block", "link_open"}
    shown = {token.content for token in found if token.type == "code_inline"}
    assert {"".join(each if each.isprintable() else " " for each in name) for name in names} <= shown


def test_it_says_how_the_network_was_trained_and_names_its_layers(network: LoadedCheckpoint) -> None:
    layers = [
        {"kind": "linear", "out_features": 8, "name": "wide"},
        {"kind": "linear", "out_features": 8, "name": "gate", "inputs": ["numbers"]},
        {"kind": "add", "inputs": ["wide", "gate"]},
    ]
    fields = {
        "architecture": {"kind": "layers", "layers": layers},
        "optimizer": {"max_grad_norm": 0.5},
        "schedule": {"kind": "cosine", "warmup_steps": 7},
        "averaging": {"kind": "ema", "decay": 0.75},
        "loss": {"kind": "huber", "delta": 1.5},
    }
    spec = JobSpec.model_validate({**network.spec.model_dump(mode="json"), **fields})
    graph = lower(spec.architecture, InputLayout(4), 1)

    text = card(job_of(network).model_copy(update={"spec": spec}), network._replace(graph=graph, spec=spec), None)

    for said in ("kind `huber`, delta 1.5", "norm of at most 0.5", "kind `ema`, decay 0.75", "warmup_steps 7"):
        assert said in text
    assert "| `wide` | linear |" in text
    assert "| `wide, gate` |" in text


@given(text=st.text(SPECIAL, max_size=20))
def test_text_in_a_code_span_round_trips(text: str) -> None:
    (paragraph,) = [token for token in MARKUP.parse(f"x {code(text)} x") if token.type == "inline"]

    kinds = [(child.type, child.content) for child in paragraph.children or []]

    readable = "".join(each if each.isprintable() else " " for each in text)
    assert kinds == [("text", "x "), ("code_inline", readable or " "), ("text", " x")]
