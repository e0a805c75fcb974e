"""Main workflows: upload, create a job, follow it, compare, predict, download the best checkpoint."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Browser, expect
from safetensors import safe_open

from examples.local_service import running_service
from tests.browser.conftest import PENGUINS, Visitor, visits
from tests.processes import wait_for_end


def test_upload_train_download_and_compare(
    visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]], tmp_path: Path
) -> None:
    page = visitor.go("datasets")
    page.set_input_files("input[type=file]", PENGUINS)
    page.locator(".uploads").get_by_text("Train a model").click()

    expect(page.get_by_label("Preview")).to_contain_text("classification")
    page.get_by_label("Name", exact=False).first.fill("from the form")
    page.get_by_label("Batch normalization").uncheck()
    page.get_by_label("Patience").fill("4")
    expect(page.get_by_label("Preview")).to_contain_text("parameters")
    page.get_by_role("button", name="Train", exact=True).click()

    expect(page.locator("h1")).to_contain_text("from the form")
    expect(page.locator("h1 .status")).to_have_text("succeeded", timeout=60_000)
    job_id = page.url.rpartition("/")[2]
    page.get_by_role("link", name="Training", exact=True).click()
    expect(page.locator(".band text")).to_have_text("patience 4 / 4")
    job = service.get(f"/v1/jobs/{job_id}").json()
    assert (job["spec"]["architecture"]["batch_norm"], job["spec"]["early_stopping"]["patience"]) == (False, 4)
    expect(page.locator(".marker text")).to_have_text(f"best: epoch {job['best']['epoch']}")
    assert page.locator("[aria-label='Training history'] tbody tr").count() == job["progress"]["epoch"]

    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download best checkpoint").click()
    saved = tmp_path / "best.safetensors"
    downloading.value.save_as(saved)
    with safe_open(saved, "pt") as file:
        assert json.loads(file.metadata()["bestepoch"])["epoch"] == job["best"]["epoch"]

    page.get_by_role("link", name="Compare").click()
    page.get_by_label("Add a job by ID").fill(trained[0]["id"])
    page.get_by_role("button", name="Add").click()
    differences = page.locator("[aria-label='Parameter differences']")
    expect(differences).to_contain_text("architecture.batch_norm")
    expect(differences).not_to_contain_text("optimizer.lr")
    expect(page.locator(".chart polyline.line")).to_have_count(2)


def test_a_residual_network_with_embeddings_is_chosen_in_the_form(
    visitor: Visitor, service: httpx2.Client, penguins: str
) -> None:
    page = visitor.go(f"new?data={penguins}")
    page.get_by_label("Architecture").select_option("resnet")
    page.get_by_label("Width").fill("24")
    page.get_by_label("Numbers").select_option("piecewise_linear")
    page.get_by_label("Categories").select_option("embedding")
    page.get_by_label("Max epochs").fill("2")

    expect(page.get_by_label("Preview").locator(".graph .node").first).to_contain_text("numbers")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator("h1 .status")).to_have_text("succeeded", timeout=60_000)

    spec = service.get(f"/v1/jobs/{page.url.rpartition('/')[2]}").json()["spec"]
    assert (spec["architecture"]["kind"], spec["architecture"]["width"]) == ("resnet", 24)
    assert (spec["preprocess"]["numeric"], spec["preprocess"]["categorical"]) == ("piecewise_linear", "embedding")


def test_validation_errors_are_shown_beside_their_field(visitor: Visitor, penguins: str) -> None:
    page = visitor.go(f"new?data={penguins}")

    page.get_by_label("Learning rate").fill("-1")

    expect(page.get_by_label("Learning rate")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("label", has_text="Learning rate").locator(".error")).not_to_be_empty()
    visitor.faults[:] = [each for each in visitor.faults if "422" not in each]  # the console lists refused requests


def test_editing_the_spec_as_json_updates_the_fields(visitor: Visitor, penguins: str) -> None:
    page = visitor.go(f"new?data={penguins}")
    page.get_by_text("Edit as JSON").click()
    text = page.get_by_label("Job spec (JSON)")
    spec = json.loads(text.input_value())

    text.fill(json.dumps({**spec, "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9}}))
    text.blur()

    expect(page.get_by_label("Learning rate")).to_have_value("0.05")
    expect(page.get_by_label("Optimizer")).to_have_value("sgd")


def test_a_running_job_updates_live_and_is_cancelled(visitor: Visitor, service: httpx2.Client) -> None:
    spec = {"data": {"kind": "synthetic", "rows": 2000}, "max_epochs": 1_000_000, "early_stopping": None}
    job = service.post("/v1/jobs", json=spec).json()
    page = visitor.go(f"job/{job['id']}")
    line = page.locator("polyline.line").first
    expect(line).to_have_attribute("points", re.compile(r"( .*){5,}"))
    before = page.locator("[aria-label='Training history'] tbody td").first.inner_text()

    page.wait_for_function(
        """before => document.querySelector("[aria-label='Training history'] tbody td").textContent !== before""",
        arg=before,
    )
    page.get_by_role("button", name="Cancel").click()

    expect(page.locator("h1 .status")).to_have_text("cancelled", timeout=30_000)
    expect(page.get_by_role("button", name="Download best checkpoint")).to_be_visible()


def test_bulk_cancel_of_selected_and_of_all_matching_jobs(visitor: Visitor, service: httpx2.Client) -> None:
    spec = {
        "labels": {"bulk": "yes"},
        "data": {"kind": "synthetic", "rows": 2000},
        "max_epochs": 1_000_000,
        "early_stopping": None,
    }
    ids = [service.post("/v1/jobs", json=spec).json()["id"] for _ in range(3)]
    page = visitor.go("jobs?label=bulk%3Dyes")
    expect(page.locator("[aria-label=Jobs] tbody tr")).to_have_count(3)

    for job_id in ids[:2]:
        page.get_by_label(f"Select {job_id}").check()
    page.get_by_role("button", name="Cancel selected").click()
    expect(page.locator("#toasts")).to_contain_text("Requested cancel of 2 of 2 jobs")
    expect(page.locator(".status.cancelled")).to_have_count(2, timeout=30_000)

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel all matching").click()
    expect(page.locator(".status.cancelled")).to_have_count(3, timeout=30_000)


def test_predict_one_row(visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]]) -> None:
    page = visitor.go(f"job/{trained[0]['id']}/predict")
    row = {"bill_length_mm": 39.1, "bill_depth_mm": 18.7, "flipper_length_mm": 181, "island": "Torgersen"}
    for name, value in row.items():
        place = page.locator(f"[name={name}]")
        place.select_option(str(value)) if name == "island" else place.fill(str(value))
    page.get_by_role("button", name="Predict", exact=True).click()

    asked = service.post(f"/v1/jobs/{trained[0]['id']}/predict", json={"rows": [row]}).json()["predictions"][0]
    expect(page.get_by_text(f"Prediction: {asked['prediction']}")).to_be_visible()

    page.locator("[name=body_mass_g]").fill("heavy")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="heavy")).to_be_visible()
    visitor.faults[:] = [each for each in visitor.faults if "422" not in each]


def test_an_export_is_downloaded(visitor: Visitor, trained: list[dict[str, Any]]) -> None:
    page = visitor.go(f"job/{trained[0]['id']}")

    with page.expect_download(timeout=60_000) as downloading:
        page.get_by_label("File to export").select_option("Bundle with model card")
        page.get_by_role("button", name="Export", exact=True).click()

    assert downloading.value.suggested_filename.endswith(".zip")


def test_replay_early_stopping_on_the_recorded_history(visitor: Visitor, trained: list[dict[str, Any]]) -> None:
    page = visitor.go(f"job/{trained[0]['id']}/training")
    page.get_by_text("Replay early stopping").click()
    page.get_by_role("button", name="Replay", exact=True).click()

    rows = page.locator("[aria-label='Replayed rules'] tbody tr")
    expect(rows).to_have_count(8)
    page.get_by_label("Custom rule").fill('{"patience": 1}')
    page.get_by_role("button", name="Add").click()
    expect(rows).to_have_count(9)


def test_a_sweep_shows_leaderboard_configurations_and_heatmap(
    visitor: Visitor, service: httpx2.Client, penguins: str
) -> None:
    asked = {
        "name": "rates",
        "base": {"data": {"kind": "dataset", "id": penguins, "target": "species"}, "max_epochs": 10},
        "grid": {"optimizer.lr": [0.001, 0.01], "architecture.batch_norm": [True, False]},
        "replicates": 2,
    }
    sweep = service.post("/v1/sweeps", json=asked).json()
    wait_for_end(service, f"/v1/sweeps/{sweep['id']}")
    best = service.get(f"/v1/sweeps/{sweep['id']}").json()["best"]["job"]

    page = visitor.go(f"sweep/{sweep['id']}")
    expect(page.locator("[aria-label=Leaderboard] tbody tr")).to_have_count(8)
    expect(page.locator("[aria-label=Leaderboard] tbody a").first).to_have_attribute("href", f"#/job/{best}")
    expect(page.locator(".heatmap .heat")).to_have_count(4)
    expect(page.locator("[aria-label=Configurations] tbody tr")).to_have_count(4)
    page.get_by_text("Replay searches and stopping rules").click()
    page.get_by_role("button", name="Replay", exact=True).click()
    rows = page.locator("[aria-label='Replayed rules'] tbody tr")
    expect(rows).to_have_count(6)
    page.get_by_label("Custom rule").fill('{"kind": "halving", "eta": 2, "min_epochs": 1}')
    page.get_by_role("button", name="Add").click()
    expect(rows).to_have_count(7)
    expect(rows.last).to_contain_text("halving: 1 of 2, from epoch 1")


def test_pruned_jobs_are_revived_where_a_replay_needs_them(visitor: Visitor, service: httpx2.Client) -> None:
    asked = {
        "base": {"data": {"kind": "synthetic"}, "max_epochs": 16, "early_stopping": None},
        "grid": {"optimizer.lr": [0.001, 0.002, 0.004, 0.01], "architecture.batch_norm": [True, False]},
        "search": {"kind": "halving", "eta": 4, "min_epochs": 2},
    }
    sweep = service.post("/v1/sweeps", json=asked).json()
    wait_for_end(service, f"/v1/sweeps/{sweep['id']}")

    page = visitor.go(f"sweep/{sweep['id']}")
    page.get_by_text("Replay searches and stopping rules").click()
    page.get_by_role("button", name="Replay", exact=True).click()
    page.get_by_role("button", name="Revive 7 pruned jobs").click()

    expect(page.get_by_text("7 jobs revived: replay again when they have ended.")).to_be_visible()
    ended = wait_for_end(service, f"/v1/sweeps/{sweep['id']}")
    assert ended["counts"]["pruned"] == 0


def test_names_are_shown_as_text_and_never_parsed_as_html(visitor: Visitor, service: httpx2.Client) -> None:
    name = "<img src=x onerror=alert(1)>"
    job = service.post("/v1/jobs", json={"name": name, "data": {"kind": "synthetic"}, "max_epochs": 1}).json()

    page = visitor.go("jobs")
    expect(page.get_by_text(name)).to_be_visible()
    page = visitor.go(f"job/{job['id']}")
    expect(page.locator("h1")).to_contain_text(name)
    assert page.locator("main img").count() == 0


def test_a_missing_or_wrong_api_key_opens_the_key_dialog(browser: Browser, tmp_path: Path) -> None:
    with running_service(tmp_path, BESTEPOCH_API_KEY="a-key-for-the-browser") as client:
        for visitor in visits(browser, str(client.base_url).rstrip("/")):
            page = visitor.page
            page.goto(f"{visitor.url}/#/service")
            for key in ("wrong", "a-key-for-the-browser"):
                page.locator("dialog input").fill(key)
                page.get_by_role("button", name="Sign in").click()
            expect(page.locator("main .status")).to_have_text("Ready")
            visitor.faults[:] = [each for each in visitor.faults if "401" not in each]
