"""Alembic's entry: connects to STREAMGAUGE_DATABASE_URL and runs the revisions, one migrator at a time."""

import logging
import os
import time

from alembic import context
from sqlalchemy import Connection, text

from streamgauge import logs
from streamgauge.settings import MigrationSettings, load
from streamgauge.storage.engine import make_engine
from streamgauge.storage.schema import metadata

MIGRATION_LOCK = 0x5347_0001  # "SG", 1: one key of ours among Postgres's advisory locks
LOCK_TIMEOUT_S = 10
ASK_AGAIN_S = 0.2


def include_object(_object: object, name: str | None, kind: str, reflected: bool, _compare_to: object) -> bool:
    """Partitions are made by maintenance, not by migrations; comparisons leave them out."""
    return not (kind == "table" and reflected and name is not None and name.startswith(("readings_2", "scores_2")))


def become_the_only_one(connection: Connection) -> None:
    """Wait until no other migrator works; the lock goes with the connection."""
    # Asked for again and again: who waits inside a statement holds a snapshot, for which an index that is built concurrently
    # waits in its turn. And the lock is the session's, as such a build ends the transaction before it.
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": MIGRATION_LOCK}).scalar_one():
        connection.commit()
        time.sleep(ASK_AGAIN_S)
    connection.commit()


def run(connection: Connection) -> None:
    """Run the revisions, each a transaction; one that cannot get its locks gives up rather than block the readers."""
    become_the_only_one(connection)
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=include_object,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Read the settings, connect, migrate."""
    settings = load(MigrationSettings, os.environ)
    logs.configure("migrate", settings.log_level)
    engine = make_engine(settings.database_url, application_name="streamgauge-migrate")
    with engine.connect() as connection:
        run(connection)
    engine.dispose()
    logging.getLogger("streamgauge.migrate").info("migrated")


main()
