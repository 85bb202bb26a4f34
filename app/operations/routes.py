"""``/operations``: the path as it runs, drawn as it is; the slow part stands out."""

from datetime import UTC, datetime

from flask import render_template
from sqlalchemy.exc import SQLAlchemyError

from app.connections import connections
from app.i18n import words
from app.operations.blueprint import blueprint
from app.operations.presenter import counted_text, make_gateways, moment_text, reason_text, size_text
from app.operations.status import LONG_QUEUE, links, live_clients, read_known_gateways, read_redis, read_workers
from app.session.roles import needs_role
from streamgauge.storage.dead_letter_rows import COUNTED, count_by_reason
from streamgauge.storage.operations import Database, Freshness, read_database, read_freshness

SHOWN_MONTHS = 12


@blueprint.get("/operations")
@needs_role("viewer")
def show_operations() -> str:
    """The page; what takes a second to ask is asked for by the page itself."""
    return render_template("operations/index.html", links=links(connections()), **_path())


@blueprint.get("/operations/path")
@needs_role("viewer")
def show_path() -> str:
    """The path's figures, asked for every few seconds."""
    return render_template("operations/_path.html", **_path())


@blueprint.get("/operations/workers")
@needs_role("viewer")
def show_workers() -> str:
    """Who works: workers are given a second to answer."""
    return render_template("operations/_workers.html", workers=read_workers(connections().producer))


@blueprint.get("/operations/storage")
@needs_role("viewer")
def show_storage() -> str:
    """How much the database holds."""
    database = _database()
    t = words()
    months = []
    if database is not None:
        months = [
            (
                part.name.removeprefix("readings_").replace("_", "-"),
                t.number(part.readings, 0),
                size_text(part.bytes, t),
            )
            for part in database.parts
        ]
    return render_template(
        "operations/_storage.html",
        database=database,
        size=size_text(database.bytes, t) if database else "",
        readings=t.number(sum(part.readings for part in database.parts), 0) if database else "",
        rolled_up=moment_text(database.rolled_up, t) if database else "",
        months=months[:SHOWN_MONTHS],
        months_more=max(0, len(months) - SHOWN_MONTHS),
    )


def _path() -> dict[str, object]:
    t, now = words(), datetime.now(UTC)
    redis = read_redis(connections().redis, now)
    fresh, reasons = _freshness()
    age_s = (now - fresh.stored_at).total_seconds() if fresh and fresh.stored_at else None
    return {
        "redis": redis,
        "redis_size": size_text(redis.bytes, t) if redis else "",
        "long_queue": LONG_QUEUE,
        "answers": fresh is not None,
        "stored_age": t.age(max(0.0, age_s)) if age_s is not None else "",
        "newest": moment_text(fresh.time, t) if fresh else "",
        "reasons": [(reason, reason_text(reason, t), counted_text(count, t)) for reason, count in reasons.items()],
        "letters": t.number(sum(min(count, COUNTED) for count in reasons.values()), 0)
        + ("+" if any(count > COUNTED for count in reasons.values()) else ""),
        "clients": t.number(live_clients(), 0),
        "gateways": make_gateways(read_known_gateways(connections().redis), now, t),
    }


def _freshness() -> tuple[Freshness | None, dict[str, int]]:
    try:
        with connections().engine.connect() as connection:
            return read_freshness(connection), dict(count_by_reason(connection))
    except SQLAlchemyError:
        return None, {}


def _database() -> Database | None:
    try:
        with connections().engine.connect() as connection:
            return read_database(connection)
    except SQLAlchemyError:
        return None
