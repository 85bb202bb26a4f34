"""The one way to a database connection."""

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

CONNECT_TIMEOUT_S = 5


def make_engine(
    database_url: str,
    *,
    pool_size: int = 2,
    max_overflow: int = 8,
    application_name: str = "streamgauge",
    statement_timeout_ms: int = 0,
) -> Engine:
    """An engine whose connections are checked before use, so that a restarted Postgres is no error.

    Make it after a fork, never before: its connections must not be shared between processes.

    Args:
        database_url: ``postgresql://…``.
        pool_size: connections that are kept.
        max_overflow: connections beyond those, closed after use.
        application_name: shown in ``pg_stat_activity``.
        statement_timeout_ms: after so long the server ends a statement; 0 for never.
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    arguments = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": application_name,
        "options": f"-c timezone=UTC -c statement_timeout={statement_timeout_ms}",
    }
    return create_engine(
        url, pool_size=pool_size, max_overflow=max_overflow, pool_pre_ping=True, connect_args=arguments
    )
