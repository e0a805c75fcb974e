"""What goes wrong, ends early or is unlike the usual: the page says so, and does no harm."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from playwright.sync_api import Browser, expect

from examples.local_service import running_service
from tests.browser.conftest import Visitor, visits

ENDLESS: dict[str, Any] = {"data": {"kind": "synthetic"}, "max_epochs": 1_000_000, "early_stopping": None}


def ended(service: httpx2.Client, spec: dict[str, Any]) -> dict[str, Any]:
    job = service.post("/v1/jobs", json=spec).json()
    found: dict[str, Any] = service.get(f"/v1/jobs/{job['id']}", params={"wait": 60}, timeout=70).json()
    return found


def test_half_a_label_shows_and_cancels_nothing(visitor: Visitor, service: httpx2.Client) -> None:
    job = service.post("/v1/jobs", json=ENDLESS).json()
    page = visitor.go("jobs?label=birds")
    page.on("dialog", lambda dialog: dialog.accept())

    expect(page.get_by_role("alert")).to_contain_text("a label is looked for as key=value")
    page.get_by_role("button", name="Cancel all that fit").click()
    expect(page.locator("#said")).to_contain_text("a label is looked for as key=value")

    assert service.get(f"/v1/jobs/{job['id']}").json()["control"] is None
    service.post(f"/v1/jobs/{job['id']}/cancel")


def test_a_service_that_does_not_answer_is_said_until_it_does(visitor: Visitor) -> None:
    page = visitor.go("service")
    expect(page.locator("main")).to_contain_text("It is ready to work.")

    page.context.set_offline(True)
    expect(page.locator(".lost")).to_contain_text("No answer since", timeout=15_000)
    expect(page.locator("main")).to_contain_text("It is not ready: the service cannot be reached")
    page.context.set_offline(False)
    expect(page.locator(".lost")).to_be_hidden(timeout=15_000)
    expect(page.locator("main")).to_contain_text("It is ready to work.")

    visitor.faults[:] = [each for each in visitor.faults if "ERR_INTERNET_DISCONNECTED" not in each]


def test_the_skip_link_leads_to_the_page(visitor: Visitor) -> None:
    page = visitor.go("jobs")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")

    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("h1")).to_have_text("Jobs")


def test_a_filter_that_is_set_keeps_the_keyboard_there(visitor: Visitor, service: httpx2.Client) -> None:
    page = visitor.go("jobs")
    page.locator("select[name=status]").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**status=queued")
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**status=running")


def test_a_diverged_job_shows_the_curve_that_it_had(visitor: Visitor, service: httpx2.Client) -> None:
    exploding = {"task": "regression", "architecture": {"hidden": []}, "optimizer": {"kind": "sgd", "lr": 10.0}}
    job = ended(
        service,
        {**exploding, "data": {"kind": "synthetic"}, "batch_size": "full", "early_stopping": {"patience": 1000}},
    )
    assert job["stop_reason"] == "diverged", job

    page = visitor.go(f"job/{job['id']}")

    expect(page.locator(".legend li")).to_have_count(2)
    expect(page.locator(".mark text")).to_have_text(f"best: epoch {job['best']['epoch']}")
    page.get_by_label("validation loss").uncheck()
    expect(page.locator(".mark")).to_have_count(0)


def test_a_random_search_is_a_map_of_bins(visitor: Visitor, service: httpx2.Client) -> None:
    rng = np.random.default_rng(0)
    points = [
        {"optimizer.lr": float(10 ** rng.uniform(-4, -1)), "architecture.dropout": float(rng.uniform(0, 0.5))}
        for _ in range(60)
    ]
    base = {"data": {"kind": "synthetic", "rows": 100}, "max_epochs": 1}
    sweep = service.post("/v1/sweeps", json={"base": base, "points": points}).json()
    service.get(f"/v1/sweeps/{sweep['id']}", params={"wait": 60}, timeout=70)

    page = visitor.go(f"sweep/{sweep['id']}")

    expect(page.locator(".map tbody tr")).to_have_count(10)
    assert page.locator(".map td").count() == 100


def test_json_that_cannot_be_read_is_not_passed_over(visitor: Visitor, service: httpx2.Client, penguins: str) -> None:
    before = len(service.get("/v1/jobs", params={"limit": 100}).json()["data"])
    page = visitor.go(f"new?data={penguins}")
    page.get_by_text("The spec as JSON").click()
    text = page.get_by_label("Spec as JSON")

    text.fill('{"max_epochs": 3,')
    text.blur()
    page.get_by_role("button", name="Train", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("The spec as JSON:")
    expect(text).to_have_value('{"max_epochs": 3,')
    assert len(service.get("/v1/jobs", params={"limit": 100}).json()["data"]) == before


def test_a_form_begins_with_what_fits_its_data(visitor: Visitor, service: httpx2.Client, penguins: str) -> None:
    file = io.BytesIO()
    np.savez(file, x=np.random.default_rng(0).normal(size=(40, 5)), y=np.arange(40) % 2)
    matrix = service.post("/v1/datasets", params={"name": "matrix"}, content=file.getvalue()).json()
    page = visitor.go(f"new?data={matrix['id']}")

    expect(page.get_by_label("Network")).to_have_value("mlp")
    expect(page.get_by_label("Column to predict")).to_have_value("y")
    page.locator("select[name=data]").select_option(penguins)
    expect(page.get_by_label("Column to predict")).to_have_value("species")
    expect(page.get_by_label("Plan")).to_contain_text("classification")


def test_rules_that_fit_are_tried_on_a_job_that_watches_accuracy(visitor: Visitor, service: httpx2.Client) -> None:
    rule = {"patience": 3, "monitor": "val_accuracy"}
    job = ended(service, {"data": {"kind": "synthetic"}, "early_stopping": rule})
    page = visitor.go(f"job/{job['id']}")
    page.get_by_text("Other stopping rules").click()

    page.get_by_label("One more rule").fill("{nonsense")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Replay").click()

    expect(page.locator("[aria-label='Other rules'] tbody tr")).to_have_count(4)


def test_who_may_only_read_is_offered_nothing_else(browser: Browser, tmp_path: Path) -> None:
    with running_service(tmp_path, BESTEPOCH_API_KEY="the-operators-key") as client:
        job = ended(client, {"data": {"kind": "synthetic"}, "max_epochs": 2})
        key = made_key(tmp_path)
        for visitor in visits(browser, str(client.base_url).rstrip("/")):
            visitor.page.add_init_script(f"sessionStorage.setItem('bestepoch.key', {json.dumps(key)})")
            page = visitor.go(f"job/{job['id']}")
            expect(page.get_by_role("button", name="Download the best")).to_be_visible()
            expect(page.get_by_role("button", name="Delete")).to_be_hidden()
            expect(page.get_by_role("link", name="Another like it")).to_be_hidden()


def made_key(home: Path) -> str:
    """A key of the tenant `default` that may read."""
    command = [sys.executable, "-m", "service.cli", "keys", "create", "--tenant", "default", "--scope", "read"]
    environment = {**os.environ, "BESTEPOCH_HOME": str(home)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
