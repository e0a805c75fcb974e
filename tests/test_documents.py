"""Documents: links resolve, commands and paths exist, lines are short, and what is not run says why."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer

from service.cli import app
from service.settings import Settings
from tests.documents import (
    DECISIONS,
    DOCS,
    NOT_RUN,
    ROOT,
    RUN,
    SAVED,
    SHOWN,
    blocks,
    documents,
    name_of,
    pattern_of,
    prose,
)
from tests.test_house_rules import tracked_files

LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ +(?P<words>.+)$", re.MULTILINE)
KINDS = RUN | SAVED | SHOWN | NOT_RUN
MAX_LINE = 110


def pages() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".md"]


def anchors(page: Path) -> set[str]:
    """As GitHub derives them from headings: lower case, no punctuation, dashes for spaces."""
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


def test_every_relative_link_resolves() -> None:
    assert len(pages()) > 30
    assert not [broken for page in pages() for broken in broken_links(page)]


def test_a_broken_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_documents.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# 2 a.m., once\n[a](#2-am-once) [b](#noon) [c](page.md) [d](gone.md) `[e](code.md)` [f](https://x.y)\n"
    )

    assert list(broken_links(page)) == ["page.md: #noon", "page.md: gone.md"]


COMMANDS = {*typer.main.get_group(app).commands}
TARGETS = {*re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)}

every_document = pytest.mark.parametrize("path", documents(), ids=name_of)


@every_document
def test_what_is_not_run_says_why(path: Path) -> None:
    found = blocks(path)

    assert path.read_text(encoding="utf-8").count("```") == 2 * len(found)
    for block in found:
        where = f"{path.name}:{block.line}"
        assert block.kind in KINDS, f"{where} is of no known kind"
        assert (block.kind == "console") == (block.why_not_run is not None), f"{where} and why it is not run"


@every_document
def test_every_name_in_a_document_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:[a-z0-9_-]+/)+[a-z0-9_]+\.(?:py|js))`", text)) - {b.label for b in blocks(path)}
    assert not [name for name in files if not any((ROOT / folder / name).exists() for folder in ("", "service"))]
    settings = set(re.findall(r"\bBESTEPOCH_([A-Z_]+)", text)) - {"URL"}  # which is the commands' own
    assert settings <= {name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"(?:`|^|exec api )bestepoch ([a-z]+)", text, re.MULTILINE)) <= COMMANDS
    assert set(re.findall(r"`make ([a-z0-9-]+)", text)) <= TARGETS


@every_document
def test_lines_of_prose_are_short(path: Path) -> None:
    assert not {number: line for number, line in prose(path) if len(line) > MAX_LINE}


@pytest.mark.parametrize(
    ("index", "listed"),
    [
        (DOCS / "README.md", [path for path in documents() if DOCS in path.parents and DECISIONS not in path.parents]),
        (DECISIONS / "README.md", sorted(DECISIONS.glob("*.md"))),
    ],
    ids=["documentation", "decisions"],
)
def test_an_index_has_a_line_for_each_document(index: Path, listed: list[Path]) -> None:
    expected = {str(path.relative_to(index.parent)) for path in listed} - {"README.md"}
    links = re.findall(r"^- \[[^]]+\]\(([^)]+)\)", index.read_text(encoding="utf-8"), re.MULTILINE)

    assert len(links) == len(set(links))
    assert {link for link in links if not link.startswith("../") and link != "decisions/README.md"} == expected


def test_the_architecture_names_every_folder_of_the_package() -> None:
    text = (DOCS / "explanation/architecture.md").read_text(encoding="utf-8")
    written = set(re.findall(r"^\| `((?:[a-z_]+/)+|[a-z_]+\.py)` \| .+ \|$", text, re.MULTILINE))
    code = [path.relative_to(ROOT / "service") for path in tracked_files() if ROOT / "service" in path.parents]

    folders = {f"{parent}/" for path in code for parent in path.parents if parent != Path()}
    modules = {path.name for path in code if path.parent == Path() and path.suffix == ".py"}
    assert written == folders | modules - {"__init__.py"}


def test_every_question_of_a_newcomer_has_a_file() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Where is it?")[1].split("\n## ")[0]
    answers = re.findall(r"^\| (.+\?) \| `(.+)` \|$", section, re.MULTILINE)

    assert len(answers) == 20
    assert not [answer for _, answer in answers if not (ROOT / "service" / answer).is_file()]


def test_every_term_of_the_glossary_has_a_file() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \| `(.+)` \|$", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE)

    assert len(rows) > 50
    assert [term for term, _, _ in rows] == sorted((term for term, _, _ in rows), key=str.lower)
    assert not [name for _, _, name in rows if not any((ROOT / folder / name).is_file() for folder in ("", "service"))]


def test_the_installation_guide_lists_every_extra_for_users() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \|$", (DOCS / "how-to/install.md").read_text("utf-8"), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert set(rows) == set(project["optional-dependencies"]) - {"dev", "browser", "cluster"}


def test_the_index_of_decisions_has_their_titles() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    titles = dict(re.findall(r"^- \[([^]]+)\]\(([^)]+)\)", index, re.MULTILINE))

    headings = {path.read_text(encoding="utf-8").partition("\n")[0]: path.name for path in DECISIONS.glob("0*.md")}
    assert {f"# {' '.join(title.split())}": name for title, name in titles.items()} == headings


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
