"""Data set pages: every column type, images, many columns, and upload by drag and drop."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import PENGUINS, Visitor

ROWS = 300
START = datetime(2023, 1, 1, tzinfo=UTC)


def every_column_type() -> str:
    """A CSV with a column of each type, and with the special cases of each."""
    rng = np.random.default_rng(0)
    columns: dict[str, list[object]] = {
        "count": list(range(ROWS)),
        "few_integers": [int(value) for value in rng.integers(0, 3, ROWS)],
        "large": [int(value) * 10**12 for value in rng.integers(1, 9, ROWS)],
        "price": [f"{value:.3f}" for value in rng.normal(size=ROWS)],
        "tiny": [f"{value:.3e}" for value in rng.normal(size=ROWS) * 1e-9],
        "member": ["true" if value else "false" for value in rng.integers(0, 2, ROWS)],
        "plan": [["basic", "pro"][row % 2] for row in range(ROWS)],
        "city": [f"city {value}" for value in rng.integers(0, 90, ROWS)],
        "comment": [f"comment {row}" for row in range(ROWS)],
        "date": [(START + timedelta(days=row)).date() for row in range(ROWS)],
        "date_with_gaps": [(START + timedelta(days=row)).date() if row % 3 else "" for row in range(ROWS)],
        "one_date": [START.date()] * ROWS,
        "timestamp": [(START + timedelta(minutes=97 * row)).strftime("%Y-%m-%d %H:%M:%S") for row in range(ROWS)],
        "constant": [7] * ROWS,
        "constant_text": ["DE"] * ROWS,
        "missing": [""] * ROWS,
        "species": [["adelie", "gentoo", "chinstrap"][row % 3] for row in range(ROWS)],
    }
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def every_type(service: httpx2.Client) -> dict[str, object]:
    answer = service.post("/v1/datasets", params={"name": "every type"}, content=every_column_type().encode())
    found: dict[str, object] = answer.raise_for_status().json()
    return found


def test_a_table_with_every_column_type_is_shown(visitor: Visitor, every_type: dict[str, object]) -> None:
    page = visitor.go(f"dataset/{every_type['id']}")

    expect(page.locator("h1")).to_have_text("every type")
    for name, texts in {
        "count": ["integer", "300 unique, none missing", "0 to 299, mean 149.5"],
        "price": ["number"],
        "member": ["boolean", "2 unique", "false", "true"],
        "plan": ["text", "basic", "pro"],
        "city": ["text", "more"],
        "date": ["datetime", "300 unique", "2023-01-01 to 2023-10-27"],
        "date_with_gaps": ["datetime", "100 missing (33.33%)"],
        "one_date": ["datetime", "1 unique", "always 2023-01-01"],
        "timestamp": ["datetime", "2023-01-01 to 2023-01-21 03:23:00"],
        "constant": ["integer", "1 unique", "always 7"],
        "missing": ["0 unique, 300 missing (100%)"],
    }.items():
        card = page.locator(".card").filter(has=page.locator("h3", has_text=re.compile(f"^{name} ")))
        for text in texts:
            expect(card).to_contain_text(text)
    expect(page.locator("[aria-label='First rows'] tbody tr")).to_have_count(10)
    expect(page.locator("[aria-label='First rows']")).to_contain_text("2023-01-01")
    assert page.locator("svg.histogram[aria-label*=' date ']").count() == 1


def test_a_table_with_every_column_type_is_trained_and_predicted(
    visitor: Visitor, every_type: dict[str, object]
) -> None:
    page = visitor.go(f"new?data={every_type['id']}")
    page.get_by_label("Target column").select_option("species")
    page.get_by_label("Max epochs").fill("2")
    expect(page.get_by_label("Preview")).to_contain_text("classification")
    page.get_by_role("button", name="Train", exact=True).click()

    expect(page.locator("h1 .status")).to_have_text("succeeded", timeout=60_000)
    page.get_by_role("link", name="Training", exact=True).click()
    expect(page.locator(".facts").first).to_contain_text("Test metrics")
    page.get_by_role("link", name="Predict", exact=True).click()
    page.locator("[name=date]").fill("2024-02-29")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.get_by_text("Prediction:")).to_be_visible(timeout=60_000)


def test_an_image_data_set_shows_its_columns_in_pages(visitor: Visitor, service: httpx2.Client) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3), dtype=np.uint8)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        for number, image in enumerate(pixels):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "png")
            files.writestr(f"{'cat' if number % 2 else 'dog'}/{number}.png", png.getvalue())
    answer = service.post("/v1/datasets", params={"name": "images"}, content=archive.getvalue())

    page = visitor.go(f"dataset/{answer.raise_for_status().json()['id']}")
    expect(page.locator(".card")).to_have_count(60)
    page.get_by_role("button", name="Show more columns").click()
    expect(page.locator(".card")).to_have_count(120)
    page.get_by_role("link", name="Train a model").click()
    expect(page.get_by_label("Architecture")).to_have_value("cnn")
    expect(page.get_by_label("Input shape")).to_have_value("3, 8, 8")


def test_a_file_dropped_on_any_page_is_uploaded(visitor: Visitor) -> None:
    page = visitor.go("jobs")

    page.evaluate(
        """text => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([text], "dropped.csv"));
          const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent("drop", options));
        }""",
        PENGUINS.read_text() + "\n",
    )

    expect(page.locator("h1")).to_have_text("Data sets")
    expect(page.locator(".uploads")).to_contain_text("dropped.csv: 344 rows, 8 columns", timeout=60_000)


def test_a_large_file_is_uploaded_in_parts_and_resumed_after_a_reload(
    visitor: Visitor, service: httpx2.Client, tmp_path: Path
) -> None:
    file = tmp_path / "large.csv"
    file.write_text("number,kind\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(300_000)))
    page = visitor.go("datasets")
    page.route("**/parts/3", lambda route: None)  # this request never ends
    page.set_input_files("input[type=file]", file)
    with page.expect_request("**/parts/3"):
        pass
    (begun,) = service.get("/v1/datasets/uploads").json()["data"]
    page.unroute("**/parts/3")
    page.reload()
    sent = list[str]()
    page.on("request", lambda request: sent.append(f"{request.method} {request.url.partition('/v1/')[2]}"))
    page.set_input_files("input[type=file]", file)

    expect(page.get_by_text("300,000 rows").first).to_be_visible()
    assert service.get("/v1/datasets/uploads").json()["data"] == []
    upload = f"datasets/uploads/{begun['id']}"
    assert f"GET {upload}" in sent
    assert f"POST {upload}/complete" in sent
    assert not {"POST datasets/uploads", f"PUT {upload}/parts/1", f"PUT {upload}/parts/2"} & set(sent)
