"""A data set read from a connection: its provenance, and the button that reads it again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from examples.local_service import running_service
from tests.browser.conftest import Visitor, visits


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    folder = tmp_path / "lake"
    folder.mkdir()
    (folder / "a.csv").write_text("size,color\n1,red\n2,blue\n")
    return folder


@pytest.fixture
def dataset(tmp_path: Path, lake: Path, browser: Browser) -> Iterator[tuple[Visitor, str]]:
    """A visitor of a service, and the id of a data set that was read from its connection."""
    home = tmp_path / "home"
    with running_service(home) as client:
        environment = {**os.environ, "BESTEPOCH_HOME": str(home)}
        command = [sys.executable, "-m", "service.cli", "connections", "add", "lake", lake.as_uri()]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        body = {"connection": "lake", "path": "*.csv", "name": "shoes"}
        found = client.post("/v1/datasets", json=body).raise_for_status().json()
        for visitor in visits(browser, str(client.base_url).rstrip("/")):
            yield visitor, found["id"]


def test_a_data_set_shows_where_it_comes_from_and_is_refreshed(dataset: tuple[Visitor, str], lake: Path) -> None:
    visitor, dataset_id = dataset
    page = visitor.go(f"dataset/{dataset_id}")

    facts = page.locator("dl.facts").nth(1)
    expect(facts).to_contain_text("Connectionlake")
    expect(facts).to_contain_text("Path*.csv")
    page.get_by_text("1 file", exact=True).click()
    expect(page.get_by_role("listitem").filter(has_text="a.csv")).to_be_visible()

    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#toasts")).to_contain_text("Unchanged")

    (lake / "b.csv").write_text("size,color\n3,green\n")
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("dl.facts").first).to_contain_text("3 rows")
    expect(page.locator("dl.facts").nth(1)).to_contain_text(f"2, refreshed from {dataset_id}")

    visitor.go("datasets")
    expect(page.get_by_role("row").filter(has_text="shoes version 2")).to_be_visible()
