"""A small answer about drift, with all its parts."""

from __future__ import annotations

from service.drift.findings import findings
from service.drift.report import BinShares, ColumnDrift, DriftReport, MovedBy, PredictionMove
from service.spec.table import ColumnType


def column_drift(column: str = "mass", psi: float = 0.4, **fields: object) -> ColumnDrift:
    level = "none" if psi < 0.1 else "moderate" if psi < 0.25 else "large"
    values: dict[str, object] = {
        "column": column,
        "type": ColumnType.number,
        "drift": level,
        "psi": psi,
        "psi_expected": 0.01,
        "psi_limit": 0.02,
        "missing": 0.0,
        "training_missing": 0.0,
        "unseen": 0.0,
        "unseen_texts": [],
        "bins": [
            BinShares(label="1 to 2", training=0.5, rows=0.2),
            BinShares(label="> 2 to 3", training=0.5, rows=0.8),
        ],
    }
    return ColumnDrift.model_validate(values | fields)


def drift_report(*columns: ColumnDrift, **fields: object) -> DriftReport:
    values: dict[str, object] = {
        "rows": 100,
        "compared_rows": 100,
        "predicted_rows": 100,
        "training_rows": 1_000,
        "findings": [],
        "columns": list(columns or [column_drift(), column_drift("noise", 0.01)]),
        "predictions": [column_drift("prediction", 0.3)],
        "moved": PredictionMove(
            outputs=["no", "yes"],
            training=[0.6, 0.4],
            rows=[0.4, 0.6],
            by=[MovedBy(column="mass", change=[-0.15, 0.15])],
        ),
        "missing": [],
    }
    report = DriftReport.model_validate(values | fields)
    return report.model_copy(update={"findings": findings(report)})
