"""Housekeeping: today, the partitions of this month and the next."""

import logging
from datetime import UTC, datetime

from sqlalchemy import Engine

from streamgauge.storage.partitions import make_partitions, month_of, next_month

log = logging.getLogger("streamgauge.maintenance")


def make_coming_partitions(engine: Engine, now: datetime | None = None) -> list[str]:
    """Make the partitions of this month and the next two, if they are missing; returns the names of the new ones."""
    month = month_of(now or datetime.now(UTC))
    months = [month, next_month(month), next_month(next_month(month))]
    with engine.begin() as connection:
        made = make_partitions(connection, months)
    log.info("partitions made", extra={"made": made})
    return made
