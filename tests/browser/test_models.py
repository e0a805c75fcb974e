"""Published models: publish, predict, move an alias and roll back, compare versions, delete."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Page, expect

from tests.browser.conftest import PENGUINS, Visitor
from tests.browser.test_access import violations
from tests.browser.test_odd_cases import finished_job
from tests.processes import wait_for_end

ROW = {"bill_length_mm": 39.1, "bill_depth_mm": 18.7, "flipper_length_mm": 181, "island": "Torgersen"}


def test_from_an_upload_to_a_rollback(visitor: Visitor, service: httpx2.Client, tmp_path: Path) -> None:
    """Upload, train, read the report, publish, predict next month's file, find drift, publish another, roll back."""
    page = visitor.go("datasets")
    page.on("dialog", lambda dialog: dialog.accept())
    page.set_input_files("input[type=file]", PENGUINS)
    page.locator(".uploads").get_by_text("Train a model").click()
    for name in ("first", "second"):
        page.get_by_label("Name", exact=False).first.fill(name)
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.locator("h1 .status")).to_have_text("succeeded", timeout=60_000)
        page.get_by_role("link", name="Report", exact=True).click()
        expect(page.get_by_role("list", name="Findings").locator("li").first).to_be_visible(timeout=60_000)
        page.get_by_role("button", name="Publish…").click()
        page.get_by_role("dialog").get_by_label("Model", exact=False).first.fill("journey")
        page.get_by_role("button", name="Publish", exact=True).click()
        expect(page.locator("h1")).to_contain_text("journey version")
        page.go_back()
        page.get_by_role("link", name="Duplicate").click()

    page = visitor.go("version/journey:1/predict")
    page.set_input_files("input[type=file]", PENGUINS)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Predict file").click()
    assert downloading.value.suggested_filename == "journey-1-predictions.csv"

    page.get_by_role("link", name="Drift", exact=True).click()
    page.get_by_label("New rows").set_input_files(PENGUINS)
    page.get_by_role("button", name="Measure drift", exact=True).click()
    expect(page.get_by_role("region", name="Drift of columns")).to_be_visible()
    expect(page.get_by_role("region", name="Drift of columns")).not_to_contain_text("large")

    page = visitor.go("version/journey:2")
    page.get_by_role("button", name="Promote to champion").click()
    aliases = page.get_by_role("region", name="Aliases")
    expect(aliases).to_contain_text("championversion 2version 1")
    aliases.get_by_role("button", name="Roll back").click()
    expect(aliases).to_contain_text("championversion 1")
    assert service.post("/v1/models/journey/predict", json={"rows": [ROW]}).json()["model"]["version"] == 1


def published(service: httpx2.Client, name: str, jobs: list[dict[str, Any]]) -> None:
    """A model with a version of each job; the alias `champion` points to the first one."""
    for job in jobs:
        service.post("/v1/models", json={"name": name, "from": {"job": job["id"]}}).raise_for_status()


def fill(page: Page, row: dict[str, Any]) -> None:
    for name, value in row.items():
        place = page.locator(f"main [name={name}]")
        place.select_option(str(value)) if name == "island" else place.fill(str(value))


