"""Fixtures: a browser page that records console messages, page errors and requests to other hosts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from examples.local_service import running_service
from tests.processes import wait_for_end

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_MILLISECONDS = 20_000  # of an action and of an expectation; a loaded machine needs more than the default 5 s
PENGUINS = Path("examples/penguins.csv")


@dataclass
class Visitor:
    """A browser page on the dashboard. `faults`: console messages, page errors and requests to other hosts."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    def go(self, place: str) -> Page:
        """Open a page of the dashboard, such as `jobs`."""
        self.page.goto(f"{self.url}/#/{place}")
        self.page.wait_for_selector("h1")
        return self.page

    def listen(self) -> None:
        """Record faults."""
        self.page.on("console", lambda message: self.faults.append(message.text) if message.type != "log" else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self._check_host(request.url))

    def _check_host(self, url: str) -> None:
        if not url.startswith((self.url, "blob:", "data:")):
            self.faults.append(f"a request to {url}")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with running_service(tmp_path_factory.mktemp("service"), BESTEPOCH_UPLOAD_PART_BYTES="1000000") as client:
        yield client


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: Debian's package `chromium`, or CHROMIUM=path")
    expect.set_options(timeout=TIMEOUT_MILLISECONDS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def visitor(browser: Browser, service: httpx2.Client) -> Iterator[Visitor]:
    yield from visits(browser, str(service.base_url).rstrip("/"))


def visits(browser: Browser, url: str, **options: Any) -> Iterator[Visitor]:
    """A visitor with its own browser context; fails at the end if it recorded faults."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True, **options)
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    visitor = Visitor(context.new_page(), url)
    visitor.listen()
    yield visitor
    context.close()
    assert visitor.faults == []


@pytest.fixture(scope="session")
def penguins(service: httpx2.Client) -> str:
    """The id of the uploaded data set."""
    answer = service.post("/v1/datasets", params={"name": PENGUINS.name}, content=PENGUINS.read_bytes())
    return str(answer.json()["id"])


@pytest.fixture(scope="session")
def trained(service: httpx2.Client, penguins: str) -> list[dict[str, Any]]:
    """Two finished jobs."""
    jobs = []
    for name, batch_norm in (("with batch norm", True), ("without", False)):
        spec = {
            "name": name,
            "labels": {"team": "birds"},
            "data": {"kind": "dataset", "id": penguins, "target": "species"},
            "architecture": {"batch_norm": batch_norm},
            "early_stopping": {"patience": 5},
        }
        job = service.post("/v1/jobs", json=spec).json()
        jobs.append(wait_for_end(service, f"/v1/jobs/{job['id']}"))
    return jobs
