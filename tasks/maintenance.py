"""Housekeeping: today, the partitions of this month and the next."""

import logging
from datetime import UTC, datetime

from celery import Celery
from celery.schedules import crontab
from sqlalchemy import Engine

from streamgauge.queue import BATCH, MAKE_PARTITIONS_TASK
from streamgauge.storage.partitions import make_partitions, month_of, next_month
from tasks.services import ServiceHolder

BEAT = {
    "make-partitions": {
        "task": MAKE_PARTITIONS_TASK,
        "schedule": crontab(minute="7", hour="*/6"),
        "options": {"queue": BATCH, "expires": 3600},
    }
}

log = logging.getLogger("streamgauge.maintenance")


def make_coming_partitions(engine: Engine, now: datetime | None = None) -> list[str]:
    """Make the partitions of this month and the next two, if they are missing; returns the names of the new ones."""
    month = month_of(now or datetime.now(UTC))
    months = [month, next_month(month), next_month(next_month(month))]
    with engine.begin() as connection:
        made = make_partitions(connection, months)
    log.info("partitions made", extra={"made": made})
    return made


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code."""

    @app.task(name=MAKE_PARTITIONS_TASK, ignore_result=True, shared=False)
    def make_partitions_task() -> None:
        make_coming_partitions(holder.get().engine)
