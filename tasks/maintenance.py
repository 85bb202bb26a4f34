"""Housekeeping: the partitions of this month and the next two, and forecasts that are too old to keep."""

import logging
import time
from datetime import UTC, datetime, timedelta

from celery import Celery
from celery.schedules import crontab
from sqlalchemy import Engine

from streamgauge.queue import BATCH, DELETE_FORECASTS_TASK, MAKE_PARTITIONS_TASK
from streamgauge.storage.forecasts import delete_old_forecasts
from streamgauge.storage.partitions import make_partitions, month_of, next_month
from tasks.services import ServiceHolder

BEAT = {
    "make-partitions": {
        "task": MAKE_PARTITIONS_TASK,
        "schedule": crontab(minute="7", hour="*/6"),
        "options": {"queue": BATCH, "expires": 3600},
    },
    "delete-old-forecasts": {
        "task": DELETE_FORECASTS_TASK,
        "schedule": crontab(minute="22"),
        "options": {"queue": BATCH, "expires": 3000},
    },
}
DELETE_BUDGET_S = 30.0
"""So long, at most, is deleted in one call, in transactions of ``DELETE_ROWS``; the next hour's call goes on."""
DELETE_ROWS = 20_000

log = logging.getLogger("streamgauge.maintenance")


def make_coming_partitions(engine: Engine, now: datetime | None = None) -> list[str]:
    """Make the partitions of this month and the next two, if they are missing; returns the names of the new ones."""
    month = month_of(now or datetime.now(UTC))
    months = [month, next_month(month), next_month(next_month(month))]
    with engine.begin() as connection:
        made = make_partitions(connection, months)
    log.info("partitions made", extra={"made": made})
    return made


def delete_forecasts(engine: Engine, keep: timedelta, now: datetime | None = None) -> int:
    """Delete forecasts that are older than ``keep``, as many as the time allows; returns how many rows."""
    before, started_s, deleted = now or datetime.now(UTC), time.monotonic(), 0
    while time.monotonic() - started_s < DELETE_BUDGET_S:
        with engine.begin() as connection:
            gone = delete_old_forecasts(connection, before, keep, DELETE_ROWS)
        deleted += gone
        if gone < DELETE_ROWS:
            break
    log.info("old forecasts deleted", extra={"rows": deleted})
    return deleted


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code."""

    @app.task(name=MAKE_PARTITIONS_TASK, ignore_result=True, shared=False)
    def make_partitions_task() -> None:
        make_coming_partitions(holder.get().engine)

    @app.task(name=DELETE_FORECASTS_TASK, ignore_result=True, shared=False)
    def delete_forecasts_task() -> None:
        delete_forecasts(holder.get().engine, timedelta(days=holder.settings.forecast_keep_days))
