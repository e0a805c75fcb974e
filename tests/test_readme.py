"""The README: one page, the two commands first, and every `make` target that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path("README.md").read_text(encoding="utf-8")
MAX_LINES = 150


def test_the_readme_fits_on_one_page() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def test_the_two_commands_follow_the_first_paragraph() -> None:
    title, first, commands, *_ = README.split("\n\n")

    assert title == "# bestepoch"
    assert first.startswith("Training as a service")
    assert re.findall(r"^make (\w+)", commands, re.MULTILINE) == ["demo", "test"]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE))))
def test_every_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", Path("Makefile").read_text(), re.MULTILINE)
