"""Logging of every process: one line per event, as text or JSON, with context fields."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from structlog import contextvars, dev, processors, stdlib

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from structlog.types import EventDict, Processor


def set_up(level: str, format: str) -> None:  # noqa: A002
    """Configure all loggers of this process to write to standard error; `level` and `format`: see Settings."""
    as_json: list[Processor] = [
        processors.ExceptionRenderer(),
        processors.EventRenamer("message"),
        processors.JSONRenderer(ensure_ascii=False, default=str),
    ]
    # Tracebacks without the values of local variables, which may include API keys.
    as_text: list[Processor] = [
        dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=0, pad_level=False, exception_formatter=dev.plain_traceback
        )
    ]
    formatter = stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            processors.TimeStamper(fmt="iso", utc=True, key="time" if format == "json" else "timestamp"),
            stdlib.add_log_level,
            stdlib.add_logger_name,
            stdlib.ExtraAdder(),
            contextvars.merge_contextvars,
            _without_colors,
        ],
        processors=[stdlib.ProcessorFormatter.remove_processors_meta, *(as_json if format == "json" else as_text)],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level="INFO" if level == "debug" else level.upper(), handlers=[handler], force=True)
    logging.getLogger("service").setLevel(level.upper())  # debug messages of this package only, not of libraries
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _without_colors(_logger: Any, _method: str, line: EventDict) -> EventDict:
    line.pop("color_message", None)  # uvicorn's message again, with terminal colors
    return line


def about(**fields: Any) -> AbstractContextManager[None]:
    """Add these fields to all lines logged within the context, by this thread or task and those it starts."""
    return contextvars.bound_contextvars(**fields)


def always_about(**fields: Any) -> None:
    """Add these fields to all later lines of this thread or task."""
    contextvars.bind_contextvars(**fields)
