"""The one way to a database connection."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url

CONNECT_TIMEOUT_S = 5

INDEX_LOOKUPS_ONLY = {"enable_bitmapscan": "off", "enable_seqscan": "off", "jit": "off"}
"""For connections all of whose statements look up few rows by key, in the order of the key, like a worker's.

A partition that has just begun has no statistics yet. Left to guess, the planner comes to prefer a bitmap scan with a sort for
a station's newest readings once some 75,000 rows are there: it then reads two days of them instead of 49, at four times the
cost of the whole task.
"""


def make_engine(
    database_url: str,
    *,
    pool_size: int = 2,
    max_overflow: int = 8,
    application_name: str = "streamgauge",
    statement_timeout_ms: int = 0,
    planner: Mapping[str, str] | None = None,
) -> Engine:
    """An engine whose connections are checked before use, so that a restarted Postgres is no error.

    Make it after a fork, never before: its connections must not be shared between processes.

    Args:
        database_url: ``postgresql://…``.
        pool_size: connections that are kept.
        max_overflow: connections beyond those, closed after use.
        application_name: shown in ``pg_stat_activity``.
        statement_timeout_ms: after so long the server ends a statement; 0 for never.
        planner: settings of the planner for these connections, such as ``INDEX_LOOKUPS_ONLY``.
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    options = {"timezone": "UTC", "statement_timeout": str(statement_timeout_ms), **(planner or {})}
    arguments = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": application_name,
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
    }
    return create_engine(
        url, pool_size=pool_size, max_overflow=max_overflow, pool_pre_ping=True, connect_args=arguments
    )


@contextmanager
def by_index(connection: Connection) -> Iterator[None]:
    """While this lasts, the planner of a connection in a transaction scans no whole table if there is an index.

    For a range of one device's rows in a table of millions: they seem scattered to the planner, so that it comes to prefer
    reading all of them, at ten times the cost; compiling the statement (jit) costs more than running it.
    """
    connection.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL jit = off"))
    yield
    connection.execute(text("SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL jit TO DEFAULT"))
