"""Logging: structlog events with fields, on standard error.

What other libraries log through the standard library goes the same way.
"""

import logging
import sys
from typing import Any

import structlog

from broker.config import Logging

_SHARED: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(settings: Logging) -> None:
    """Send every log event to standard error, as JSON or for a console."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    if settings.format == "json":
        last: list[Any] = [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_SHARED, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    for older in root.handlers[:]:
        if isinstance(older.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(older)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
