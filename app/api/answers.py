"""JSON answers: times as RFC 3339 in UTC, everything else as it is."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from flask import Response

from streamgauge.reading import format_time


def json_answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """An ``application/json`` answer."""
    try:
        content = _dumps(body)
    except orjson.JSONEncodeError:
        # Postgres keeps 1e30 in a jsonb as a whole number of 31 digits.
        content = _dumps(_without_long_numbers(body))
    return Response(content, status=status, content_type="application/json")


def _dumps(body: object) -> bytes:
    return orjson.dumps(body, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_SERIALIZE_NUMPY)


def _without_long_numbers(value: object) -> object:
    """The same with whole numbers of more than 64 bits as floats, which is what they were when they came."""
    if isinstance(value, Mapping):
        return {name: _without_long_numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_long_numbers(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) <= int(sys.float_info.max) else str(value)
    return value


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return format_time(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
