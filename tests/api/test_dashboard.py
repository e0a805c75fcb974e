"""The dashboard's static files: public, with a strict CSP, and calling only the documented API."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from service.api.dashboard import FOLDER

FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
PLACEHOLDER = re.compile(r"\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")


def test_the_page_and_its_files_are_served_with_a_csp_that_allows_only_their_own_scripts(client: TestClient) -> None:
    page = client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page.text)
    for file in re.findall(r'(?:src|href)="(web/[^"]+)"', page.text):
        assert client.get(f"/{file}").status_code == 200
    for script in SCRIPTS:
        answer = client.get(f"/web/{script.relative_to(FOLDER).as_posix()}")
        assert answer.headers["content-type"].startswith("text/javascript")
    assert client.head("/").status_code == 200


def test_the_api_documentation_may_run_its_inline_script(client: TestClient) -> None:
    assert "script-src 'self' 'unsafe-inline'" in client.get("/docs").headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/web/app.js", "/web/lib/dom.js"])
def test_files_are_revalidated_by_their_etag(client: TestClient, path: str) -> None:
    first = client.get(path)

    assert first.headers["cache-control"] == "private, no-cache"
    assert client.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        *("/web/", "/web/pages", "/web/pages/", "/web/none.js", "/web/pages/none.js"),
        *(
            "/web/%2e%2e/settings.py",
            "/web/..%2fsettings.py",
            "/web/lib/../../settings.py",
            "/web/lib/..%2f..%2fsettings.py",
        ),
        "/jobs",
    ],
)
def test_unknown_paths_folders_and_traversal_are_a_plain_404(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_scripts_call_only_documented_operations(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    documented = {re.sub(r"\{\w+\}", "*", path) for path in paths}
    # A placeholder in a template literal stands for an id, or for the action at the end of a path.
    patterns = [re.compile(re.escape(path).replace(r"\*", "[^/]+") + "$") for path in documented]
    called = set()
    for script in SCRIPTS:
        for literal in re.findall(r"[\"`](/(?:v1|readyz)[^\"`]*)[\"`]", script.read_text()):
            plain = PLACEHOLDER.sub("*", literal.replace("${action}", "cancel")).partition("?")[0]
            called.add(plain)
            assert any(pattern.match(plain) for pattern in patterns), f"{script.name} calls {plain}"

    assert len(called) >= 15


def test_files_contact_no_other_host_and_never_parse_text_as_html() -> None:
    for path in FILES:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "").replace("http://any/", "")
        assert not re.search(r"\w://|[\"'`(]//", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


def test_every_script_begins_with_a_one_line_summary() -> None:
    assert all(re.match(r"// [A-Z].*\.\n", script.read_text()) for script in SCRIPTS)


def test_every_import_resolves_to_a_file() -> None:
    imports = [(script, name) for script in SCRIPTS for name in re.findall(r'from "([^"]+)"', script.read_text())]

    assert len(imports) > 50
    assert not [(script.name, name) for script, name in imports if not (script.parent / name).is_file()]


def test_imports_go_from_pages_to_components_to_lib() -> None:
    layers = ["lib", "components", "pages"]
    for script in SCRIPTS:
        for name in re.findall(r'from "([^"]+)"', script.read_text()):
            imported, importing = (path.parent.name for path in ((script.parent / name).resolve(), script))
            if importing in layers:
                assert layers.index(imported) <= layers.index(importing), f"{script.name} imports {name}"
