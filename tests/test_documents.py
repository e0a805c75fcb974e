"""Links lead somewhere, and whatever a document tells readers to run is run by a test or says why it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from service.cli import app
from service.settings import Settings
from tests.documents import NOT_RUN, ROOT, RUN, SAVED, SHOWN, blocks, documents, pattern_of
from tests.test_house_rules import tracked_files

LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ +(?P<words>.+)$", re.MULTILINE)
KINDS = RUN | SAVED | SHOWN | NOT_RUN


def pages() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".md"]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: small letters, no punctuation, a dash a space."""
    headings = HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", prose)):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = page.parent / unquote(name) if name else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            yield f"{page.relative_to(ROOT)}: {target}"


def test_every_relative_link_leads_somewhere() -> None:
    assert len(pages()) > 30
    assert not [broken for page in pages() for broken in broken_links(page)]


def test_a_link_to_nowhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_documents.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# 3 a.m., once\n[a](#3-am-once) [b](#noon) [c](page.md) [d](gone.md) `[e](code.md)` [f](https://x.y)\n"
    )

    assert list(broken_links(page)) == ["page.md: #noon", "page.md: gone.md"]


every_document = pytest.mark.parametrize("path", documents(), ids=lambda path: path.stem)


@every_document
def test_what_is_not_run_says_why(path: Path) -> None:
    found = blocks(path)

    assert path.read_text(encoding="utf-8").count("```") == 2 * len(found)
    for block in found:
        where = f"{path.name}:{block.line}"
        assert block.kind in KINDS, f"{where} is of no known kind"
        assert (block.kind == "console") == (block.why_not_run is not None), f"{where} and why it is not run"


@every_document
def test_what_a_document_names_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    commands: Any = typer.main.get_command(app)

    files = set(re.findall(r"`((?:[a-z0-9_-]+/)+[a-z0-9_]+\.(?:py|js))`", text)) - {b.label for b in blocks(path)}
    assert not [name for name in files if not any((ROOT / folder / name).exists() for folder in ("", "service"))]
    settings = set(re.findall(r"\bBESTEPOCH_(\w+)", text)) - {"URL"}  # which is the commands' own
    assert settings <= {name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"(?:`|^|exec api )bestepoch ([a-z]+)", text, re.MULTILINE)) <= {*commands.commands}
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make (\w+)", text)) <= {*targets}


@every_document
def test_every_document_is_linked_from_the_readme(path: Path) -> None:
    assert f"]({path.relative_to(ROOT)})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("shown", "output", "fits"),
    [
        ("best 0.47 at epoch 8", "best 0.512 at epoch 12", True),
        ("best 0.47 at epoch 8", "best 1.5e-07 at epoch 12", True),
        ("best 0.47 at epoch 8", "best 0.512 at epoch 1.5", False),
        ("best 0.47 at epoch 8", "best 0.512 after epoch 8", False),
        ("job_18ec... ended", "job_18ec0c3ee224 ended", True),
        ("job_18ec... ended", "swp_18ec0c3ee224 ended", False),
        ("a\n...\nz", "a\nb\nc\nz", True),
        ("a   b", "a b", True),
        ("ends", "ends not", False),
    ],
)
def test_an_output_fits_what_is_shown_in_shape(shown: str, output: str, fits: bool) -> None:
    assert bool(pattern_of(shown).fullmatch(output)) == fits
