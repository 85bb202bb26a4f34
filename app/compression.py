"""Answers are sent compressed to whoever takes that: pages and scripts are text, and a phone in the rain has little to spare.

Compressing secrets beside what a stranger chose would tell them by the length (BREACH); here another site's page cannot ask for
ours, as the session's cookie does not come with its requests (SameSite). Exports stay as they are: they are read while they are
made, and who fetches gigabytes compresses where it suits them.
"""

from flask import Flask, Response, request
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
        if request.endpoint == "static" and response.status_code == 200:
            # A file's answer is a stream, which gzip is not used for; these are small.
            response.direct_passthrough = False
            response.set_data(response.get_data())
        return compress.after_request(response)
