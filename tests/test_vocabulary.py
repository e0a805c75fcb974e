"""Private words and riddles must not come back: the field's standard term is what a reader searches for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.test_house_rules import tracked_files
from tools.reference import SECTION

SCOPE = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs",
    "service",
    "bestepoch",
    "tests",
    "benchmarks",
    "examples",
    "tools",
    "migrations",
    "deploy",
    "Dockerfile",
    "docker-compose.yml",
    "Makefile",
    "pyproject.toml",
)
"""Files and folders that are checked."""
SUFFIXES = {".md", ".py", ".js", ".html", ".toml", ".yml", ".yaml", ".service", ".env", ".sbatch", ""}
EXEMPT = {"tests/test_vocabulary.py"}

WORDS = {
    "shelf": "prepared_cache",
    "vitals": "watchdog",
    "tally": "claim_stats",
    "Seat": "TrainerHandle",
    "_hire": "start",
    "_bury": "replace",
    "Heard": "FlushResult",
    "insist": "retry",
    "Workplace": "TrainerConfig",
    "Pulse": "Heartbeat",
    "news": "job_feed",
    "NewsRoom": "JobFeed",
    "Parts": "AppState",
    "_Door": "ApiKeyAuth",
    "deps": "dependencies",
    "checkup": "integrity",
    "pace": "backoff",
    "figures": "statistics or metrics",
    "_LET_GO": "RELEASED",
    "giveaways": "leakage",
    "caveats": "data_warnings",
    "remarks": "warnings",
    "Falling": "ReduceOnPlateau",
    "mend": "fix",
    "mended": "fixed",
    "mends": "fixes",
}
"""Whole words, as they are written -> the standard term."""

PHRASES = {
    "the rooms": "packages",
    "3 a.m.": "troubleshooting",
    "models to take home": "export",
    "what is promised": "guarantees",
    "sign of life": "heartbeat",
    "judges nobody": "must not reap others' leases",
    "gives the target away": "target leakage",
    "give the target away": "target leakage",
    "to the same bits": "bit-identical",
    "goes on after epoch": "resumed after epoch",
    "given back": "requeued",
    "gives its jobs back": "requeues its jobs",
    "made-up rows": "synthetic data",
    "learnt from": "features, or trained on",
    "nothing to learn": "no parameters",
    "does not go by the name": "host not allowed",
    "is not a known field": "unknown field",
    "stands in": "occurs in",
    "better by more than": "min delta",
    "what decides": "monitored metric",
    "epochs at most": "max epochs",
    "another like it": "duplicate",
    "taken so far": "jobs claimed",
    "all that fit": "all matching",
    "a key of it": "API key",
}
"""Phrases in any case -> the standard term."""

SHOWN = re.compile(r"^```text.*?^```$", re.DOTALL | re.MULTILINE)
_WORD = "|".join(map(re.escape, WORDS))
_PHRASE = "|".join(r"\s+".join(map(re.escape, each.split())) for each in PHRASES)
PATTERN = re.compile(rf"(?<![\w-])(?:(?P<word>{_WORD})|(?P<phrase>(?i:{_PHRASE})))(?![\w-])")


def checked() -> list[Path]:
    names = {path: path.relative_to(ROOT).as_posix() for path in tracked_files() if path.suffix in SUFFIXES}
    return [path for path, name in names.items() if name not in EXEMPT and name.startswith(SCOPE)]


def found(text: str) -> Iterator[str]:
    """Each word that must not come back, with its line and the standard term."""
    for match in PATTERN.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        word = match["word"] or " ".join(match["phrase"].lower().split())
        yield f"line {line}: {word!r}, say {WORDS.get(word) or PHRASES[word]!r}"


def own_words(text: str) -> str:
    """A document without what the code says in it: generated sections and shown outputs."""
    return SHOWN.sub("", SECTION.sub("", text))


def test_files_use_standard_terms() -> None:
    texts = {path.relative_to(ROOT).as_posix(): own_words(path.read_text(encoding="utf-8")) for path in checked()}

    assert not [f"{name}: {each}" for name, text in texts.items() for each in found(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the shelf of arrays", ["shelf"]),
        ("tests/worker/test_shelf.py", []),
        ("class NewsRoom:", ["NewsRoom"]),
        ("seats, parts and Partside", []),
        ("Given\nback to the queue", ["given back"]),
        ("Goes on after epoch 3, to the same bits", ["goes on after epoch", "to the same bits"]),
    ],
)
def test_whole_words_and_phrases_are_found(text: str, words: list[str]) -> None:
    assert [re.findall(r"'([^']+)'", each)[0] for each in found(text)] == words
