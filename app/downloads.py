"""Whole files that are made while they are sent. Each holds a thread of the server as long as its reader takes, so only so many
run at once, in this process and for one caller; who comes beyond is asked to come again.
"""

import threading
import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any

from flask import Response
from werkzeug.exceptions import ServiceUnavailable

from app.api.access import bearer_sha256
from app.sending import THREADS
from app.session.identity import signed_in_user

MOST = THREADS // 4
MOST_OF_ONE = 4
RETRY_AFTER_S = 30


class TooManyDownloads(ServiceUnavailable):
    """As many files as may be sent at once are being sent."""


class _Running:
    """Who has how many downloads under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of = Counter[str]()

    def enter(self, caller: str) -> None:
        """Take a place.

        Raises:
            TooManyDownloads: there is none.
        """
        with self._lock:
            if self._of[caller] >= MOST_OF_ONE:
                detail = f"{MOST_OF_ONE} of your downloads are running: wait until one is done."
                raise TooManyDownloads(detail, retry_after=RETRY_AFTER_S)
            if self._of.total() >= MOST:
                detail = "As many downloads as this server sends at once are running: try again later."
                raise TooManyDownloads(detail, retry_after=RETRY_AFTER_S)
            self._of[caller] += 1

    def leave(self, caller: str) -> None:
        """Give a place back."""
        with self._lock:
            self._of[caller] -= 1
            if self._of[caller] <= 0:
                del self._of[caller]


_running = _Running()


def send_file(chunks: Iterable[bytes], content_type: str, name: str) -> Response:
    """An answer that is a file, made chunk by chunk while it is sent; it has a place until its last byte is out.

    Raises:
        TooManyDownloads: there is no place; the chunks were not begun.
    """
    caller = _caller()
    _running.enter(caller)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    response = Response(chunks, content_type=content_type, headers=headers)
    # It runs once: when the answer is closed, or when it is thrown away before it was sent.
    response.call_on_close(weakref.finalize(response, _running.leave, caller))
    return response


def _caller() -> str:
    """Who asks: a token, or a user, from however many browsers."""
    sha256: Any = bearer_sha256()
    if sha256 is not None:
        return f"token:{sha256.hex()}"
    user = signed_in_user()
    return f"user:{user.id}" if user else "nobody"
