"""Reports as Markdown and HTML: complete, escaped, without anything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reports.documents import charts
from service.reports.documents.html import to_html
from service.reports.documents.markdown import escaped, to_markdown
from service.reports.documents.plot import Plot, cut, ticks
from service.reports.report import Report
from service.reports.sections.estimate import Estimate
from service.reports.sections.slices import SliceCondition
from service.reports.text import cell, condition, estimate, number, time
from tests.reports.examples import classification_report, evaluation, regression_report, version_report

HOSTILE = "<script>alert('x')</script>|`*[a](javascript:b)\n\x00&"


class Elements(HTMLParser):
    """All elements and attributes, and whether elements close in order."""

    VOID = {"meta"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("report", [classification_report(), classification_report(5), regression_report()])
def test_html_is_well_formed_and_loads_nothing(report: Report) -> None:
    page = Elements(to_html(report))

    assert page.open == []
    assert page.names <= {
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "p", "main", "nav", "ul", "li", "a"),
        *(
            "section",
            "h2",
            "div",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "figure",
            "figcaption",
            "footer",
            "span",
        ),
        *("svg", "path", "text", "rect", "circle", "span"),
    }
    links = [value for name, value in page.attributes if name in ("href", "src")]
    assert all(value is not None and value.startswith("#") for value in links)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "url(" not in to_html(report)
    assert "@import" not in to_html(report)


@pytest.mark.parametrize("classes", [2, 3])
def test_names_from_data_are_text_in_both_documents(classes: int) -> None:
    report = classification_report(classes, column=HOSTILE, name=HOSTILE)

    page, markdown = Elements(to_html(report)), to_markdown(report)

    assert "script" not in page.names
    assert "<script>alert('x')</script>|`*[a](javascript:b)  &" in page.text
    assert re.search(r"(?<!\\)<script", markdown) is None
    assert re.search(r"(?<!\\)\[a\]", markdown) is None
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert all(width >= 3 for width in widths)
    for line, width, after in zip(tables, widths, widths[1:], strict=False):
        assert width == after or "---" not in line  # a head has as many cells as its rule


def test_the_first_words_of_both_documents_are_the_findings() -> None:
    report = classification_report()
    first = report.findings[0].text

    assert first in Elements(to_html(report)).text
    assert to_markdown(report).splitlines()[4].endswith(escaped(first))


def test_effects_are_of_probabilities_or_of_predictions() -> None:
    regression, classification = regression_report(), classification_report(3)
    assert regression.effects is not None
    assert classification.effects is not None

    assert f"How predictions of {regression.effects.outputs[0]} change with one column" in to_markdown(regression)
    names = ", ".join(classification.effects.outputs)
    assert f"How the probabilities of {names} change with one column" in to_markdown(classification)


def test_a_report_without_columns_says_what_is_missing() -> None:
    report = regression_report(columns=False)

    assert "the data set was deleted" in to_markdown(report)
    assert "What is missing here" in Elements(to_html(report)).text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0"), (2.0, "2"), (2024.0, "2024"), (12345.6, "12,346"), (0.12345, "0.123"), (1e-7, "1e-07")],
)
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_estimates_conditions_and_times_in_words() -> None:
    assert estimate(Estimate(value=0.5, low=0.4, high=0.61)) == "0.5 (0.4 to 0.61)"
    assert estimate(Estimate(value=1.0, low=None, high=None)) == "1"
    assert time(1_714_521_600.0) == "2024-05-01"
    assert time(1_714_525_200.0) == "2024-05-01 01:00"
    assert time(1e300) == "1e+300"
    assert cell(True) == "true"
    assert len(cell("x" * 1_000)) == 60

    def shown(**fields: object) -> str:
        given = {"column": "a", "value": None, "low": None, "high": None, "missing": False, **fields}
        return condition(SliceCondition.model_validate(given), {"when"})

    assert shown(value="b") == "a = b"
    assert shown(low=1.0, high=2.5) == "1 ≤ a < 2.5"
    assert shown(low=1.0) == "a ≥ 1"
    assert shown(high=1.0) == "a < 1"
    assert shown(missing=True) == "a is missing"
    assert shown(column="when", low=1_714_521_600.0) == "when ≥ 2024-05-01"


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12))
def test_ticks_are_round_numbers_within_the_range(low: float, width: float) -> None:
    high = low + width
    if high - low > 1e-9 * max(abs(low), abs(high)):
        found = ticks(low, high)
        slack = 1e-6 * width + 1e-9 * abs(low)
        assert 1 <= len(found) <= 8
        assert all(low - slack <= value <= high + slack for value in found)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.text(max_size=300))
def test_a_chart_of_one_value_is_drawn(value: float, name: str) -> None:
    plot = Plot((value, value), (value, value))
    plot.dot(value, value, "c0", name)
    plot.left_label(value, name)

    picture = Elements(plot.svg(name))

    assert picture.open == []
    assert "nan" not in plot.svg("")
    assert len(cut(name, 70)) <= 10


def test_curves_of_constant_predictions_are_drawn() -> None:
    report = classification_report(2, probabilities=np.full((60, 2), 0.5))

    assert Elements(to_html(report)).open == []


@pytest.mark.parametrize("name", ["(other)", "(macro)", "(low)"])
def test_a_class_in_parentheses_keeps_its_name(name: str) -> None:
    report = classification_report(2)
    section = report.classification
    assert section is not None
    named = section.model_copy(update={"reliability": section.reliability.model_copy(update={"of": name})})

    page = Elements(to_html(report.model_copy(update={"classification": named}))).text

    assert f"error of the probability of {name}" in page
    assert "error of the probability of the predicted class" in Elements(to_html(classification_report(3))).text


@pytest.mark.parametrize("classes", [3, 8])
def test_the_mean_curve_is_drawn_first(classes: int) -> None:
    report = classification_report(classes, name="(macro)")
    assert report.classification is not None

    for chart in (charts.roc, charts.precision_recall):
        shown = Elements(chart(report.classification).svg).text
        assert "mean of all classes" in shown
        assert shown.index("mean of all classes") < shown.index("(macro)") < shown.index("class 1")


def test_of_two_classes_no_mean_curve_is_drawn() -> None:
    assert "mean of all classes" not in to_html(classification_report(2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://example.com/a_b now", "see `https://example.com/a_b` now"),
        ("WWW.example.com", "`WWW.example.com`"),
        ("@team", "`@team`"),
        ("a*b #12", r"a\*b `#12`"),
        ("`me@example.com`|", r"\``me@example.com`\`\|"),
    ],
)
def test_what_github_links_is_code_in_markdown(text: str, expected: str) -> None:
    assert escaped(text) == expected
    assert expected in to_markdown(classification_report(3, name=text))


@given(st.text(st.sampled_from("a1 `|\\@#:/w.*_<&"), max_size=40))
def test_nothing_outside_of_code_is_linked_and_no_code_is_left_open(text: str) -> None:
    written = escaped(text)

    plain = re.sub(r"(\\.)|`[^`]*`", lambda found: found[1] or "", written)

    assert not re.search(r"://|www\.|@", plain.replace("\\", ""))
    assert "`" not in re.sub(r"\\.", "", plain)
    assert "\\" not in re.sub(r"\\.", "", plain)


@pytest.mark.parametrize("regression", [False, True])
def test_an_evaluation_is_beside_the_rows_of_training(regression: bool) -> None:
    found = evaluation(regression=regression)

    markdown, page = to_markdown(found), Elements(to_html(found))

    assert page.open == []
    for text in (markdown, page.text):
        assert "Version 1 of churn, measured on 60 new rows with a label" in text
        assert "60 test rows of training" in text
        assert "No significant difference to the 60 test rows of training" in text
        assert "1 of 63 rows are left out of every number here: they have no label" in text
        assert "none were kept" in text


def test_the_report_of_a_version_has_the_sections_of_a_job() -> None:
    titles = re.compile("<h2>(.*?)</h2>")

    assert titles.findall(to_html(version_report())) == titles.findall(to_html(classification_report()))
