"""Logging: one JSON object a line on standard output, from every part alike.

A message is a constant; what varies stands in fields (``extra={…}``, or bound to the context with ``bind``).
"""

import logging
import logging.config
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.orjson import OrjsonFormatter

_bound: ContextVar[Mapping[str, object] | None] = ContextVar("streamgauge_log_fields", default=None)


class JsonFormatter(OrjsonFormatter):
    """Formats a record as the contract says: timestamp (RFC 3339, UTC), level, logger, message, service, then data fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Put the contract's fields first, the context's next and the call's own last."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        log_data["timestamp"] = f"{seconds}.{int(record.msecs):03d}Z"
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = record.getMessage()
        log_data["service"] = self._service
        log_data.update(_bound.get() or {})
        super().add_fields(log_data, record, message_dict)


def logging_config(service: str, level: str) -> dict[str, Any]:
    """The one ``dictConfig``, for parts that must hand it to a framework.

    Args:
        service: which part is speaking, for example ``subscriber``.
        level: a level's name, for example ``INFO``.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter, "service": service}},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
        "root": {"level": level, "handlers": ["stdout"]},
    }


def configure(service: str, level: str = "INFO") -> None:
    """Send every log record of this process to standard output as JSON."""
    logging.config.dictConfig(logging_config(service, level))
    logging.captureWarnings(True)


@contextmanager
def bind(**values: object) -> Iterator[None]:
    """Add fields to every line that is logged inside the block (in this thread or context only)."""
    token = _bound.set({**(_bound.get() or {}), **values})
    try:
        yield
    finally:
        _bound.reset(token)


def clear() -> None:
    """Forget every bound field; for the start of a task or request in a reused thread."""
    _bound.set(None)
