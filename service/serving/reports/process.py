"""The process that builds one report, with limits. Imported once by the server process that it is forked from.

It is not sandboxed: it reads files that the service wrote, whose SHA-256 it checks, and scikit-learn needs semaphores.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from service.data.processes.runner import limit_resources
from service.domain.drift import DriftInputs
from service.domain.report import EvaluationInputs, ReportInputs
from service.errors import Conflict, ServiceError, StorageError
from service.serving.reports.build import build
from service.serving.reports.drift import measure
from service.serving.reports.evaluate import evaluate
from service.serving.reports.limits import too_much_memory
from service.training.replaced_columns import use_one_thread

with suppress(ImportError):
    import service.reports.learned_baselines  # noqa: F401  # scikit-learn, an extra

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from service.data.processes.runner import Allowance


def run(
    pipe: Connection, asked: ReportInputs | EvaluationInputs | DriftInputs, target: Path, allowed: Allowance
) -> None:
    """Write the report as JSON to `target`, and send None, or the error."""
    use_one_thread()
    limit_resources(allowed)
    try:
        target.write_text(report_text(asked), encoding="utf-8")
        pipe.send(None)
    except ServiceError as error:
        pipe.send(error)
    except MemoryError:
        pipe.send(too_much_memory(allowed))
    except OSError as error:
        pipe.send(StorageError(f"the report could not be written: {error.strerror}"))


def report_text(asked: ReportInputs | EvaluationInputs | DriftInputs) -> str:
    """The answer as JSON that can be read again; raises what `build`, `evaluate` and `measure` raise."""
    report = _made(asked)
    text = report.model_dump_json()
    try:
        type(report).model_validate_json(text)  # JSON has no infinity: it is written as null
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise Conflict(f"the report cannot be written: {where} is beyond the range of float64") from error
    return text


def _made(asked: ReportInputs | EvaluationInputs | DriftInputs) -> BaseModel:
    match asked:
        case ReportInputs():
            return build(asked)
        case EvaluationInputs():
            return evaluate(asked)
        case DriftInputs():
            return measure(asked)
