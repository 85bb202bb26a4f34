"""The installer's page as a small WSGI application: ``GET /`` and ``/static/…``.

It reads only, keeps no session and loads nothing from elsewhere: it must work on a pole without the internet. Everything
that comes from the air is escaped, and the content policy lets nothing run that is not ours.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import jinja2

from gateway.journal import Journal
from gateway.judging.verdict import Verdict
from gateway.page.i18n import LANGUAGES, Words, choose_language
from gateway.page.state import GatewayState
from gateway.page.view import make_view

log = logging.getLogger("streamgauge.gateway.page")

REFRESH_S = 5
REFRESH_WITHOUT_SCRIPT_S = 20

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)

_FOLDER = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_LONGEST_QUERY = 200

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[Mapping[str, Any], StartResponse], Iterable[bytes]]


def page_application(
    journal: Journal,
    state: Callable[[], GatewayState],
    newest: Callable[[str], Verdict | None] = lambda _: None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Application:
    """The page.

    Args:
        journal: what was heard.
        state: tells how the gateway is; called for each view, from any thread.
        newest: the verdict on a sensor's newest level (``Predictor.newest``).
        now: aware UTC.
    """
    files = _static_files()
    template = _environment(files).get_template("page.html")

    def application(environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "") or "/"
        words = Words(_language(environ))
        if path != "/" and path not in files:
            return _text(start, HTTPStatus.NOT_FOUND, words("error.404"), method)
        if method not in ("GET", "HEAD"):
            return _text(start, HTTPStatus.METHOD_NOT_ALLOWED, words("error.405"), method)
        if path in files:
            return _file(start, path, files[path], method)
        only_refused = _query(environ).get("frames") == "refused"
        present = state()
        view = make_view(present, journal, newest, now(), words, only_refused=only_refused)
        content = template.render(
            t=words, view=view, name=present.name, only_refused=only_refused, link_to=_links(environ)
        )
        headers = [("Content-Language", words.language), ("Vary", "Accept-Language"), ("Cache-Control", "no-store")]
        return _answer(start, HTTPStatus.OK, "text/html; charset=utf-8", content.encode(), method, headers)

    return application


def _environment(files: Mapping[str, bytes]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["asset"] = lambda name: f"/static/{name}?v={_version(files[f'/static/{name}'])}"
    environment.globals["refresh_s"] = REFRESH_S
    environment.globals["refresh_without_script_s"] = REFRESH_WITHOUT_SCRIPT_S
    return environment


def _static_files() -> dict[str, bytes]:
    """What is served below /static, by path; read once, so that no path of a request ever reaches the disk."""
    return {
        f"/static/{path.name}": path.read_bytes() for path in (_FOLDER / "static").iterdir() if path.suffix in _TYPES
    }


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _query(environ: Mapping[str, Any]) -> dict[str, str]:
    """The address's parameters that the page knows."""
    asked = parse_qs(environ.get("QUERY_STRING", "")[:_LONGEST_QUERY])
    known = {"lang": LANGUAGES, "frames": ("refused",)}
    return {name: asked[name][0] for name, values in known.items() if asked.get(name, [""])[0] in values}


def _language(environ: Mapping[str, Any]) -> str:
    return choose_language(_query(environ).get("lang"), environ.get("HTTP_ACCEPT_LANGUAGE", ""))


def _links(environ: Mapping[str, Any]) -> Callable[..., str]:
    """Makes the page's own address with other parameters; an empty one is left out."""
    present = _query(environ)

    def link_to(**changes: str) -> str:
        wanted = {name: value for name, value in (present | changes).items() if value}
        return f"/?{urlencode(wanted)}" if wanted else "/"

    return link_to


def _file(start: StartResponse, path: str, content: bytes, method: str) -> Iterable[bytes]:
    kind = _TYPES[Path(path).suffix]
    return _answer(
        start, HTTPStatus.OK, kind, content, method, [("Cache-Control", "public, max-age=31536000, immutable")]
    )


def _text(start: StartResponse, status: HTTPStatus, text: str, method: str) -> Iterable[bytes]:
    headers = [("Cache-Control", "no-store")]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET, HEAD"))
    return _answer(start, status, "text/plain; charset=utf-8", f"{text}\n".encode(), method, headers)


def _answer(
    start: StartResponse, status: HTTPStatus, kind: str, content: bytes, method: str, headers: list[tuple[str, str]]
) -> Iterable[bytes]:
    sizes = [("Content-Type", kind), ("Content-Length", str(len(content)))]
    start(f"{status.value} {status.phrase}", [*sizes, *headers, *_HEADERS])
    return [] if method == "HEAD" else [content]
