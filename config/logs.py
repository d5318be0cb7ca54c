"""Structured logs: one line per event with the request's id, JSON in production, readable in development.

Message text and secrets do not belong in logs. Callers log ids and numbers; what PostgreSQL quotes of a row in its
errors is cut out here.
"""

import logging.config
import traceback
from typing import Any

import psycopg
import structlog
from django.db.utils import DatabaseError
from structlog.typing import ExcInfo

QUOTING_CLASSES = ("22", "23")  # SQLSTATE classes whose messages quote values: data exceptions, violated constraints


def rendered(exc_info: ExcInfo) -> str:
    """A traceback in which no database error repeats what a person wrote."""
    text = "".join(traceback.format_exception(*exc_info))
    error: BaseException | None = exc_info[1]
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, (psycopg.Error, DatabaseError)) and str(error):
            text = text.replace(str(error), _without_values(error))
        error = error.__cause__ or error.__context__
    return text


def _without_values(error: BaseException) -> str:
    """The first line alone, and not even that where PostgreSQL puts the offending value into it."""
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    state = getattr(cause, "sqlstate", None) or ""
    if isinstance(cause, psycopg.Error) and state.startswith(QUOTING_CLASSES):
        where = [cause.diag.table_name, cause.diag.column_name, cause.diag.constraint_name]
        return f"{state} in {' / '.join(filter(None, where)) or 'a value'} (values left out)"
    return str(error).splitlines()[0]


SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.ExceptionRenderer(rendered),
]


def configure(*, level: str, as_json: bool) -> None:
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
                "django.template": {"level": logging.INFO},  # at DEBUG a trace for each variable the theme leaves unset
                "httpx": {"level": logging.WARNING},
                "django-q": {
                    "level": logging.WARNING
                },  # it tells every step of every task; the queue tells what counts
            },
        }
    )
