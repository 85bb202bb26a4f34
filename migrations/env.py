"""Alembic's entry: connects to STREAMGAUGE_DATABASE_URL and runs the revisions, one migrator at a time."""

import logging
import os

from alembic import context
from sqlalchemy import Connection, text

from streamgauge import logs
from streamgauge.settings import MigrationSettings, load
from streamgauge.storage.engine import make_engine
from streamgauge.storage.schema import metadata

MIGRATION_LOCK = 0x5347_0001  # "SG", 1: one key of ours among Postgres's advisory locks
LOCK_TIMEOUT_S = 10


def include_object(_object: object, name: str | None, kind: str, reflected: bool, _compare_to: object) -> bool:
    """Partitions are made by maintenance, not by migrations; comparisons leave them out."""
    return not (kind == "table" and reflected and name is not None and name.startswith(("readings_2", "scores_2")))


def run(connection: Connection) -> None:
    """Run the revisions in one transaction; a migration that cannot get its locks gives up rather than block the readers."""
    context.configure(connection=connection, target_metadata=metadata, include_object=include_object)
    with context.begin_transaction():
        # A second migrator waits here, and then finds nothing to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
        context.run_migrations()


def main() -> None:
    """Read the settings, connect, migrate."""
    settings = load(MigrationSettings, os.environ)
    logs.configure("migrate", settings.log_level)
    engine = make_engine(settings.database_url, application_name="streamgauge-migrate")
    with engine.connect() as connection:
        run(connection)
    logging.getLogger("streamgauge.migrate").info("migrated")


main()
