"""What all tests share: real servers, started once; a database, migrated once and emptied per test; a whole running system."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis
from sqlalchemy import Engine, text

from embedded.stack import Stack, temporary_stack
from streamgauge.storage.engine import make_engine
from tests.support.migrate import migrate
from tests.support.no_skips import pytest_configure
from tests.support.system import System, running_system

__all__ = ["pytest_configure"]

# A loaded machine is slow, not wrong; and a failure must come back when the same test is run again.
settings.register_profile(
    "streamgauge", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("STREAMGAUGE_TEST_HYPOTHESIS", "streamgauge"))


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_caller() -> Iterator[None]:
    """Tests see none of the settings of the shell that they are started from; those that steer tests stay."""
    kept = ("STREAMGAUGE_TEST_", "STREAMGAUGE_NO_SKIPS", "STREAMGAUGE_EMBEDDED_")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("STREAMGAUGE_") and not name.startswith(kept)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def servers(_no_settings_of_the_caller: None) -> Iterator[Stack]:
    """Postgres, Redis and an MQTT broker for the whole run. A test that stops one of them starts it again."""
    with temporary_stack() as started:
        yield started


@pytest.fixture(scope="session")
def stack(servers: Stack) -> Stack:
    """The same; modules that need servers of their own have a fixture of this name."""
    return servers


@pytest.fixture(scope="session")
def database_url(servers: Stack) -> str:
    """Postgres, with the newest schema."""
    migrate(servers.addresses.database_url)
    return servers.addresses.database_url


@pytest.fixture(scope="session")
def redis_url(servers: Stack) -> str:
    """Redis."""
    return servers.addresses.redis_url


@pytest.fixture(scope="session")
def mqtt_url(servers: Stack) -> str:
    """The MQTT broker."""
    return servers.addresses.mqtt_url


@pytest.fixture(scope="session")
def shared_engine(database_url: str) -> Iterator[Engine]:
    """One engine for the whole run; tests take ``engine``."""
    engine = make_engine(database_url, pool_size=4, application_name="streamgauge-test")
    yield engine
    engine.dispose()


@pytest.fixture
def engine(shared_engine: Engine) -> Engine:
    """A migrated database without any row. (Tests of storage commit, so a rollback could not clean up after them.)"""
    empty_tables(shared_engine)
    return shared_engine


@pytest.fixture
def redis(redis_url: str) -> Iterator["Redis"]:
    """A client of a Redis without any key."""
    client = Redis.from_url(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(scope="module")
def system(_no_settings_of_the_caller: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Servers of its own, a worker and a subscriber, running; one per module."""
    with running_system(tmp_path_factory.mktemp("system")) as running:
        running.worker.start()
        running.subscriber.start()
        yield running


_USED_TABLES = text(
    """
    SELECT relname FROM pg_class AS used
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'alembic_version' AND (
        pg_relation_size(oid) > 0
        OR EXISTS (
            SELECT FROM pg_depend JOIN pg_sequence ON seqrelid = objid
            WHERE refobjid = used.oid AND pg_sequence_last_value(seqrelid) IS NOT NULL
        )
    )
    """
)
"""Tables and partitions that take space on the disk, or have given a number away."""


def empty_tables(engine: Engine) -> None:
    """Delete every row of every table; partitions and the schema's version stay.

    Only what was used is emptied: to empty hundreds of empty partitions takes a third of a second, before each test.
    """
    with engine.begin() as connection:
        if tables := ", ".join(connection.execute(_USED_TABLES).scalars()):
            connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
