"""Versions of several members: their fields to try, the rows that metrics are of, and what another version predicts."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import httpx2
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.test_odd_cases import finished_job

CLASSES = ("a rather long name of a first class", "a_rather_long_name_of_a_second_class", "a rather long third name")
COLUMNS: dict[str, tuple[str, ...]] = {
    "size": ("1.5", "2.5", "3.5", "4.5", "5.5"),
    "code": ("001", "002", "true"),
    "paid": ("true", "false"),
    "at": ("2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"),
    "y": CLASSES,
}


def uploaded(service: httpx2.Client, rows: int) -> str:
    """The id of a table of so many rows."""
    columns = [islice(cycle(values), rows) for values in COLUMNS.values()]
    lines = [",".join(COLUMNS), *(",".join(row) for row in zip(*columns, strict=True))]
    return str(service.post("/v1/datasets", content="\n".join(lines)).raise_for_status().json()["id"])


def published(service: httpx2.Client, name: str, specs: list[dict[str, Any]], **more: Any) -> None:
    """A version whose members are jobs of these specs."""
    jobs = [finished_job(service, {"max_epochs": 3, **spec}) for spec in specs]
    members = [{"job": job["id"]} for job in jobs]
    service.post("/v1/models", json={"name": name, "from": {"members": members}, **more}).raise_for_status()


def of(table: str, *features: str, **more: Any) -> dict[str, Any]:
    """A spec."""
    return {"data": {"id": table, "target": "y", "features": list(features)}, **more}


def predict(page: Page) -> None:
    page.get_by_role("button", name="Predict", exact=True).click()


def test_each_column_of_the_members_has_a_field_of_its_type(visitor: Visitor, service: httpx2.Client) -> None:
    table = uploaded(service, 300)
    seeds = [of(table, "size", "code", split={"seed": 1}), of(table, "size", "paid", "at", split={"seed": 2})]
    published(service, "mixed", seeds)
    page = visitor.go("version/mixed:1/predict")

    page.locator("main [name=code]").select_option("true")
    page.locator("main [name=paid]").select_option("true")
    page.locator("main [name=at]").fill("2024")
    page.locator("main [name=size]").fill("$1,234.5")
    predict(page)
    alert = page.get_by_role("alert").filter(has_text="/rows/0/at")
    expect(alert).to_be_visible()
    assert alert.inner_text().count("a date such as") == 1

    page.locator("main [name=at]").fill("2024-01-01")
    row = {"code": "true", "paid": True, "at": "2024-01-01", "size": 1234.5}
    with page.expect_request("**/predict") as sent:
        predict(page)
    assert sent.value.post_data_json == {"rows": [{**row, "size": "$1,234.5"}]}
    answer = service.post("/v1/models/mixed/predict", json={"rows": [row]}).raise_for_status().json()
    expect(page.locator("main")).to_contain_text(f"Prediction: {answer['predictions'][0]['prediction']}")

    page = visitor.go("version/mixed:1/report")
    evaluated = page.get_by_text("each predicted by the members that were not trained on it")
    expect(evaluated).to_be_visible(timeout=60_000)
    matrix = page.get_by_role("region", name="Confusion matrix")
    assert matrix.evaluate("element => element.scrollWidth <= element.clientWidth"), "the matrix is cut off"
    visitor.faults[:] = [each for each in visitor.faults if "422" not in each]


def test_a_text_without_a_data_set_is_quoted(visitor: Visitor, service: httpx2.Client) -> None:
    table = uploaded(service, 120)
    published(service, "orphan", [of(table, "size", "code")])
    service.delete(f"/v1/datasets/{table}").raise_for_status()
    page = visitor.go("version/orphan:1/predict")

    expect(page.get_by_text("double quotes")).to_be_visible()
    page.locator("main [name=code]").fill('"001"')
    predict(page)

    expect(page.locator("main")).to_contain_text("Prediction: ")
    visitor.faults[:] = [each for each in visitor.faults if "422" not in each]


def test_a_shadow_predicts_the_same_row(visitor: Visitor, service: httpx2.Client) -> None:
    table = uploaded(service, 120)
    published(service, "shadowed", [of(table, "size")])
    page = visitor.go("version/shadowed:1/predict")
    expect(page.locator("main [name=size]")).to_be_visible()
    expect(page.get_by_label("Compare one row with")).to_be_hidden()

    published(service, "shadowed", [of(table, "size", seed=7)], alias="challenger")
    page.reload()
    page.get_by_label("Compare one row with").select_option("challenger")
    page.locator("main [name=size]").fill("2.5")
    predict(page)
    expect(page.locator("main")).to_contain_text("Version 2 (@challenger) predicts")


def test_metrics_of_different_rows_are_not_subtracted(visitor: Visitor, service: httpx2.Client) -> None:
    specs = [of(uploaded(service, rows), "size") for rows in (120, 240)]
    for spec in (*specs, {**specs[1], "seed": 5}):
        published(service, "grown", [spec])

    page = visitor.go("model/grown?from=1&to=2")
    row = page.get_by_role("region", name="Metrics of both versions").locator("tr", has_text="Validation log_loss")
    expect(row).to_contain_text("different rows")
    expect(page.get_by_text("measured on different rows")).to_be_visible()

    page = visitor.go("model/grown?from=2&to=3")
    expect(page.locator("main")).to_contain_text("Version 3")
    expect(row).not_to_contain_text("different rows")


def test_numbers_keep_the_digits_before_the_point(visitor: Visitor) -> None:
    page = visitor.go("jobs")
    values = [22315.4, 1080123.7, 3514.46, 0.123456, 2e16, 0, -22315.4, 7.5e-6, 12000]

    script = "(values) => import('./web/lib/format.js').then(({ number }) => values.map((value) => number(value, 3)))"
    shown = page.evaluate(script, values)

    assert shown == ["22,315", "1,080,124", "3514", "0.123", "2.00e+16", "0", "-22,315", "7.50e-6", "12,000"]
