"""The web: pages, live WebSocket, JSON API, health and metrics. From Postgres to the browser, from HTTP to the queue."""

from typing import Literal

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import (
    account,
    admin,
    alerts,
    api,
    compression,
    connections,
    corrections,
    devices,
    errors,
    frame,
    health,
    history,
    i18n,
    live,
    models,
    operations,
    overview,
    request_log,
    security,
    sensorthings,
    session,
    site,
    stations,
    templating,
)
from app.request_log import LoggedFlask
from streamgauge.settings import WebSettings

Surface = Literal["web", "api", "all"]
PAGES = (overview, stations, corrections, site, alerts, history, devices, models, operations, admin, account)


def create_app(settings: WebSettings, surface: Surface = "all") -> Flask:
    """Build the WSGI application; nothing is connected before the first request needs it.

    Args:
        settings: the web's settings.
        surface: ``api`` serves the JSON API alone (with health and metrics); ``web`` and ``all`` serve pages, live and API.
    """
    app = LoggedFlask("app")
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_NAME="streamgauge_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.cookie_secure,
        MAX_CONTENT_LENGTH=settings.max_message_bytes,
        SEND_FILE_MAX_AGE_DEFAULT=templating.STATIC_MAX_AGE_S,
    )
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    connections.init_app(app, settings)
    request_log.init_app(app)
    security.init_app(app)
    compression.init_app(app)
    errors.init_app(app)
    health.init_app(app)
    session.init_identity(app)
    app.register_blueprint(api.blueprint)
    app.register_blueprint(sensorthings.blueprint)
    if surface != "api":
        i18n.init_app(app)
        templating.init_app(app)
        frame.init_app(app)
        session.init_app(app, exempt=api.blueprint)
        live.init_app(app, settings)
        for pages in PAGES:
            app.register_blueprint(pages.blueprint)
    return app
