"""Documents taken apart: what is run, in which order, and what comes out. CONTRIBUTING.md says how they are written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs/tutorials"
HERE = "http://127.0.0.1:8000"  # where documents say that the service is
FENCE = re.compile(r"^```(?P<kind>\w+)(?: (?P<label>[^\n]+))?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
RUN_SECONDS = 120

RUN = {"sh", "python"}
SAVED = {"python", "toml", "json"}  # where a file name stands behind the language
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
    label: str  # what stands behind the language: a file's name, or `exact`
    text: str
    line: int
    why_not_run: str | None


def documents() -> list[Path]:
    """All that tell a reader to do something, but for the README and its neighbours, which have tests of their own."""
    return [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(TUTORIALS.glob("*.md"))]


def to_run() -> list[Path]:
    """Those documents with something to run."""
    return [path for path in documents() if any(True for _ in steps(path))]


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document in their order."""
    text = path.read_text(encoding="utf-8")
    return [_block(text, found) for found in FENCE.finditer(text)]


def _block(text: str, found: re.Match[str]) -> Block:
    why = _WHY_NOT.search(text[: found.start()])
    line = text.count("\n", 0, found.start()) + 1
    return Block(found["kind"], found["label"] or "", found["text"], line, why and why["reason"])


def pattern_of(shown: str) -> re.Pattern[str]:
    """What an output that looks like `shown` matches as a whole.

    `...` stands for anything, an id for any of its kind, a number for any that is whole where it is whole; what is
    around them is meant to the letter, but for the width of space.
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
    """Each block that is run or saved, with the output that is shown of it, if any."""
    found = blocks(path)
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.kind in RUN or (block.kind in SAVED and block.label):
            shown = following is not None and following.kind in SHOWN
            yield block, following if shown else None


def run(path: Path, folder: Path, environment: Mapping[str, str], said: Mapping[str, str]) -> None:
    """Run a document's blocks in `folder`, in one shell, in their order; AssertionError says which went wrong.

    `said`: what stands in the document -> what it stands for here.
    """
    (folder / "examples").symlink_to(ROOT / "examples")
    outputs = folder / "outputs"
    outputs.mkdir()
    script = folder / "script.sh"
    script.write_text("set -euo pipefail\n" + "".join(_lines(path, folder, outputs, said)), encoding="utf-8")
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environment}
    with subprocess.Popen(["bash", script], cwd=folder, env=variables, start_new_session=True) as shell:
        try:
            code = shell.wait(RUN_SECONDS)
        finally:
            _end(shell)
    _compare(path, outputs, code)


def _lines(path: Path, folder: Path, outputs: Path, said: Mapping[str, str]) -> Iterator[str]:
    for block, _ in steps(path):
        text = block.text
        for there, here in said.items():
            text = text.replace(there, here)
        if block.kind in SAVED and block.label:
            (folder / block.label).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.label).write_text(text, encoding="utf-8")
        elif block.kind == "python":
            (folder / f"{block.line}.py").write_text(text, encoding="utf-8")
            yield f"python3 {block.line}.py >{outputs}/{block.line} 2>&1\n"
        else:
            yield f"{{\n{text}}} >{outputs}/{block.line} 2>&1\n"


def _end(shell: subprocess.Popen[bytes]) -> None:
    """With all that it has left running in the background."""
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