def test_a_finished_job_is_published_and_predicts(
    visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]]
) -> None:
    page = visitor.go(f"job/{trained[0]['id']}")
    page.get_by_role("button", name="Publish…").click()
    dialog = page.get_by_role("dialog", name="Publish a model")
    dialog.get_by_label("Model", exact=False).first.fill("Bad Name")
    dialog.get_by_role("button", name="Publish", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("should be 1 to 63 lower-case letters")
    dialog.get_by_label("Model", exact=False).first.fill("species")
    dialog.get_by_label("Description").fill("from the dashboard")
    dialog.get_by_role("button", name="Publish", exact=True).click()

    expect(page.locator("h1")).to_contain_text("species version 1 champion")
    version = service.get("/v1/models/species/versions/1").raise_for_status().json()
    assert (version["from"]["job"], version["description"]) == (trained[0]["id"], "from the dashboard")

    page.get_by_role("link", name="Predict", exact=True).click()
    fill(page, ROW)
    page.get_by_role("button", name="Predict", exact=True).click()
    answer = service.post("/v1/models/species/predict", json={"rows": [ROW]}).json()
    expect(page.get_by_text(f"Prediction: {answer['predictions'][0]['prediction']}")).to_be_visible()
    visitor.faults[:] = [each for each in visitor.faults if "422" not in each]


def test_a_file_is_predicted(
    visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]], tmp_path: Path
) -> None:
    published(service, "files", trained[:1])
    page = visitor.go("version/files:1/predict")
    page.get_by_role("button", name="Predict file").click()
    expect(page.get_by_role("alert").filter(has_text="Choose a file first.")).to_be_visible()

    page.set_input_files("input[type=file]", PENGUINS)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Predict file").click()

    assert downloading.value.suggested_filename == "files-1-predictions.csv"
    downloading.value.save_as(tmp_path / "predictions.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "predictions.csv").read_text())))
    assert len(rows) == len(PENGUINS.read_text().splitlines()) - 1

    broken = tmp_path / "broken.csv"
    broken.write_text("a,b\n1,2\n")
    page.set_input_files("input[type=file]", broken)
    page.get_by_role("button", name="Predict file").click()
    expect(page.get_by_role("alert").filter(has_text="column")).to_be_visible()
    visitor.faults[:] = [each for each in visitor.faults if "400" not in each and "422" not in each]


def test_an_interval_and_raw_probabilities_are_asked_for(
    visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]], penguins: str
) -> None:
    mass = finished_job(service, {"data": {"kind": "dataset", "id": penguins, "target": "body_mass_g"}})
    published(service, "masses", [mass])
    page = visitor.go("version/masses:1/predict")
    page.locator("[name=interval]").select_option("0.9")
    fill(page, ROW)
    page.get_by_role("button", name="Predict", exact=True).click()
    asked = service.post("/v1/models/masses/predict", params={"interval": 0.9}, json={"rows": [ROW]}).json()
    lower, upper = (f"{asked['predictions'][0][end]:.6g}" for end in ("lower", "upper"))
    expect(page.locator("main")).to_contain_text(f"90% interval: {lower} to {upper}")
    expect(page.get_by_label("Calibrated probabilities")).to_be_hidden()

    published(service, "sets", trained[:1])
    page = visitor.go("version/sets:1/predict")
    page.locator("[name=interval]").select_option("0.8")
    fill(page, ROW)
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("main")).to_contain_text("80% set of classes: Adelie")

    page.get_by_label("Calibrated probabilities").uncheck()
    with page.expect_request(lambda request: "calibrated=false" in request.url):
        page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.get_by_text("Prediction: Adelie")).to_be_visible()


def test_drift_of_a_file_is_measured(
    visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]], tmp_path: Path
) -> None:
    published(service, "drifts", trained[:1])
    head, *lines = PENGUINS.read_text().splitlines()
    place = head.split(",").index("island")
    changed = tmp_path / "changed.csv"
    rows = [line.split(",") for line in lines]
    changed.write_text("\n".join([head, *(",".join([*row[:place], "Lofoten", *row[place + 1 :]]) for row in rows)]))

    page = visitor.go("version/drifts:1/drift")
    page.set_input_files("input[type=file]", changed)
    page.get_by_role("button", name="Measure drift", exact=True).click()

    expect(page.get_by_role("list", name="Findings")).to_contain_text("island")
    first = page.get_by_role("region", name="Drift of columns").locator("tbody tr").first
    expect(first).to_contain_text("island▲ large")
    expect(first).to_contain_text("Lofoten")
    drawn = page.get_by_role("img", name="Shares of island")
    expect(drawn).to_be_visible()
    assert "NaN" not in drawn.inner_html()
    expect(page.get_by_role("region", name="What moved the predictions")).to_contain_text("island")
    assert violations(page) == []


def test_new_labelled_rows_are_evaluated_beside_those_of_the_report(
    visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]], tmp_path: Path
) -> None:
    published(service, "evaluated", trained[:1])
    page = visitor.go("version/evaluated:1/evaluate")
    page.set_input_files("input[type=file]", PENGUINS)
    page.get_by_role("button", name="Evaluate").click()

    headers = {"Content-Type": "text/csv"}
    content = PENGUINS.read_bytes()
    found = service.post("/v1/models/evaluated/evaluate", content=content, headers=headers).raise_for_status().json()
    compared = page.get_by_role("region", name="Compared with training").locator("tbody tr").first
    for part in (found, found["compared_with"]):
        expect(compared).to_contain_text(f"{part['classification']['accuracy']['value']:.3g}")
    expect(page.get_by_role("region", name="Confusion matrix")).to_be_visible()
    assert violations(page) == []

    wrong = tmp_path / "wrong.csv"
    wrong.write_text(PENGUINS.read_text().replace("Gentoo", "Emperor", 1))
    page.set_input_files("input[type=file]", wrong)
    page.get_by_role("button", name="Evaluate").click()
    expect(page.get_by_role("alert").filter(has_text="Emperor")).to_be_visible()
    expect(page.get_by_role("region", name="Confusion matrix")).to_have_count(0)
    visitor.faults[:] = [each for each in visitor.faults if "400" not in each and "422" not in each]


