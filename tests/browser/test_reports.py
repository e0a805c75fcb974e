"""The report of a job: findings, metrics, charts, costs, documents, and what is shown where it cannot be made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from examples.local_service import running_service
from tests.browser.conftest import Visitor, visits
from tests.browser.test_odd_cases import ENDLESS, finished_job
from tests.processes import wait_for_end


@pytest.fixture(scope="module")
def churn(service: httpx2.Client) -> dict[str, Any]:
    """A finished job of two classes, with test rows."""
    rng = np.random.default_rng(0)
    calls, plan = rng.poisson(2, 600), rng.choice(["basic", "plus"], 600)
    leaves = rng.random(600) < 1 / (1 + np.exp(2 - calls))
    lines = [f"{c},{p},{'yes' if y else 'no'}" for c, p, y in zip(calls, plan, leaves, strict=True)]
    table = "\n".join(["calls,plan,churn", *lines]).encode()
    dataset = service.post("/v1/datasets", params={"name": "churn.csv"}, content=table).json()
    data = {"kind": "dataset", "id": dataset["id"], "target": "churn"}
    return finished_job(service, {"name": "churn", "data": data, "split": {"test": 0.3}, "max_epochs": 20})


def test_a_finished_job_opens_with_its_report(visitor: Visitor, service: httpx2.Client, churn: dict[str, Any]) -> None:
    report = service.get(f"/v1/jobs/{churn['id']}/report").raise_for_status().json()
    section = report["classification"]

    page = visitor.go(f"job/{churn['id']}")

    findings = page.get_by_role("list", name="Findings").locator("li")
    expect(findings).to_have_count(len(report["findings"]))
    expect(findings.first).to_contain_text(report["findings"][0]["text"])
    expect(page.locator("main")).to_contain_text(f"Measured on {report['evaluated']['rows']} test rows")
    metrics = page.get_by_role("region", name="Metrics").locator("tbody tr")
    expect(metrics.first).to_contain_text(f"Accuracy{section['accuracy']['value']:.3g}")
    cells = page.get_by_role("region", name="Confusion matrix").locator("tbody td")
    assert cells.all_inner_texts() == [str(count) for row in section["confusion"]["counts"] for count in row]
    models = page.get_by_role("region", name="Comparison with simple models").locator("tbody tr")
    expect(models).to_have_count(1 + len(report["baselines"]["models"]))
    first = report["importance"]["columns"][0]["columns"][0]
    expect(page.get_by_role("region", name="Importance of columns").locator("tbody tr").first).to_contain_text(first)
    worst = page.get_by_role("region", name="Worst rows").locator("tbody tr")
    expect(worst.first).to_contain_text(str(report["worst"]["rows"][0]["row"]))
    for chart in ("ROC curve", "Precision-recall curve", "Reliability", "Effect of calls"):
        drawn = page.get_by_role("img", name=chart)
        expect(drawn).to_be_visible()
        assert "NaN" not in (drawn.inner_html() + (drawn.get_attribute("viewBox") or ""))


def test_the_cheapest_threshold_is_found_for_given_costs(
    visitor: Visitor, service: httpx2.Client, churn: dict[str, Any]
) -> None:
    page = visitor.go(f"job/{churn['id']}")
    page.get_by_label("Cost of a missed “yes”").fill("9")
    page.get_by_role("button", name="Find the cheapest threshold").click()

    costs = '{"false_positive": 1, "false_negative": 9}'
    best = service.get(f"/v1/jobs/{churn['id']}/report", params={"costs": costs}).json()
    found = next(each["at"] for each in best["classification"]["thresholds"]["best"] if each["metric"] == "cost")
    row = page.get_by_role("region", name="Best thresholds").locator("tr", has_text="lowest cost")
    expect(row).to_contain_text(f"{found['threshold']:.3g} (lowest cost)")
    expect(page.get_by_label("Cost of a missed “yes”")).to_have_value("9")

    page.get_by_label("Cost of a missed “yes”").fill("-1")
    page.get_by_role("button", name="Find the cheapest threshold").click()
    expect(page.locator("[name=false_negative]:invalid")).to_be_focused()
    expect(page.locator("main")).not_to_contain_text("No report")


def test_the_report_of_a_running_job_appears_when_it_ends(visitor: Visitor, service: httpx2.Client) -> None:
    job = service.post("/v1/jobs", json=ENDLESS).json()
    while service.get(f"/v1/jobs/{job['id']}").json()["best"] is None:
        service.get(f"/v1/jobs/{job['id']}", params={"wait": 1})
    page = visitor.go(f"job/{job['id']}/report")
    expect(page.get_by_text("No report:")).to_be_visible()

    service.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()

    expect(page.get_by_role("list", name="Findings")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("No report:")).to_have_count(0)
    visitor.faults[:] = [each for each in visitor.faults if "409" not in each]


@pytest.mark.parametrize(("document", "ending"), [("HTML", ".html"), ("Markdown", ".md")])
def test_the_report_is_downloaded_as_a_document(
    visitor: Visitor, churn: dict[str, Any], tmp_path: Path, document: str, ending: str
) -> None:
    page = visitor.go(f"job/{churn['id']}")

    with page.expect_download() as downloading:
        page.get_by_role("button", name=f"Download as {document}").click()

    assert downloading.value.suggested_filename == f"{churn['id']}-report{ending}"
    downloading.value.save_as(tmp_path / "report")
    assert "churn" in (tmp_path / "report").read_text()


def test_a_regression_shows_residuals(visitor: Visitor, service: httpx2.Client, penguins: str) -> None:
    job = finished_job(service, {"data": {"kind": "dataset", "id": penguins, "target": "body_mass_g"}})
    report = service.get(f"/v1/jobs/{job['id']}/report").raise_for_status().json()

    page = visitor.go(f"job/{job['id']}")

    deciles = page.get_by_role("region", name="Error by decile").locator("tbody tr")
    expect(deciles).to_have_count(len(report["regression"]["deciles"]))
    for chart in ("Predicted against true value", "Histogram of residuals", "Residuals by prediction"):
        drawn = page.get_by_role("img", name=chart)
        expect(drawn).to_be_visible()
        assert "NaN" not in drawn.inner_html()


def test_a_job_without_kept_predictions_says_why_it_has_no_report(browser: Browser, tmp_path: Path) -> None:
    with running_service(tmp_path, BESTEPOCH_KEEP="last") as client:
        job = finished_job(client, {"data": {"kind": "synthetic"}, "max_epochs": 2})
        reason = client.get(f"/v1/jobs/{job['id']}/report").json()["detail"]
        for visitor in visits(browser, str(client.base_url).rstrip("/")):
            page = visitor.go(f"job/{job['id']}")

            expect(page.locator("main")).to_contain_text(f"No report: {reason}")
            page.get_by_role("link", name="Training", exact=True).click()
            expect(page.locator(".marker text")).to_be_visible()
            visitor.faults[:] = [each for each in visitor.faults if "409" not in each]


def test_the_cost_of_retraining_is_shown_before_its_answers(
    visitor: Visitor, service: httpx2.Client, penguins: str
) -> None:
    data = {"kind": "dataset", "id": penguins, "target": "species", "features": ["island", "bill_length_mm"]}
    job = finished_job(service, {"data": data, "max_epochs": 3, "split": {"test": 0.2}})
    page = visitor.go(f"job/{job['id']}")
    expect(page.get_by_role("list", name="Findings")).to_be_visible(timeout=60_000)

    page.get_by_role("button", name="Show the cost").click()
    plan = service.get(f"/v1/jobs/{job['id']}/retraining").json()
    assert plan["sweep"] is None
    page.get_by_role("button", name=f"Train {plan['jobs']} jobs").click()
    expect(page.get_by_role("link", name="the sweep that retrains this job")).to_be_visible()
    sweep = service.get(f"/v1/jobs/{job['id']}/retraining").json()["sweep"]
    wait_for_end(service, f"/v1/sweeps/{sweep}")

    page.reload()
    page.get_by_role("button", name="Show the cost").click()
    expect(page.get_by_role("img", name="Learning curve")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("region", name="Without a column").locator("tbody tr")).to_have_count(2)
