"""How every process writes its log: a line an event, for people or for programs, with what it is about."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from structlog import contextvars, dev, processors, stdlib

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from structlog.types import EventDict, Processor


def set_up(level: str, format: str) -> None:  # noqa: A002
    """All loggers of this process write to standard error from now on; `level` and `format`: see Settings."""
    as_json: list[Processor] = [
        processors.ExceptionRenderer(),
        processors.EventRenamer("message"),
        processors.JSONRenderer(ensure_ascii=False, default=str),
    ]
    # Tracebacks without the values of variables: a key might be among them.
    for_people: list[Processor] = [
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
        processors=[stdlib.ProcessorFormatter.remove_processors_meta, *(as_json if format == "json" else for_people)],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level="INFO" if level == "debug" else level.upper(), handlers=[handler], force=True)
    logging.getLogger("service").setLevel(level.upper())  # what libraries have to say for debugging is not ours
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _without_colors(_logger: Any, _method: str, line: EventDict) -> EventDict:
    line.pop("color_message", None)  # uvicorn's message once more
    return line


def about(**fields: Any) -> AbstractContextManager[None]:
    """Lines written within, by this thread or task and those it starts, have these fields too."""
    return contextvars.bound_contextvars(**fields)


def always_about(**fields: Any) -> None:
    """Lines have these fields from now on."""
    contextvars.bind_contextvars(**fields)
