"""One JSON line per HTTP request, whatever becomes of it; a failure's traceback stands inside that line."""

import logging
import re
import time
from contextvars import ContextVar
from types import TracebackType
from typing import Any
from uuid import uuid4

from flask import Flask, Response, g, request

log = logging.getLogger("app.request")
REQUEST_ID_HEADER = "X-Request-ID"
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{8,128}")
_request_id: ContextVar[str] = ContextVar("streamgauge_request_id", default="")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class LoggedFlask(Flask):
    """Flask, except that an unhandled exception goes into the request's own line instead of a second one."""

    def log_exception(self, exc_info: ExcInfo) -> None:
        """Keep the exception for the request's line."""
        g.unhandled_error = exc_info


def request_id() -> str:
    """The current request's id: the caller's ``X-Request-ID`` if it is sane, else one of ours."""
    return _request_id.get()


def init_app(app: Flask) -> None:
    """Log every request. Call before anything else adds hooks, so that the clock starts first and the line is written last."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.started_s = time.perf_counter()
    stated = request.headers.get(REQUEST_ID_HEADER, "")
    _request_id.set(stated if _SANE_REQUEST_ID.fullmatch(stated) else uuid4().hex)


def _end(response: Response) -> Response:
    response.headers[REQUEST_ID_HEADER] = request_id()
    fields: dict[str, Any] = {
        "path": request.path,
        "method": request.method,
        "request_id": request_id(),
        "remote_addr": request.remote_addr,
    }
    is_websocket = request.environ.get("HTTP_UPGRADE", "").lower() == "websocket" and response.status_code == 200
    status = 101 if is_websocket else response.status_code
    started_s, error = g.get("started_s", time.perf_counter()), g.pop("unhandled_error", None)

    def write() -> None:
        fields["duration_ms"] = round((time.perf_counter() - started_s) * 1000, 2)
        level = logging.ERROR if status >= 500 else logging.INFO
        log.log(level, "request", extra={**fields, "status": status}, exc_info=error)

    if response.is_streamed and not is_websocket:
        # A long export is over when its last byte is out, not when its first is.
        response.call_on_close(write)
    else:
        write()
    return response
