"""Migrations on a real Postgres: up, down, up again, two at once, and equal to what the code believes."""

import secrets
import time
from urllib.parse import urlsplit, urlunsplit

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError

from embedded.stack import Stack
from streamgauge.storage.engine import make_engine
from streamgauge.storage.schema import metadata
from tests.support.migrate import migrate, start_alembic

CONTRACT_TABLES = {
    "devices", "gateways", "readings", "readings_hourly", "models", "rescore_runs", "alert_rules", "alerts",
    "notification_channels", "dead_letters", "users", "api_tokens", "audit_log",
}  # fmt: skip
OUR_TABLES = {
    "model_files", "model_aliases", "model_promotions", "calibrations", "scores", "rescore_chunks", "forecasts",
    "forecast_tracks", "drift_reports", "sessions", "station_notes", "station_photos", "corrections",
    "readings_daily", "rollup_pending", "rollup_state",
}  # fmt: skip
TABLES = CONTRACT_TABLES | OUR_TABLES
NOT_OURS = ("alembic_version", "readings_1", "readings_2", "scores_1", "scores_2")


@pytest.fixture
def fresh(servers: Stack) -> str:
    """The URL of a database of its own, empty; it goes when the servers go."""
    url = servers.addresses.database_url
    name = f"migration_test_{secrets.token_hex(4)}"
    admin = create_engine(make_url(url).set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def tables(url: str) -> set[str]:
    engine = make_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names - {"alembic_version"}


def test_up_down_and_up_again(fresh: str) -> None:
    migrate(fresh)
    assert tables(fresh) == TABLES == set(metadata.tables)
    migrate(fresh, "downgrade", "base")
    assert tables(fresh) == set()
    migrate(fresh)
    assert tables(fresh) == TABLES
    assert "0005" in migrate(fresh, "current")


def test_each_revision_keeps_the_rows_of_the_one_before(fresh: str) -> None:
    migrate(fresh, "upgrade", "0001")
    engine = make_engine(fresh)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO devices (name, datum) VALUES ('old', 'AHD')"))
    migrate(fresh, "upgrade", "0002")
    with engine.begin() as connection:
        # What the program before writes still goes in, and what it reads is still there.
        connection.execute(text("INSERT INTO devices (name, auto_registered) VALUES ('from the program before', true)"))
        connection.execute(text("UPDATE devices SET dev_eui = '70B3D57BA0000001', model = 'm' WHERE name = 'old'"))
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(text("INSERT INTO devices (name, dev_eui) VALUES ('twin', '70B3D57BA0000001')"))
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(text("INSERT INTO devices (name, dev_eui) VALUES ('lower case', '70b3d57ba0000002')"))
    migrate(fresh, "downgrade", "0001")
    with engine.connect() as connection:
        names = connection.execute(text("SELECT name, datum FROM devices ORDER BY name")).all()
    engine.dispose()
    assert [tuple(row) for row in names] == [("from the program before", None), ("old", "AHD")]


def test_what_the_program_before_writes_still_goes_in_after_the_third_revision(fresh: str) -> None:
    migrate(fresh, "upgrade", "0002")
    engine = make_engine(fresh)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO models (sha256, card) VALUES ('abc', '{}')"))
    migrate(fresh)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO models (sha256, card) VALUES ('def', '{}')"))
        connection.execute(text("INSERT INTO rescore_runs (state, parameters) VALUES ('waiting', '{}')"))
        origins = connection.execute(text("SELECT DISTINCT origin FROM models")).scalars().all()
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(text("INSERT INTO model_aliases (device_id, alias, model_id) VALUES (0, 'winner', 1)"))
    engine.dispose()
    assert origins == ["shipped"]


def test_what_the_program_before_writes_still_goes_in_after_the_fourth_revision(fresh: str) -> None:
    migrate(fresh, "upgrade", "0003")
    engine = make_engine(fresh)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO devices (name) VALUES ('weir')"))
        connection.execute(
            text("INSERT INTO readings_hourly SELECT id, now(), 'level_m', 1, 0.5, 0.5, 0.5 FROM devices")
        )
    migrate(fresh)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (name, password_hash, role) VALUES ('duty', 'x', 'operator')"))
        connection.execute(text("INSERT INTO api_tokens (name, token_sha256, scopes) VALUES ('t', 'x', '{read}')"))
        # What has no lowest value could not be kept before: it goes on the way down.
        connection.execute(
            text(
                "INSERT INTO readings_hourly (device_id, hour, quantity, n) SELECT id, now(), 'flow_m3_s', 0 FROM devices"
            )
        )
        connection.execute(
            text("INSERT INTO readings_daily (device_id, day, quantity, n) SELECT id, now(), 'level_m', 1 FROM devices")
        )
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(text("INSERT INTO rollup_state (id) VALUES (2)"))
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(
                text(
                    "INSERT INTO corrections (device_id, quantity, first, last, note, made_by) "
                    "SELECT id, 'level_m', now(), now(), 'changes nothing', 'duty' FROM devices"
                )
            )
    migrate(fresh, "downgrade", "0003")
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT quantity FROM readings_hourly")).scalars().all()
    engine.dispose()
    assert kept == ["level_m"]


DEAD_LETTER = text("""
    INSERT INTO dead_letters (topic, source, reason, detail, payload, readings, fingerprint, received_at, last_received_at)
    VALUES ('t', 'device', 'not_json', '', '', 1, CAST(:print AS bytea), now(), now())
""")
BUILDING = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%ix_dead_letters%'")
INDEXES = text("""
    SELECT relname, indisvalid FROM pg_class JOIN pg_index ON indexrelid = oid
    WHERE indrelid IN ('dead_letters'::regclass, 'alerts'::regclass, 'audit_log'::regclass, 'users'::regclass)
        AND relname ~ '^(ix|uq_users_oidc)'
""")


def indexes(url: str) -> dict[str, bool]:
    """The indexes of old tables, and whether each is valid."""
    engine = make_engine(url)
    with engine.connect() as connection:
        found = {str(name): bool(valid) for name, valid in connection.execute(INDEXES)}
    engine.dispose()
    return found


def test_readings_are_refused_and_stored_while_the_fifth_revision_builds_its_indexes(fresh: str) -> None:
    migrate(fresh, "upgrade", "0004")
    assert set(indexes(fresh)) == {"ix_dead_letters_reason_stored_at"}, "the revision before builds none of them"
    engine = make_engine(fresh)
    under_way = engine.connect()
    under_way.execute(DEAD_LETTER, {"print": "a"})
    migrator = start_alembic(fresh, "upgrade", "head")
    deadline_s = time.monotonic() + 30
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        while not other.execute(BUILDING).scalar_one():
            assert time.monotonic() < deadline_s
            assert migrator.poll() is None
            time.sleep(0.05)
        other.execute(text("SET lock_timeout = '1s'"))
        other.execute(DEAD_LETTER, {"print": "b"})
        assert other.execute(text("SELECT count(*) FROM dead_letters")).scalar_one() == 1
        assert migrator.poll() is None, "it waits for what was under way"
    under_way.commit()
    under_way.close()
    output = migrator.communicate(timeout=60)[0]
    engine.dispose()
    assert migrator.returncode == 0, output
    assert len(indexes(fresh)) == 13
    assert all(indexes(fresh).values())


def test_an_index_whose_building_was_interrupted_is_built_again(fresh: str) -> None:
    migrate(fresh, "upgrade", "0004")
    engine = make_engine(fresh)
    under_way = engine.connect()
    under_way.execute(DEAD_LETTER, {"print": "a"})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        other.execute(text("SET statement_timeout = 300"))
        with pytest.raises(OperationalError):
            other.execute(text("CREATE INDEX CONCURRENTLY ix_dead_letters_device ON dead_letters (device, id DESC)"))
    under_way.commit()
    under_way.close()
    engine.dispose()
    assert indexes(fresh)["ix_dead_letters_device"] is False
    migrate(fresh)
    assert all(indexes(fresh).values())
    # As a database of somebody who had the indexes before they had a revision of their own.
    migrate(fresh, "stamp", "0004")
    migrate(fresh)
    assert len(indexes(fresh)) == 13


def test_the_tables_are_what_the_code_believes(engine: Engine) -> None:
    with engine.connect() as connection:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_object": lambda _o, name, kind, reflected, _c: (
                not (kind == "table" and reflected and name.startswith(NOT_OURS))
            ),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_constraints_have_the_names_and_columns_the_comments_that_the_code_says(engine: Engine) -> None:
    found = inspect(engine)
    for name, table in metadata.tables.items():
        assert found.get_pk_constraint(name)["name"] == f"pk_{name}"
        comments = {column["name"]: column["comment"] for column in found.get_columns(name)}
        assert comments == {column.name: column.comment for column in table.columns}
        for key in found.get_foreign_keys(name):
            assert key["name"] == f"fk_{name}_{key['constrained_columns'][0]}"


def test_readings_are_partitioned_by_month_on_time(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("SELECT pg_get_partkeydef('readings'::regclass)")).scalar() == 'RANGE ("time")'


def test_two_migrators_at_once_both_succeed(fresh: str) -> None:
    both = [start_alembic(fresh, "upgrade", "head") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert tables(fresh) == TABLES


def test_a_migration_speaks_json_and_says_what_setting_is_missing() -> None:
    process = start_alembic("", "upgrade", "head")
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "STREAMGAUGE_DATABASE_URL is required" in output
