"""The reference documents match the code: they are generated from it by `python -m tools.reference`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from service.spec.architecture import Architecture
from service.spec.layers import InputLayout
from service.spec.lowering import lower
from tests.documents import DOCS, name_of
from tools.reference import SECTION, SECTIONS, pages, rendered

REFERENCE = DOCS / "reference"


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_generated_section_is_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert rendered(text) == text, "run `python -m tools.reference`"


def test_every_section_is_on_one_page() -> None:
    used = [found["name"] for page in pages() for found in SECTION.finditer(page.read_text(encoding="utf-8"))]

    assert sorted(used) == sorted(SECTIONS)


def test_an_outdated_section_is_rewritten() -> None:
    text = "before\n<!-- generated: states -->\nold\n<!-- end -->\nafter\n"

    found = rendered(text)

    assert "old" not in found
    assert "`queued`, `running`" in found
    assert (found[:7], found[-6:]) == ("before\n", "after\n")


def test_every_network_of_the_reference_can_be_requested() -> None:
    page = (REFERENCE / "networks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    decoder, rest, kinds = json.JSONDecoder(), "".join(blocks).strip(), []

    while rest:
        body, end = decoder.raw_decode(rest)
        network = TypeAdapter(Architecture).validate_python(body)
        kinds.append(network.kind)
        assert lower(network, InputLayout(64), 10).outputs == 10
        rest = rest[end:].strip()

    assert kinds == ["mlp", "resnet", "tabm", "ft_transformer", "cnn", "layers", "layers", "mlp"]
