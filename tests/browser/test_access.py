"""Accessibility: WCAG AA (axe-core) on every page in both themes and two widths, keyboard use, first paint."""

from __future__ import annotations

from typing import Any, Literal

import httpx2
import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.test_odd_cases import finished_job
from tests.processes import wait_for_end

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture(scope="module")
def places(service: httpx2.Client, penguins: str, trained: list[dict[str, Any]]) -> list[str]:
    """Every page of the dashboard, with content."""
    grid = {"optimizer.lr": [0.001, 0.01], "architecture.dropout": [0.0, 0.5]}
    base = {"data": {"kind": "dataset", "id": penguins, "target": "species"}, "max_epochs": 2}
    sweep = service.post("/v1/sweeps", json={"base": base, "grid": grid}).json()
    wait_for_end(service, f"/v1/sweeps/{sweep['id']}")
    space = {"optimizer.lr": {"log": [0.0001, 0.1]}, "architecture.hidden": {"choice": [[8], [16, 8]]}}
    halving = {"kind": "halving", "trials": 9, "eta": 3, "min_epochs": 1}
    search = service.post(
        "/v1/sweeps", json={"base": {**base, "max_epochs": 9}, "space": space, "search": halving}
    ).json()
    wait_for_end(service, f"/v1/sweeps/{search['id']}")
    one, other = trained
    regression = finished_job(service, {"data": {"kind": "dataset", "id": penguins, "target": "body_mass_g"}})
    for job in trained:
        service.post("/v1/models", json={"name": "accessible", "from": {"job": job["id"]}}).raise_for_status()
    return [
        "jobs",
        f"job/{one['id']}/report",
        f"job/{one['id']}/training",
        f"job/{one['id']}/predict",
        f"job/{regression['id']}",
        "models",
        "model/accessible",
        "version/accessible:1/report",
        "version/accessible:1/predict",
        "version/accessible:1/evaluate",
        "version/accessible:1/drift",
        "version/accessible:1/details",
        f"compare?ids={one['id']},{other['id']}",
        f"new?data={penguins}",
        "sweeps",
        f"sweep/{sweep['id']}",
        f"sweep/{search['id']}",
        "datasets",
        f"dataset/{penguins}",
        "service",
    ]


@pytest.mark.parametrize("size", SIZES)
def test_every_page_meets_wcag_aa_without_horizontal_overflow(visitor: Visitor, places: list[str], size: str) -> None:
    visitor.page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]
    for place in places:
        page = visitor.go(place)
        page.wait_for_load_state("networkidle")  # content is loaded from the API
        page.wait_for_timeout(300)
        page.evaluate("document.querySelectorAll('main details').forEach(each => { each.open = true })")
        assert violations(page) == [], f"{place}, {size}"
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), f"{place} overflows"


def violations(page: Page) -> list[str]:
    """What breaks the rules in either theme; the page follows the one of the system."""
    broken = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("scheme => document.documentElement.style.colorScheme === scheme", arg=scheme)
        for each in Axe().run(page, options=RULES)["violations"]:
            first = each["nodes"][0]
            broken.append(f"{scheme}, {each['id']}: {first['html'][:200]} {first['failureSummary']}")
    return broken


def test_chart_values_are_read_and_zoomed_by_keyboard(visitor: Visitor, trained: list[dict[str, Any]]) -> None:
    page = visitor.go(f"job/{trained[0]['id']}/training")
    chart = page.locator("svg.chart")
    expect(page.locator(".marker text")).to_be_visible()
    chart.focus()
    page.keyboard.press("Home")
    expect(page.locator(".readout")).to_contain_text("Epoch 1 ·")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".readout")).to_contain_text("Epoch 2 · training loss ")

    whole = page.locator("polyline.line").first.get_attribute("points")
    page.keyboard.press("+")
    expect(page.locator("polyline.line").first).not_to_have_attribute("points", whole or "")
    page.keyboard.press("0")
    expect(page.locator("polyline.line").first).to_have_attribute("points", whole or "")


def test_log_scale_keeps_the_best_epoch_marker(visitor: Visitor, trained: list[dict[str, Any]]) -> None:
    page = visitor.go(f"job/{trained[0]['id']}/training")
    marker = page.locator(".marker text")
    expect(marker).to_be_visible()
    before = page.locator(".marker circle").get_attribute("cy")

    page.get_by_label("Log scale").check()

    expect(page.locator(".marker circle")).not_to_have_attribute("cy", before or "")
    expect(marker).to_have_text(f"best: epoch {trained[0]['best']['epoch']}")


def test_polling_a_list_keeps_focus_and_selection(visitor: Visitor, trained: list[dict[str, Any]]) -> None:
    page = visitor.go("jobs?label=team%3Dbirds")
    box = page.get_by_label("Select with batch norm").first
    box.check()
    box.focus()

    with page.expect_response(lambda response: "/v1/jobs?" in response.url):
        pass
    with page.expect_response(lambda response: "/v1/jobs?" in response.url):
        pass

    expect(box).to_be_checked()
    expect(box).to_be_focused()


def test_first_contentful_paint(visitor: Visitor, capsys: pytest.CaptureFixture[str]) -> None:
    times = []
    for _ in range(5):
        page = visitor.go("jobs")
        page.reload()
        page.wait_for_selector("h1")
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        times.append(page.wait_for_function(paint).json_value())
    with capsys.disabled():
        print(f"\nfirst contentful paint: {sorted(times)[2]:.0f} ms (median of 5)")
    assert max(times) < 10_000
