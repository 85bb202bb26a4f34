"""``/health``: the process lives. ``/health/db``: what it stands on answers."""

import logging

import psycopg2
from flask import Blueprint, Response, current_app, jsonify
from redis import Redis, RedisError
from sqlalchemy import make_url

from app.connections import connections
from app.declared import public

log = logging.getLogger(__name__)
PROBE_TIMEOUT_S = 2

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@public
def health() -> Response:
    """Answer without touching anything."""
    return jsonify(status="ok")


@blueprint.get("/health/db")
@public
def health_db() -> tuple[Response, int]:
    """Ask Postgres for ``SELECT 1`` and Redis for ``PING``, each with a short time-out; 503 names what does not answer."""
    answers = {"database": _database_answers(), "redis": _redis_answers()}
    failed = [name for name, answered in answers.items() if not answered]
    body = {
        "status": "unavailable" if failed else "ok",
        **{name: "ok" if ok else "no answer" for name, ok in answers.items()},
    }
    return jsonify(body), 503 if failed else 200


def _database_answers() -> bool:
    # A connection of its own: a pool that is merely busy is not a database that is gone, and the probe must not wait for it.
    url = make_url(connections().settings.database_url).set(drivername="postgresql")
    try:
        connection = psycopg2.connect(
            url.render_as_string(hide_password=False),
            connect_timeout=PROBE_TIMEOUT_S,
            options=f"-c statement_timeout={PROBE_TIMEOUT_S * 1000}",
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        finally:
            connection.close()
    except psycopg2.Error:
        log.warning("database does not answer", exc_info=current_app.debug)
        return False
    return True


def _redis_answers() -> bool:
    client: Redis = connections().make_redis(PROBE_TIMEOUT_S)
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        log.warning("redis does not answer", exc_info=current_app.debug)
        return False
    finally:
        client.close()
