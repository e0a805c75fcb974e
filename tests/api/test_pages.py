"""The dashboard as files: open to all, strict about scripts, and a client like any other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.api.dashboard import FOLDER

SCRIPTS = sorted(FOLDER.glob("*.js"))
HOLE = re.compile(r"\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")


def test_the_page_and_its_files_are_served_and_may_run_no_script_but_its_own(client: TestClient) -> None:
    page = client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page.text)
    for file in re.findall(r'(?:src|href)="(web/[^"]+)"', page.text):
        assert client.get(f"/{file}").status_code == 200
    assert client.head("/").status_code == 200


def test_the_documentation_may_run_the_script_in_its_page(client: TestClient) -> None:
    assert "script-src 'self' 'unsafe-inline'" in client.get("/docs").headers["content-security-policy"]


def test_a_file_that_is_known_is_not_sent_again_and_a_new_one_at_once(client: TestClient) -> None:
    first = client.get("/web/app.js")

    assert first.headers["cache-control"] == "private, no-cache"
    assert client.get("/web/app.js", headers={"If-None-Match": first.headers["etag"]}).status_code == 304


@pytest.mark.parametrize("path", ["/web/", "/web/none.js", "/web/%2e%2e/settings.py", "/web/..%2fsettings.py", "/jobs"])
def test_anything_else_is_an_ordinary_404(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_it_calls_nothing_but_documented_operations(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    documented = {re.sub(r"\{\w+\}", "*", path) for path in paths}
    # A hole in a literal stands for an id, or for the last word of an action.
    patterns = [re.compile(re.escape(path).replace(r"\*", "[^/]+") + "$") for path in documented]
    called = set()
    for script in SCRIPTS:
        for literal in re.findall(r"[\"`](/(?:v1|readyz)[^\"`]*)[\"`]", script.read_text()):
            plain = HOLE.sub("*", literal.replace("${what}", "cancel")).partition("?")[0]
            called.add(plain)
            assert any(pattern.match(plain) for pattern in patterns), f"{script.name} calls {plain}"

    assert len(called) >= 15


def test_it_asks_no_other_host_and_never_reads_text_as_markup() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "").replace("http://any/", "")
        assert not re.search(r"\w://|[\"'`(]//", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


def test_every_script_says_what_it_is_for() -> None:
    assert all(re.match(r"// [A-Z].*\.\n", script.read_text()) for script in SCRIPTS)


def test_every_module_that_is_imported_is_there() -> None:
    for script in SCRIPTS:
        for name in re.findall(r'from "\./([\w.]+)"', script.read_text()):
            assert (Path(script.parent) / name).exists()
