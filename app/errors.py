"""What a caller hears when something went wrong: problem details (RFC 9457) for programs, a page for people."""

from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, current_app, render_template, request
from werkzeug.exceptions import HTTPException

from app.request_log import request_id
from streamgauge.errors import QueueUnavailable

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
_PROGRAM_PATHS = ("/api/", "/sensorthings/", "/health", "/metrics", "/live")
_DESCRIBED = {400, 401, 403, 404, 405, 413, 422, 429, 500, 503}


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None, **members: Any) -> Response:
    """An RFC 9457 answer.

    Args:
        status: the HTTP status.
        title: what kind of problem, constant for that kind.
        detail: what was wrong this time and what to do.
        headers: further headers.
        members: further members of the problem object.
    """
    body = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id(),
        **members,
    }
    return Response(orjson.dumps(body), status=status, content_type=PROBLEM_TYPE, headers=headers)


def init_app(app: Flask) -> None:
    """Answer every HTTP error and every unhandled exception."""
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(QueueUnavailable, _answer_queue_unavailable)


def _answer_http_error(error: HTTPException) -> Response:
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {name: value for name, value in error.get_headers() if name.lower() in {"allow", "retry-after"}}
    if request.path.startswith(_PROGRAM_PATHS) or "overview" not in current_app.blueprints:
        return problem(status, HTTPStatus(status).phrase, error.description or "", headers)
    page = render_template(
        "error.html", status=status, key=status if status in _DESCRIBED else 400, request_id=request_id()
    )
    return Response(page, status=status, headers=headers)


def _answer_queue_unavailable(_: QueueUnavailable) -> Response:
    detail = "The task queue does not answer, so nothing is known to be stored. Send it again: repeating is harmless."
    return problem(503, "Queue unavailable", detail, {"Retry-After": str(RETRY_AFTER_S)})
