"""Answers are sent compressed to whoever takes that: pages and scripts are text, and a phone in the rain has little to spare.

Compressing secrets beside what a stranger chose tells them by the length, if the stranger can make the browser ask often and
count bytes on the way (BREACH). The session's cookie is kept from what other sites embed or fetch, but it comes with their
links and with windows that they open (SameSite=Lax). So a signed-in person's answer is left uncompressed when another site
made the browser ask, which browsers say (``Sec-Fetch-Site``; an old one that does not say it over HTTPS is not trusted).
Padding of random length would only make such counting take longer, and in a header not even that: headers travel in a record
of their own. What our own pages ask for afterwards is compressed; the one lasting secret there, the forms' CSRF token, is
worth nothing without its signature, which is another one every second.

Exports stay as they are: they are read while they are made, and who fetches gigabytes compresses where it suits them.
"""

from flask import Flask, Response, current_app, request
from flask_compress import Compress

TYPES = (
    "text/html",
    "text/css",
    "text/javascript",
    "application/javascript",
    "application/json",
    "application/geo+json",
    "application/problem+json",
    "image/svg+xml",
)
LEAST_BYTES = 800
"""A packet or so holds as much: smaller answers arrive no sooner."""
_OUR_OWN = ("same-origin", "none")
"""``none``: typed, or a bookmark."""
_PROGRAM_PATHS = ("/api/", "/sensorthings/")


def init_app(app: Flask) -> None:
    """Compress answers with Brotli, Zstandard or gzip, as the caller likes best."""
    app.config.update(
        COMPRESS_REGISTER=False,
        COMPRESS_MIMETYPES=list(TYPES),
        COMPRESS_MIN_SIZE=LEAST_BYTES,
        COMPRESS_ALGORITHM=["br", "zstd", "gzip"],
        COMPRESS_ALGORITHM_STREAMING=["br", "zstd"],
    )
    compress = Compress()
    compress.init_app(app)

    @app.after_request
    def _compress(response: Response) -> Response:
        # A program sends an answer's tag back as it was (If-Match): it must stay the tag of what is stored.
        if request.path.startswith(_PROGRAM_PATHS) and "ETag" in response.headers:
            return response
        if _was_asked_by_another_site():
            return response
        if request.endpoint == "static" and response.status_code == 200:
            # A file's answer is a stream, which gzip is not used for; these are small.
            response.direct_passthrough = False
            response.set_data(response.get_data())
        return compress.after_request(response)


def _was_asked_by_another_site() -> bool:
    """Whether a signed-in person's browser asks because another site made it, or might."""
    if request.endpoint == "static" or current_app.config["SESSION_COOKIE_NAME"] not in request.cookies:
        return False
    site = request.headers.get("Sec-Fetch-Site")
    # Over plain HTTP browsers do not say it, and nobody has to count what can be read.
    return request.is_secure if site is None else site not in _OUR_OWN
