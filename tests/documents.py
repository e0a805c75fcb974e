"""Parse and run documents: which blocks run, in which order, and what they print. See CONTRIBUTING.md."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIALS = DOCS / "tutorials"
DECISIONS = DOCS / "decisions"
HERE = "http://127.0.0.1:8000"  # the service's address in documents
FENCE = re.compile(r"^```(?P<kind>\w+)(?: (?P<label>[^\n]+))?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
RUN_SECONDS = 300

RUN = {"sh", "python"}
SAVED = {"python", "toml", "json"}  # if a file name follows the language
SHOWN = {"text"}
NOT_RUN = {"console", "mermaid"}
_WHY_NOT = re.compile(r"<!-- not run: (?P<reason>[^\n]+) -->\n\Z")

_TOKENS = re.compile(
    r"(?P<gap>\.\.\.)"
    r"|(?P<id>\b(?:job|ds|swp|wrk|key|req)_[0-9a-f]+)"
    r"|(?P<number>\d[\d,]*\d|\d)(?P<fraction>\.\d+)?(?:e[+-]?\d+)?"
    r"|(?P<space>\s+)"
    r"|(?P<other>[^\W\d]+|.)"
)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    kind: str
    label: str  # what follows the language: a file name, or `exact`
    text: str
    line: int
    why_not_run: str | None


def documents() -> list[Path]:
    """Every document of this repository, except measurements."""
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def name_of(path: Path) -> str:
    """A document's path from the root, as a test's id."""
    return str(path.relative_to(ROOT))


def to_run() -> list[Path]:
    """The documents with something to run."""
    return [path for path in documents() if any(True for _ in steps(path))]


def prose(path: Path) -> list[tuple[int, str]]:
    """(line number, line) outside fenced blocks and tables."""
    found, fenced = [], False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fenced ^= line.startswith("```")
        if not fenced and not line.startswith(("```", "|")):
            found.append((number, line))
    return found


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = path.read_text(encoding="utf-8")
    return [_block(text, found) for found in FENCE.finditer(text)]


def _block(text: str, found: re.Match[str]) -> Block:
    why = _WHY_NOT.search(text[: found.start()])
    line = text.count("\n", 0, found.start()) + 1
    return Block(found["kind"], found["label"] or "", found["text"], line, why and why["reason"])


def pattern_of(shown: str) -> re.Pattern[str]:
    """A pattern for outputs that look like `shown`.

    `...` matches anything, an id any id of its kind, a whole number any whole number, another number any number; the
    rest must be equal, except for the width of white space.
    """
    parts = []
    for token in _TOKENS.finditer(shown.strip()):
        if token["gap"]:
            parts.append(".*?")
        elif token["id"]:
            parts.append(token["id"].partition("_")[0] + "_[0-9a-f]+")
        elif token["number"]:
            parts.append(r"\d[\d,]*" + (r"(?:\.\d+)?(?:e[+-]?\d+)?" if token["fraction"] else ""))
        else:
            parts.append(r"\s+" if token["space"] else re.escape(token["other"]))
    return re.compile("".join(parts), re.DOTALL)


def steps(path: Path) -> Iterator[tuple[Block, Block | None]]:
    """Each block that is run or saved, with the output that the document shows for it, if any."""
    found = blocks(path)
    for block, following in zip_longest(found, found[1:]):
        if block.kind in RUN or (block.kind in SAVED and block.label):
            shown = following is not None and following.kind in SHOWN
            yield block, following if shown else None


def run(path: Path, folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str]) -> None:
    """Run a document's blocks in order, in one shell, in `folder`; AssertionError names the block that failed.

    `replaced`: text of the document -> its replacement in this run.
    """
    (folder / "examples").symlink_to(ROOT / "examples")
    outputs = folder / "outputs"
    outputs.mkdir()
    script = folder / "script.sh"
    script.write_text("set -euo pipefail\n" + "".join(_lines(path, folder, outputs, replaced)), encoding="utf-8")
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environment}
    with subprocess.Popen(["bash", script], cwd=folder, env=variables, start_new_session=True) as shell:
        try:
            code = shell.wait(RUN_SECONDS)
        finally:
            _end(shell)
    _compare(path, outputs, code)


def _lines(path: Path, folder: Path, outputs: Path, replaced: Mapping[str, str]) -> Iterator[str]:
    for block, _ in steps(path):
        text = block.text
        for before, after in replaced.items():
            text = text.replace(before, after)
        if block.kind in SAVED and block.label:
            (folder / block.label).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.label).write_text(text, encoding="utf-8")
        elif block.kind == "python":
            (folder / f"{block.line}.py").write_text(text, encoding="utf-8")
            yield f"python3 {block.line}.py >{outputs}/{block.line} 2>&1\n"
        else:
            yield f"{{\n{text}}} >{outputs}/{block.line} 2>&1\n"


def _end(shell: subprocess.Popen[bytes]) -> None:
    """Kill the shell and its background processes."""
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)


def _compare(path: Path, outputs: Path, code: int) -> None:
    written = [(block, shown, outputs / str(block.line)) for block, shown in steps(path)]
    ran = [(block, shown, file.read_text()) for block, shown, file in written if file.exists()]
    assert code == 0, f"{path.name}:{ran[-1][0].line} ended with {code}:\n{ran[-1][2][-3_000:]}"
    for block, shown, output in ran:
        where = f"{path.name}:{block.line}"
        if shown is not None and shown.label == "exact":
            assert output == shown.text, where
        elif shown is not None:
            assert pattern_of(shown.text).fullmatch(output.strip()), f"{where} shows\n{shown.text}\nand gives\n{output}"
        if shown is None or "request_id" not in shown.text:
            assert '"request_id"' not in output, f"{where} was refused: {output}"  # curl alone ends with 0
