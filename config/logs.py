"""Structured logs: one line per event with the request's id, JSON in production, readable in development.

Message text and secrets do not belong in logs. Callers log ids and numbers; what PostgreSQL quotes of a row in its
error detail is cut out here.
"""

import logging.config
import re
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

ROW_CONTENTS = re.compile(r"^(DETAIL|CONTEXT|LINE \d+):.*(?:\n(?![A-Z]+:|\S).*)*", re.MULTILINE)


def without_row_contents(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A violated constraint quotes the whole row, and with it what a person wrote."""
    for key in ("exception", "event"):
        if isinstance(event.get(key), str) and "DETAIL:" in event[key]:
            event[key] = ROW_CONTENTS.sub(r"\1: (left out)", event[key])
    return event


SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    without_row_contents,
]


def configure(*, level: int, as_json: bool) -> None:
    """Send our own and every library's log lines through the same processors to standard error."""
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": SHARED,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {
                "uvicorn.access": {
                    "level": logging.WARNING
                },  # the request line holds query strings, and so search texts
                "django.server": {"level": logging.INFO},
                "httpx": {"level": logging.WARNING},
                "django-q": {
                    "level": logging.WARNING
                },  # it tells every step of every task; the queue tells what counts
            },
        }
    )
