"""Edge cases: invalid input, outages, diverged jobs, empty services, unusual data, read-only keys."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from playwright.sync_api import Browser, expect

from examples.local_service import running_service
from tests.browser.conftest import Visitor, visits
from tests.processes import wait_for_end

ENDLESS: dict[str, Any] = {"data": {"kind": "synthetic"}, "max_epochs": 1_000_000, "early_stopping": None}


def finished_job(service: httpx2.Client, spec: dict[str, Any]) -> dict[str, Any]:
    job = service.post("/v1/jobs", json=spec).json()
    return wait_for_end(service, f"/v1/jobs/{job['id']}")


def test_an_incomplete_label_filter_matches_and_cancels_nothing(visitor: Visitor, service: httpx2.Client) -> None:
    job = service.post("/v1/jobs", json=ENDLESS).json()
    page = visitor.go("jobs?label=birds")
    page.on("dialog", lambda dialog: dialog.accept())

    expect(page.get_by_role("alert")).to_contain_text("Label filter must be key=value")
    page.get_by_role("button", name="Cancel all matching").click()
    expect(page.locator("#toasts")).to_contain_text("Label filter must be key=value")

    assert service.get(f"/v1/jobs/{job['id']}").json()["control"] is None
    service.post(f"/v1/jobs/{job['id']}/cancel")


def test_an_outage_banner_is_shown_until_the_service_answers(visitor: Visitor) -> None:
    page = visitor.go("service")
    expect(page.locator("main .status")).to_have_text("Ready")

    page.context.set_offline(True)
    expect(page.locator(".offline-banner")).to_contain_text("Connection lost", timeout=15_000)
    expect(page.locator("main .status")).to_have_text("Not ready: cannot reach the service")
    page.context.set_offline(False)
    expect(page.locator(".offline-banner")).to_be_hidden(timeout=15_000)
    expect(page.locator("main .status")).to_have_text("Ready")

    visitor.faults[:] = [each for each in visitor.faults if "ERR_INTERNET_DISCONNECTED" not in each]


def test_the_skip_link_focuses_the_content(visitor: Visitor) -> None:
    page = visitor.go("jobs")
    page.locator(".skip-link").focus()
    page.keyboard.press("Enter")

    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("h1")).to_have_text("Jobs")


def test_changing_a_filter_keeps_keyboard_focus(visitor: Visitor, service: httpx2.Client) -> None:
    page = visitor.go("jobs")
    page.locator("select[name=status]").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**status=queued")
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**status=running")


def test_a_diverged_job_shows_its_curve(visitor: Visitor, service: httpx2.Client) -> None:
    exploding = {"task": "regression", "architecture": {"hidden": []}, "optimizer": {"kind": "sgd", "lr": 10.0}}
    job = finished_job(
        service,
        {**exploding, "data": {"kind": "synthetic"}, "batch_size": "full", "early_stopping": {"patience": 1000}},
    )
    assert job["stop_reason"] == "diverged", job

    page = visitor.go(f"job/{job['id']}/training")

    expect(page.locator(".legend li")).to_have_count(2)
    expect(page.locator(".marker text")).to_have_text(f"best: epoch {job['best']['epoch']}")
    page.get_by_label("validation loss").uncheck()
    expect(page.locator(".marker")).to_have_count(0)


def test_a_random_search_is_a_heatmap_of_bins(visitor: Visitor, service: httpx2.Client) -> None:
    rng = np.random.default_rng(0)
    points = [
        {"optimizer.lr": float(10 ** rng.uniform(-4, -1)), "architecture.dropout": float(rng.uniform(0, 0.5))}
        for _ in range(60)
    ]
    base = {"data": {"kind": "synthetic", "rows": 100}, "max_epochs": 1}
    sweep = service.post("/v1/sweeps", json={"base": base, "points": points}).json()
    wait_for_end(service, f"/v1/sweeps/{sweep['id']}")

    page = visitor.go(f"sweep/{sweep['id']}")

    expect(page.locator(".heatmap tbody tr")).to_have_count(10)
    assert page.locator(".heatmap td").count() == 100


def test_invalid_json_is_reported_and_not_submitted(visitor: Visitor, service: httpx2.Client, penguins: str) -> None:
    before = len(service.get("/v1/jobs", params={"limit": 100}).json()["data"])
    page = visitor.go(f"new?data={penguins}")
    page.get_by_text("Edit as JSON").click()
    text = page.get_by_label("Job spec (JSON)")

    text.fill('{"max_epochs": 3,')
    text.blur()
    page.get_by_role("button", name="Train", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("Invalid JSON:")
    expect(text).to_have_value('{"max_epochs": 3,')
    assert len(service.get("/v1/jobs", params={"limit": 100}).json()["data"]) == before


def test_the_form_suggests_a_target_and_defaults_for_the_data_set(
    visitor: Visitor, service: httpx2.Client, penguins: str
) -> None:
    file = io.BytesIO()
    np.savez(file, x=np.random.default_rng(0).normal(size=(40, 5)), y=np.arange(40) % 2)
    matrix = service.post("/v1/datasets", params={"name": "matrix"}, content=file.getvalue()).json()
    page = visitor.go(f"new?data={matrix['id']}")

    expect(page.get_by_label("Architecture")).to_have_value("mlp")
    expect(page.get_by_label("Target column")).to_have_value("y")
    page.locator("select[name=data]").select_option(penguins)
    expect(page.get_by_label("Target column")).to_have_value("species")
    expect(page.get_by_label("Preview")).to_contain_text("classification")
    expect(page.get_by_label("Test fraction")).to_have_value("0.1")


def test_replay_of_a_job_that_monitors_accuracy_uses_only_patience_rules(
    visitor: Visitor, service: httpx2.Client
) -> None:
    rule = {"patience": 3, "monitor": "val_accuracy"}
    job = finished_job(service, {"data": {"kind": "synthetic"}, "early_stopping": rule})
    page = visitor.go(f"job/{job['id']}/training")
    page.get_by_text("Replay early stopping").click()

    page.get_by_label("Custom rule").fill("{nonsense")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Replay", exact=True).click()

    expect(page.locator("[aria-label='Replayed rules'] tbody tr")).to_have_count(4)


def test_a_read_only_key_sees_no_write_actions(browser: Browser, tmp_path: Path) -> None:
    with running_service(tmp_path, BESTEPOCH_API_KEY="the-operators-key") as client:
        job = finished_job(client, {"data": {"kind": "synthetic"}, "max_epochs": 2})
        key = create_read_key(tmp_path)
        for visitor in visits(browser, str(client.base_url).rstrip("/")):
            visitor.page.add_init_script(f"sessionStorage.setItem('bestepoch.key', {json.dumps(key)})")
            page = visitor.go(f"job/{job['id']}")
            expect(page.get_by_role("button", name="Download best checkpoint")).to_be_visible()
            expect(page.get_by_role("button", name="Delete")).to_be_hidden()
            expect(page.get_by_role("link", name="Duplicate")).to_be_hidden()


def create_read_key(home: Path) -> str:
    """A key of the tenant `default` with scope `read`."""
    command = [sys.executable, "-m", "service.cli", "keys", "create", "--tenant", "default", "--scope", "read"]
    environment = {**os.environ, "BESTEPOCH_HOME": str(home)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_network_whose_layers_take_several_inputs_is_drawn_as_a_graph(
    visitor: Visitor, service: httpx2.Client
) -> None:
    layers = [
        {"kind": "linear", "out_features": 8, "name": "first"},
        {"kind": "linear", "out_features": 8, "name": "second"},
        {"kind": "add", "inputs": ["first", "second"]},
    ]
    spec = {"data": {"kind": "synthetic"}, "max_epochs": 1, "architecture": {"kind": "layers", "layers": layers}}
    job = finished_job(service, spec)

    page = visitor.go(f"job/{job['id']}/training")

    page.get_by_role("heading", name="Network").click()
    drawing = page.get_by_role("group", name="Layers and their inputs")
    expect(drawing).to_be_visible()
    expect(drawing.locator(".node")).to_have_count(5)  # the numbers, three layers and the output layer
    expect(drawing.locator(".edge")).to_have_count(5)
    expect(drawing.get_by_role("img")).to_have_accessible_name(re.compile("takes layers.0 and layers.1"))
