"""What a reader learns first about drift."""

from __future__ import annotations

from service.drift.report import DriftReport, PredictionMove
from tests.drift.examples import column_drift, drift_report


def said(report: DriftReport) -> list[tuple[str, str]]:
    return [(each.level, each.text) for each in report.findings]


def test_drifted_columns_come_first_then_what_they_did_to_the_predictions() -> None:
    assert said(drift_report()) == [
        ("warning", "1 of 2 columns has drifted: mass (PSI 0.4)."),
        (
            "warning",
            "The predictions have drifted: PSI 0.3 of prediction; the mean probability of no went from 0.6 to 0.4, of "
            "which -0.15 by the column mass.",
        ),
    ]


def test_a_moderate_drift_is_a_note_and_none_is_good() -> None:
    moderate = drift_report(column_drift("a", 0.2), predictions=[], moved=None)
    none = drift_report(column_drift("a", 0.01), predictions=[column_drift("prediction", 0.01)])

    assert said(moderate) == [("note", "1 of 1 columns has drifted: a (PSI 0.2).")]
    assert said(none) == [
        ("good", "The column has not drifted."),
        ("good", "The predictions have not drifted."),
    ]


def test_only_the_first_of_many_columns_are_named() -> None:
    report = drift_report(*(column_drift(f"c{i}", 0.3) for i in range(8)), predictions=[], moved=None)

    assert said(report)[0][1].startswith("8 of 8 columns have drifted: c0 (PSI 0.3), c1")
    assert said(report)[0][1].endswith("c4 (PSI 0.3) and 3 more.")


def test_unseen_values_are_named_where_they_are_more_than_a_few() -> None:
    report = drift_report(
        column_drift("island", 0.01, unseen=0.2, unseen_texts=["Ross", "Scott"]),
        column_drift("mass", 0.01, unseen=0.03),
        column_drift("noise", 0.01, unseen=0.001),
        predictions=[],
        moved=None,
    )

    assert said(report)[1:] == [
        ("note", "20% of the rows have a text in island that no training row has: 'Ross', 'Scott'."),
        ("note", "3% of the rows have a value in mass outside the range of the training rows."),
    ]


def test_an_index_that_may_be_chance_is_said_to_be_unclear() -> None:
    report = drift_report(column_drift("a", 0.4, drift="none", psi_limit=0.5), predictions=[], moved=None)

    assert said(report)[1][1] == (
        "With 100 rows the PSI of 1 of the columns is above 0.1, but not above what it may be by chance: more rows "
        "would tell."
    )


def test_the_mean_of_a_number_is_named_after_the_target() -> None:
    moved = PredictionMove(outputs=["price"], training=[2.0], rows=[3.0], by=[])

    report = drift_report(moved=moved)

    assert said(report)[1][1] == (
        "The predictions have drifted: PSI 0.3 of prediction; the mean price went from 2 to 3."
    )
