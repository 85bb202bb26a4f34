"""An application that is connected to nothing: what it answers then, it answers without a database."""

from flask import Flask

from app import create_app
from streamgauge.settings import WebSettings

NOWHERE = WebSettings(
    database_url="postgresql://nobody@127.0.0.1:1/nothing",
    redis_url="redis://127.0.0.1:1/0",
    secret_key="for-tests-only-" + "x" * 32,
    cookie_secure=False,
)


def unconnected_app(surface: str = "all") -> Flask:
    """The application of one surface."""
    return create_app(NOWHERE, surface)  # type: ignore[arg-type]
