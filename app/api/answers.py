"""JSON answers: times as RFC 3339 in UTC, everything else as it is."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from flask import Response

from streamgauge.reading import format_time


def json_answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """An ``application/json`` answer."""
    content = orjson.dumps(body, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status=status, content_type="application/json")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return format_time(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