def test_an_ensemble_is_exported(visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]]) -> None:
    members = [{"job": job["id"]} for job in trained]
    service.post("/v1/models", json={"name": "exported", "from": {"members": members}}).raise_for_status()
    page = visitor.go("version/exported:1/details")

    with page.expect_download(timeout=60_000) as downloading:
        page.get_by_label("File to export").select_option("Bundle with model card")
        page.get_by_role("button", name="Export", exact=True).click()

    assert downloading.value.suggested_filename == "exported-1.zip"
    expect(page.get_by_text("Making Bundle")).to_have_count(0)

    page.route("**/download?format=onnx", lambda route: None)
    page.get_by_label("File to export").select_option("ONNX (raw columns in)")
    page.get_by_role("button", name="Export", exact=True).press("Enter")
    expect(page.get_by_text("Making ONNX")).to_be_visible()
    page.get_by_role("button", name="Cancel export").press("Enter")
    expect(page.get_by_text("Making ONNX")).to_have_count(0)
    expect(page.get_by_role("button", name="Export", exact=True)).to_be_focused()


def test_an_alias_is_moved_and_rolled_back_with_its_history(
    visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]]
) -> None:
    published(service, "moves", trained)
    page = visitor.go("model/moves")
    page.on("dialog", lambda dialog: dialog.accept())
    aliases = page.get_by_role("region", name="Aliases")
    expect(aliases.locator("tbody tr")).to_contain_text("championversion 1")

    page.locator("select[name=version]").select_option("2")
    page.get_by_role("button", name="Move alias").click()
    expect(aliases.locator("tbody tr")).to_contain_text("championversion 2version 1")
    assert service.get("/v1/models/moves/aliases/champion").json()["version"] == 2

    aliases.get_by_role("button", name="Roll back").click()
    expect(aliases.locator("tbody tr")).to_contain_text("championversion 1")
    assert service.get("/v1/models/moves/aliases/champion").json()["version"] == 1

    aliases.get_by_role("button", name="History").click()
    moves = page.get_by_role("dialog").locator("li")
    expect(moves).to_have_count(3)
    expect(moves.nth(0)).to_contain_text("moved from version 2 to version 1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_two_versions_are_compared(visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]]) -> None:
    published(service, "compared", trained)

    page = visitor.go("model/compared?from=1&to=2")

    differences = page.get_by_role("region", name="Differences")
    expect(differences).to_contain_text("architecture.batch_norm")
    expect(differences).not_to_contain_text("optimizer.lr")
    metrics = page.get_by_role("region", name="Metrics of both versions")
    values = [
        service.get(f"/v1/models/compared/versions/{number}").json()["metrics"]["validation"]["values"]["log_loss"]
        for number in (1, 2)
    ]
    row = metrics.locator("tr", has_text="Validation log_loss")
    for value in values:
        expect(row).to_contain_text(f"{value:.4g}")


def test_a_greedy_ensemble_of_a_sweep_is_published(visitor: Visitor, service: httpx2.Client, penguins: str) -> None:
    base = {"data": {"kind": "dataset", "id": penguins, "target": "species"}, "max_epochs": 5}
    sweep = service.post("/v1/sweeps", json={"base": base, "grid": {"optimizer.lr": [0.001, 0.01]}}).json()
    wait_for_end(service, f"/v1/sweeps/{sweep['id']}")
    page = visitor.go(f"sweep/{sweep['id']}")
    page.get_by_role("button", name="Publish…").click()
    dialog = page.get_by_role("dialog", name="Publish a model")
    dialog.get_by_label("Model", exact=False).first.fill("ensemble")
    dialog.get_by_label("Members").select_option("greedy")
    dialog.get_by_role("button", name="Publish", exact=True).click()

    expect(page.locator("h1")).to_contain_text("ensemble version 1")
    version = service.get("/v1/models/ensemble/versions/1").raise_for_status().json()
    assert version["from"]["select"] == "greedy"
    page.get_by_role("link", name="Details", exact=True).click()
    expect(page.get_by_role("region", name="Members").locator("tbody tr")).to_have_count(version["member_count"])


def test_a_version_with_an_alias_is_not_deleted(
    visitor: Visitor, service: httpx2.Client, trained: list[dict[str, Any]]
) -> None:
    published(service, "kept", trained)
    page = visitor.go("version/kept:1/details")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete version").click()
    expect(page.locator("#toasts")).to_contain_text("champion")

    page = visitor.go("version/kept:2/details")
    page.get_by_role("button", name="Delete version").click()
    expect(page.locator("h1")).to_have_text("kept")
    expect(page.get_by_role("region", name="Versions").locator("tbody tr")).to_have_count(1)
    visitor.faults[:] = [each for each in visitor.faults if "409" not in each]
