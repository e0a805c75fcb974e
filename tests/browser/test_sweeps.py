"""The page of a sweep: its search with rungs and curves, parallel coordinates, importance, error bars, presets."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.processes import wait_for_end

BASE: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 200, "signal": 2},
    "max_epochs": 9,
    "early_stopping": None,
}
SPACE: dict[str, Any] = {
    "optimizer.lr": {"log": [1e-4, 0.3]},
    "architecture.hidden": {"choice": [[8], [16, 8]]},
    "architecture.dropout": {"uniform": [0, 0.5]},
}


def finished(service: httpx2.Client, **asked: Any) -> dict[str, Any]:
    """The sweep, once it has ended."""
    sweep = service.post("/v1/sweeps", json={"base": BASE, **asked}).json()
    found = wait_for_end(service, f"/v1/sweeps/{sweep['id']}")
    assert found["status"] == "finished", found
    return found


@pytest.fixture(scope="module")
def halving(service: httpx2.Client) -> dict[str, Any]:
    """A search by successive halving: 9 trials, 3 of them promoted, 1 to the end."""
    search = {"kind": "halving", "trials": 9, "eta": 3, "min_epochs": 1}
    return finished(service, name="halving", space=SPACE, search=search, model="halved")


def decisions(service: httpx2.Client, sweep: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    listed = service.get(f"/v1/sweeps/{sweep['id']}/decisions", params={"limit": 1000}).json()["data"]
    return [each for each in listed if each["kind"] == kind]


def test_the_rungs_show_each_trial_and_who_was_promoted(
    visitor: Visitor, service: httpx2.Client, halving: dict[str, Any]
) -> None:
    page = visitor.go(f"sweep/{halving['id']}")

    rungs = page.get_by_role("group", name="Rungs of bracket 1")
    expect(rungs.locator("a.node")).to_have_count(9 + 3 + 1)
    expect(rungs.locator("path.edge")).to_have_count(3 + 1)
    expect(rungs).to_contain_text("Rung 1: up to 1 epoch")
    expect(rungs).to_contain_text("9 trials, 3 promoted")
    expect(rungs).to_contain_text("Rung 3: to the end")
    first = decisions(service, halving, "promoted")[0]
    winner = rungs.get_by_role("link", name=re.compile(f"trial {first['trial']}, rung 1: val_loss .*, promoted"))
    expect(winner).to_have_count(1)
    winner.focus()
    expect(page.locator(".trial.picked")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/job/job_"))


def test_each_trial_has_a_curve_that_ends_where_it_was_pruned(
    visitor: Visitor, service: httpx2.Client, halving: dict[str, Any]
) -> None:
    page = visitor.go(f"sweep/{halving['id']}")

    curves = page.get_by_role("slider", name="Curves of the trials")
    expect(curves.locator("polyline.trial")).to_have_count(9)
    expect(curves.locator("polyline.pruned")).to_have_count(8)
    expect(curves.locator("polyline.best")).to_have_attribute("points", re.compile(r"^(\S+ ){8}\S+$"))
    expect(curves.locator("text", has_text="✂")).to_have_count(8)
    expect(curves.locator("text", has_text="★")).to_have_count(1)
    expect(curves).to_contain_text("epoch 3")


def test_arrow_keys_name_the_points_of_the_parallel_coordinates_by_rank(
    visitor: Visitor, service: httpx2.Client, halving: dict[str, Any]
) -> None:
    page = visitor.go(f"sweep/{halving['id']}")
    plot = page.get_by_role("slider", name="Parallel coordinates")
    expect(plot.locator("polyline.trial")).to_have_count(9)
    expect(plot.locator("text.axis-name")).to_have_text(
        [re.compile(name) for name in ("lr", "hidden", "dropout", "val_loss")]
    )
    expect(plot.locator("text", has_text="log scale")).to_have_count(1)

    plot.focus()
    page.keyboard.press("ArrowRight")
    best = halving["best"]
    expect(plot).to_have_attribute(
        "aria-valuetext", re.compile(rf"^rank 1 · trial \d+ · optimizer.lr {best['point']['optimizer.lr']} ")
    )
    expect(plot).to_have_attribute("aria-valuemax", "9")
    section = page.locator("section", has=page.get_by_role("heading", name="Parallel coordinates"))
    expect(section.locator(".readout a")).to_have_attribute("href", f"#/job/{best['job']}")
    page.keyboard.press("End")
    expect(plot).to_have_attribute("aria-valuetext", re.compile("^rank 9 .* pruned after 1 epochs$"))
    page.keyboard.press("Escape")
    expect(plot.locator(".picked")).to_have_count(0)


def test_the_pointer_highlights_the_nearest_line(visitor: Visitor, halving: dict[str, Any]) -> None:
    page = visitor.go(f"sweep/{halving['id']}")
    plot = page.get_by_role("slider", name="Parallel coordinates")
    plot.scroll_into_view_if_needed()
    x, y = plot.locator("polyline.best").evaluate(
        "line => line.getAttribute('points').split(' ')[0].split(',').map(Number)"
    )

    plot.hover(position={"x": x, "y": y})

    expect(plot).to_have_attribute("aria-valuetext", re.compile("^rank 1 "))


def test_importance_is_estimated_when_the_sweep_has_ended(visitor: Visitor, halving: dict[str, Any]) -> None:
    page = visitor.go(f"sweep/{halving['id']}")

    rows = page.locator("[aria-label='Importance of parameters'] tbody tr")
    expect(rows).to_have_count(3, timeout=60_000)
    expect(rows.first.locator("svg rect")).to_have_count(1)


def test_too_few_points_for_importance_are_explained(visitor: Visitor, service: httpx2.Client) -> None:
    sweep = finished(service, grid={"optimizer.lr": [0.001, 0.01]})
    page = visitor.go(f"sweep/{sweep['id']}")

    expect(page.get_by_text("Needs at least 8 configurations with a value; 2 so far.")).to_be_visible()


def test_the_published_version_and_the_decisions_with_reasons_are_shown(
    visitor: Visitor, halving: dict[str, Any]
) -> None:
    page = visitor.go(f"sweep/{halving['id']}")

    expect(page.get_by_role("link", name="halved, version 1")).to_have_attribute("href", "#/version/halved:1")
    rows = page.locator("[aria-label=Decisions] tbody tr")
    expect(rows).to_have_count(4 + 8 + 2)
    expect(rows.first).to_contain_text("version 1 of 'halved' was published")
    page.get_by_label("Show").select_option("pruned")
    expect(rows).to_have_count(8)
    expect(rows.last).to_contain_text("the last one promoted has")
    page.get_by_label("Show").select_option("proposed")
    expect(rows).to_have_count(9)


def test_a_pruned_job_is_resumed_from_the_leaderboard(visitor: Visitor, service: httpx2.Client) -> None:
    search = {"kind": "halving", "trials": 4, "eta": 2, "min_epochs": 4}
    sweep = finished(service, space=SPACE, search=search)
    page = visitor.go(f"sweep/{sweep['id']}")
    pruned = decisions(service, sweep, "pruned")

    resume = page.locator("[aria-label=Leaderboard]").get_by_role("button", name="Resume")
    expect(resume).to_have_count(len(pruned))
    job = str(resume.first.get_attribute("aria-label")).removeprefix("Resume ")
    resume.first.click()

    expect(page.locator("#toasts")).to_contain_text("trains on to the end of its own spec")
    ended = wait_for_end(service, f"/v1/jobs/{job}")
    assert (ended["status"], ended["progress"]["epoch"]) == ("succeeded", 9)


def test_a_search_is_shown_live_until_it_ends(visitor: Visitor, service: httpx2.Client) -> None:
    base = {**BASE, "data": {"kind": "synthetic", "rows": 3000}, "max_epochs": 150}
    search = {"kind": "halving", "trials": 9, "eta": 3, "min_epochs": 20}
    sweep = service.post("/v1/sweeps", json={"base": base, "space": SPACE, "search": search}).json()
    page = visitor.go(f"sweep/{sweep['id']}")

    expect(page.locator("h1 .status")).to_have_text("running")
    expect(page.locator("h1 .status")).to_have_text("finished", timeout=60_000)
    rungs = page.get_by_role("group", name="Rungs of bracket 1")
    expect(rungs.locator("a.node")).to_have_count(9 + 3 + 1)
    expect(rungs.locator("a.node.best")).to_have_count(3)


def test_folds_have_error_bars_and_who_cannot_be_told_from_the_best(visitor: Visitor, service: httpx2.Client) -> None:
    sweep = finished(service, grid={"optimizer.lr": [0.003, 0.004, 1e-6]}, folds=4)
    page = visitor.go(f"sweep/{sweep['id']}")

    rows = page.locator("[aria-label=Configurations] tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("★ best")
    expect(rows.nth(1)).to_contain_text("≈ no clear difference")
    expect(rows.locator("svg line")).to_have_count(3)


def test_the_page_of_a_search_fits_a_phone(visitor: Visitor, halving: dict[str, Any]) -> None:
    visitor.page.set_viewport_size({"width": 360, "height": 780})
    page = visitor.go(f"sweep/{halving['id']}")
    expect(page.get_by_role("group", name="Rungs of bracket 1")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_presets_are_planned_before_anything_runs_and_publish_a_model(
    visitor: Visitor, service: httpx2.Client, penguins: str
) -> None:
    page = visitor.go(f"new?data={penguins}")
    fast = page.locator(".card", has=page.get_by_role("heading", name="Fast"))
    good = page.locator(".card", has=page.get_by_role("heading", name="Good"))
    expect(fast).to_contain_text(re.compile("1 network in 1 array, at most .* epochs: (about|less than) .* on"))
    expect(good).to_contain_text(re.compile("8 networks in .*, 8 folds"))
    expect(page.locator("[name=model]")).to_have_value("penguins-species")

    page.locator("[name=model]").fill("birds-fast")
    page.get_by_role("button", name="Train fast").click()

    expect(page).to_have_url(re.compile("#/sweep/swp_"))
    expect(page.get_by_text(re.compile("^fast, recipes "))).to_be_visible()
    expect(page.get_by_role("link", name="birds-fast, version 1")).to_be_visible(timeout=60_000)
    sweep = service.get(f"/v1/sweeps/{page.url.rpartition('/')[2]}").json()
    assert (sweep["preset"], sweep["base"]["split"]) == ("fast", {"test": 0.1})


def test_a_preset_that_does_not_fit_says_why(visitor: Visitor, service: httpx2.Client, penguins: str) -> None:
    page = visitor.go(f"new?data={penguins}")
    expect(page.get_by_role("button", name="Train good")).to_be_enabled()

    page.get_by_label("Test fraction").fill("3")

    expect(page.locator(".card .error").first).to_contain_text("split")
    expect(page.get_by_role("button", name="Train good")).to_be_disabled()
    page.goto("about:blank")  # ends requests that are not answered yet
    visitor.faults[:] = [each for each in visitor.faults if "422" not in each]


def test_a_sweep_whose_model_cannot_be_published_says_so(visitor: Visitor, service: httpx2.Client) -> None:
    exploding = {
        "optimizer": {"kind": "sgd", "lr": 10.0},
        "early_stopping": {"on_non_finite": "fail", "patience": 1000},
    }
    sweep = finished(
        service, base={**BASE, "task": "regression", "max_epochs": 1000, **exploding}, replicates=2, model="never"
    )
    assert sweep["error"], sweep

    page = visitor.go(f"sweep/{sweep['id']}")

    expect(page.locator(".facts .error")).to_have_text(sweep["error"])
    expect(page.get_by_text("never: no version was published")).to_be_visible()
