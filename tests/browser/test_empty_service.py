"""An empty service: the first page explains the product and starts a first job."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from examples.local_service import running_service
from tests.browser.conftest import visits
from tests.browser.test_access import violations


@pytest.fixture(scope="module")
def empty_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with running_service(tmp_path_factory.mktemp("empty")) as client:
        yield client


def test_empty_pages_explain_themselves_and_meet_wcag_aa(browser: Browser, empty_service: httpx2.Client) -> None:
    texts = {
        "jobs": "No jobs yet: train your first model",
        "new": "No data sets yet",
        "sweeps": "No sweeps yet",
        "models": "No models yet",
        "datasets": "No data sets yet",
        "service": "Ready",
        "compare": "Add a job by ID",
    }
    for visitor in visits(browser, str(empty_service.base_url).rstrip("/")):
        for place, text in texts.items():
            page = visitor.go(place)
            expect(page.locator("main")).to_contain_text(text)
            page.evaluate("document.querySelectorAll('main details').forEach(each => { each.open = true })")
            assert violations(page) == [], place


def test_the_first_page_gives_the_same_steps_for_a_terminal(browser: Browser, empty_service: httpx2.Client) -> None:
    url = str(empty_service.base_url).rstrip("/")
    for visitor in visits(browser, url):
        page = visitor.go("jobs")
        page.get_by_text("Use the command line or curl instead").click()

        expect(page.locator(".getting-started")).to_contain_text(
            f"bestepoch train table.csv --target COLUMN --url {url}"
        )
        expect(page.locator(".getting-started")).to_contain_text(f"curl {url}/v1/jobs --json")
        expect(page.locator("[role=search]")).to_be_hidden()


def test_an_empty_service_still_filters(browser: Browser, empty_service: httpx2.Client) -> None:
    for visitor in visits(browser, str(empty_service.base_url).rstrip("/")):
        page = visitor.go("jobs?status=failed")

        expect(page.locator("main")).to_contain_text("No matching jobs.")
        expect(page.locator("[role=search]")).to_be_visible()


def test_a_first_job_on_synthetic_data_is_one_click(browser: Browser, empty_service: httpx2.Client) -> None:
    for visitor in visits(browser, str(empty_service.base_url).rstrip("/")):
        page = visitor.go("jobs")
        page.get_by_role("button", name="Train on synthetic data").click()

        expect(page.locator("h1")).to_contain_text("first-job")
        expect(page.locator("h1 .status")).to_have_text("succeeded", timeout=60_000)
        page.get_by_role("link", name="Jobs").click()
        expect(page.locator("[aria-label=Jobs] tbody tr")).to_have_count(1)
        expect(page.locator(".getting-started")).to_have_count(0)
