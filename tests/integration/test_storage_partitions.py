"""Monthly partitions, made when they are needed and by whoever comes first."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, text

from streamgauge.storage.partitions import existing_partitions, make_partitions, month_of, next_month, partition_name
from tasks.maintenance import make_coming_partitions


@pytest.fixture
def bare(engine: Engine) -> Engine:
    """A database without partitions."""
    with engine.begin() as connection:
        for name in existing_partitions(connection):
            connection.execute(text(f"DROP TABLE {name}"))
    return engine


def months(*pairs: tuple[int, int]) -> list[datetime]:
    return [datetime(year, month, 1, tzinfo=UTC) for year, month in pairs]


def test_missing_partitions_are_made_once(bare: Engine) -> None:
    wanted = months((2000, 1), (2026, 12), (2027, 1))
    for expected in (["readings_2000_01", "readings_2026_12", "readings_2027_01"], []):
        with bare.begin() as connection:
            assert make_partitions(connection, wanted) == expected
    with bare.connect() as connection:
        assert existing_partitions(connection) == {partition_name(month) for month in wanted}


def test_two_at_once_both_find_what_they_need(bare: Engine) -> None:
    wanted = months(*((2010, month) for month in range(1, 13)))
    barrier, failures, made = threading.Barrier(3), [], []

    def make(mine: list[datetime]) -> None:
        try:
            barrier.wait(10)
            with bare.begin() as connection:
                made.extend(make_partitions(connection, mine))
        except Exception as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=make, args=(share,)) for share in (wanted, wanted[::-1], wanted[3:9])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert sorted(made) == sorted(partition_name(month) for month in wanted)


def test_readers_and_writers_go_on_meanwhile(bare: Engine) -> None:
    with bare.begin() as connection:
        make_partitions(connection, months((2026, 11)))
        connection.execute(text("INSERT INTO devices (id, name) VALUES (1, 'a')"))
    with bare.connect() as writer, writer.begin():
        writer.execute(
            text("INSERT INTO readings (device_id, time, flags, received_at) VALUES (1, '2026-11-02Z', '{}', now())")
        )
        writer.execute(text("SELECT count(*) FROM readings"))
        with bare.begin() as connection:
            assert make_partitions(connection, months((2026, 12))) == ["readings_2026_12"]
    with bare.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM readings")).scalar() == 1


def test_maintenance_makes_this_month_and_the_next_two_over_the_year_s_end(bare: Engine) -> None:
    made = make_coming_partitions(bare, datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    assert made == ["readings_2026_11", "readings_2026_12", "readings_2027_01"]
    assert make_coming_partitions(bare, datetime(2026, 12, 1, tzinfo=UTC)) == ["readings_2027_02"]


def test_a_month_is_utc_s() -> None:
    late = datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert month_of(late) == datetime(2026, 11, 1, tzinfo=UTC)
    assert next_month(datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert partition_name(month_of(late)) == "readings_2026_11"


def test_a_row_lands_in_its_month_to_the_microsecond(bare: Engine) -> None:
    with bare.begin() as connection:
        make_partitions(connection, months((2026, 11), (2026, 12)))
        connection.execute(text("INSERT INTO devices (id, name) VALUES (1, 'a')"))
        insert = "INSERT INTO readings (device_id, time, flags, received_at) VALUES (1, :time, '{}', now())"
        for moment in ("2026-11-01T00:00:00Z", "2026-11-30T23:59:59.999999Z", "2026-12-01T00:00:00Z"):
            connection.execute(text(insert), {"time": moment})
    with bare.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM readings_2026_11")).scalar() == 2
        assert connection.execute(text("SELECT count(*) FROM readings_2026_12")).scalar() == 1
