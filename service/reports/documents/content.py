"""A report as a document: headings, sentences, tables and charts, in the order in which people ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.reports.documents import charts, column_charts, metrics_content, retraining_content
from service.reports.documents.blocks import Callout, Charts, Document, Paragraph, Section, Table
from service.reports.findings import LOSSES, model_name
from service.reports.report import Report, VersionReport
from service.reports.text import cell, condition, estimate, number
from service.spec.job import Task

if TYPE_CHECKING:
    from service.reports.documents.blocks import Block
    from service.reports.report import MissingSection, ReportSections, WorstRows
    from service.reports.sections.baselines import Baselines
    from service.reports.sections.effects import Effects
    from service.reports.sections.importance import Importance, Loss
    from service.reports.sections.slices import SlicesSection

VERDICTS = {
    "network_better": "network better",
    "no_difference": "no significant difference",
    "baseline_better": "this one is better",
}
TITLES = {
    "baselines": "Comparison with simple models",
    "importance": "Which columns matter",
    "effects": "Effects of columns",
    "slices": "Where it is wrong",
    "retraining": retraining_content.TITLE,
    "compared_with": "Comparison with the rows held out in training",
    "conformal": "Coverage of intervals or sets of classes",
}
METRICS = {"accuracy": "Accuracy", "mae": "Mean absolute error", "r2": "R²"}
ROW_LOSSES = {"rmse": "Squared error", "mae": "Absolute error"}
IMPORTANT = 20
SHOWN_ROWS, SHOWN_COLUMNS = 20, 6  # of the worst rows
TWO_TEXTS = frozenset({0, 1})


def report_document(report: ReportSections) -> Document:
    """The whole document."""
    sections = []
    if report.baselines is not None:
        sections.append(_baselines(report.baselines, _average(report)))
    if report.classification is not None:
        sections += metrics_content.classification(report.classification)
    if report.regression is not None:
        sections += metrics_content.regression(report.regression)
    calibrated = metrics_content.calibration(report.classification, report.temperature, report.conformal)
    sections += [] if calibrated is None else [calibrated]
    if report.importance is not None:
        sections.append(_importance(report.importance))
    if report.effects is not None and report.effects.columns:
        sections.append(_effects(report.effects, report.time_columns, report.task))
    if report.slices is not None:
        sections.append(slices_section(report.slices, report.time_columns))
    if isinstance(report, Report) and report.retraining is not None:
        sections.append(retraining_content.retraining(report.retraining))
    sections.append(worst_section(report.worst, report.loss, report.time_columns, "in the data set"))
    sections += missing_section(report.missing)
    sections.append(_about(report))
    findings: list[Block] = [Callout(each.level, each.text) for each in report.findings]
    title = f"{report.task.value.capitalize()} of {report.target}"
    subtitle = f"{_subject(report)}, {_evaluated(report)}."
    return Document(title, subtitle, findings, sections, footer=_origin(report)[0][1])


def _subject(report: ReportSections) -> str:
    """What the report is about."""
    match report:
        case Report():
            return f"Epoch {report.epoch}"
        case VersionReport():
            return f"Version {report.version} of {report.model}, {_average(report)}"
        case _:
            return "Predictions"


def _evaluated(report: ReportSections) -> str:
    """Which rows the metrics are measured on, and how many rows trained the network or the members."""
    rows, several = report.evaluated, isinstance(report, VersionReport) and len(report.members) > 1
    unseen = " that it was not trained on"
    if several and rows.part == "validation":
        unseen = ", each predicted by the members that were not trained on it"
    trained = "all members together were trained" if several else "trained"
    return f"measured on {rows.rows:,} {rows.part} rows{unseen}" + (
        f"; {trained} on {rows.training:,} rows" if rows.training is not None else ""
    )


def _average(report: ReportSections) -> str:
    """What predicts."""
    match report:
        case VersionReport(members=members) if len(members) > 1:
            return f"the weighted average of {len(members)} networks"
        case VersionReport(members=[member]):
            return f"epoch {member.epoch} of {member.job}"
        case _:
            return "this job's best epoch"


def _baselines(found: Baselines, average: str) -> Section:
    loss = LOSSES[found.loss]
    rows = [("Network", found.network, "c1")]
    rows += [(model_name(model, found.loss), model.loss, "c0") for model in found.models]
    names = list(found.network_metrics)
    shown = [METRICS.get(name, name) for name in names]
    head = ("Model", "What it is", f"{loss[0].upper()}{loss[1:]}", *shown, "Difference to the network", "Verdict")
    own = (number(found.network_metrics[name]) for name in names)
    cells = [("Network", average, estimate(found.network), *own, "", "")]
    cells += [
        (
            model_name(model, found.loss),
            model.description,
            estimate(model.loss),
            *(number(model.metrics.get(name)) for name in names),
            estimate(model.difference),
            VERDICTS[model.verdict],
        )
        for model in found.models
    ]
    fits = "" if found.fits == 1 else f" in each of {found.fits} fits, such as folds, averaged as the networks are"
    text = (
        f"Trained on {found.training_rows:,} training rows{fits}; stopped by the validation rows where they learn in "
        "rounds, and scored on the same rows as the network, none of which a model was trained on. Differences are "
        "paired: the same resampled rows for both."
    )
    blocks: list[Block] = [
        Charts([charts.rows_with_intervals(f"{loss} (less is better)", loss, rows, bars=False)]),
        Table(head, cells, frozenset({0, 1, len(head) - 1})),
        Paragraph(text),
    ]
    if found.missing is not None:
        blocks.append(Callout("note", found.missing))
    return Section(TITLES["baselines"], blocks)


def _importance(found: Importance) -> Section:
    loss = LOSSES[found.loss]
    text = (
        f"By how much the {loss} increases when a column's values are shuffled between {found.rows:,} rows, "
        f"{found.repeats} times. Columns that tell each other are also shuffled together: alone, each may look "
        "unimportant because the network has the other."
    )
    columns = sum(len(each.columns) == 1 for each in found.columns)
    if found.compared < columns:
        text += f" Of the {columns:,} columns the first {found.compared:,} were compared to find them."
    rows = [(" + ".join(each.columns), estimate(each.increase)) for each in found.columns[:IMPORTANT]]
    head = ("Column", f"Increase of the {loss}")
    return Section(
        TITLES["importance"], [Paragraph(text), Charts([column_charts.importance(found, loss)]), Table(head, rows)]
    )


def _effects(found: Effects, times: list[str], task: Task) -> Section:
    if task is Task.regression:
        change = f"predictions of {found.outputs[0]} change"
    elif len(found.outputs) == 1:
        change = f"the probability of {found.outputs[0]} changes"
    else:
        change = f"the probabilities of {', '.join(found.outputs[: column_charts.OUTPUTS])} change"
    text = (
        f"How {change} with one column: accumulated local effects for numbers, and for texts the mean prediction "
        "if every row had this text. 0 is the mean of all rows."
    )
    drawn = [] if len(found.outputs) == 1 else [column_charts.legend(found)]
    drawn += [column_charts.effect(column, found, times) for column in found.columns]
    return Section(TITLES["effects"], [Paragraph(text), Charts(drawn)])


def slices_section(found: SlicesSection, times: list[str]) -> Section:
    """Where the error is larger than elsewhere."""
    if not found.looked_at:
        none = f"No slice of one column has at least {found.min_rows:,} rows inside and outside."
        return Section(TITLES["slices"], [Paragraph(none)])
    text = (
        f"{found.looked_at:,} slices of one column and {found.pairs:,} pairs, of at least {found.min_rows:,} rows, "
        "were looked at; p-values are corrected for their number."
    )
    if not found.slices:
        return Section(TITLES["slices"], [Paragraph(f"{text} In none of them is the error significantly larger.")])
    rows = [
        (
            " and ".join(condition(each, times) for each in one.conditions),
            f"{one.rows:,}",
            number(one.mean_loss),
            number(one.rest_mean_loss),
            number(one.corrected_p_value, 2),
        )
        for one in found.slices
    ]
    head = ("Where", "Rows", "Mean loss", "Mean loss elsewhere", "p-value")
    return Section(TITLES["slices"], [Paragraph(text), Table(head, rows)])


def worst_section(found: WorstRows, loss: Loss, times: list[str], where: str) -> Section:
    """The worst rows; `where`: in what they are numbered."""
    columns = found.columns[:SHOWN_COLUMNS]
    of_class = loss == "log_loss"
    score = "Probability of the true class" if of_class else ROW_LOSSES.get(loss, "Loss")
    head = ("Row", "True", "Predicted", score, *columns)
    rows = [
        (
            f"{each.row}",
            cell(each.truth),
            cell(each.prediction),
            number(each.probability if of_class else each.loss),
            *(cell(each.values.get(name), time=name in times) for name in columns),
        )
        for each in found.rows[:SHOWN_ROWS]
    ]
    texts = [name for name in columns if any(isinstance(each.values.get(name), str) for each in found.rows)]
    of_text = {0, *({1, 2} if of_class else ()), *(4 + columns.index(name) for name in texts)}
    text = f"The {len(rows)} rows with the largest loss, numbered from 0 as {where}, and their important columns."
    return Section("The worst rows", [Paragraph(text), Table(head, rows, frozenset(of_text))])


def missing_section(missing: list[MissingSection]) -> list[Section]:
    """What is missing, and why; nothing if nothing is."""
    if not missing:
        return []
    rows = [(TITLES.get(each.section, each.section), each.reason) for each in missing]
    return [Section("What is missing here", [Table(("Section", "Reason"), rows, TWO_TEXTS)])]


def _about(report: ReportSections) -> Section:
    rows = report.evaluated
    facts = [
        *_origin(report),
        ("Target", report.target),
        ("Training rows", "unknown" if rows.training is None else f"{rows.training:,}"),
        ("Validation rows", f"{rows.validation:,}"),
        ("Test rows", f"{rows.test:,}"),
    ]
    text = (
        "Intervals are 95% bootstrap or score intervals of the evaluated rows: they say how much a number would vary "
        "with other rows of the same kind, not with another training."
    )
    return Section("About this report", [Table(("", ""), facts, TWO_TEXTS), Paragraph(text)])


def _origin(report: ReportSections) -> list[tuple[str, str]]:
    """The job and its weights, or the version and those of its members."""
    match report:
        case Report():
            job, epoch, sha256 = report.job, str(report.epoch), report.checkpoint_sha256
            return [("Job", job), ("Epoch", epoch), ("Weights (SHA-256)", sha256)]
        case VersionReport():
            members = [
                (f"Member {place}", f"{each.job}, epoch {each.epoch}, weight {number(each.weight)}, {each.sha256}")
                for place, each in enumerate(report.members, start=1)
            ]
            return [("Model", f"{report.model}, version {report.version}"), *members]
        case _:
            return []
