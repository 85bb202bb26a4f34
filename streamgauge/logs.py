"""Logging: one JSON object a line on standard output, from every part alike.

A message is a constant; what varies stands in fields (``extra={…}``, or bound to the context with ``bind``).
"""

import logging
import logging.config
import reprlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import orjson
from pythonjsonlogger.orjson import OrjsonFormatter

CONTRACT_FIELDS = ("timestamp", "level", "logger", "message", "service")
"""In every line, and never replaced by a field of the same name: that one gets an underscore."""

_bound: ContextVar[Mapping[str, object] | None] = ContextVar("streamgauge_log_fields", default=None)


class JsonFormatter(OrjsonFormatter):
    """Formats a record as the contract says: timestamp (RFC 3339, UTC), level, logger, message, service, then data fields."""

    def __init__(self, service: str) -> None:
        super().__init__([])
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """One line; a message that does not fit its arguments is shown with them instead of being lost."""
        try:
            return super().format(record)
        except (TypeError, ValueError, KeyError) as error:
            plain = logging.makeLogRecord(
                {
                    **record.__dict__,
                    "msg": str(record.msg),
                    "args": None,
                    "log_args": repr(record.args),
                    "log_error": repr(error),
                }
            )
            return super().format(plain)

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Put the contract's fields first, the context's next and the call's own last."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        values = (f"{seconds}.{int(record.msecs):03d}Z", record.levelname, record.name, record.message, self._service)
        own: dict[str, Any] = {**(_bound.get() or {})}
        super().add_fields(own, record, message_dict)
        log_data.update(zip(CONTRACT_FIELDS, values, strict=True))
        log_data.update({f"{name}_" if name in CONTRACT_FIELDS else name: value for name, value in own.items()})

    def jsonify_log_record(self, log_data: Any) -> str:
        """The line as JSON; what JSON cannot hold is written as text."""
        try:
            return super().jsonify_log_record(log_data)
        except orjson.JSONEncodeError:
            return orjson.dumps({_text(name): _plain(value) for name, value in log_data.items()}).decode()


def _plain(value: object) -> object:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _text(value)
    return value


def _text(value: object) -> str:
    # Lone surrogates are no UTF-8.
    return (value if isinstance(value, str) else reprlib.repr(value)).encode("utf-8", "backslashreplace").decode()


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
