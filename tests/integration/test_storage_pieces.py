"""Pieces of storage that the pipeline rests on, on a real Postgres."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from streamgauge.errors import DeadReason
from streamgauge.storage.binary_copy import copy_rows
from streamgauge.storage.dead_letters import MAX_DETAIL_CHARACTERS, DeadLetter, fingerprint, write_dead_letters
from streamgauge.storage.devices import find_devices, register_devices
from streamgauge.storage.engine import make_engine
from streamgauge.storage.models import ensure_model

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def letter(**changes: Any) -> DeadLetter:
    standard: dict[str, Any] = {
        "topic": "t", "source": "gateway", "reason": DeadReason.NOT_JSON, "detail": "d", "payload": b"p", "readings": 1,
        "received_at": NOW,
    }  # fmt: skip
    return DeadLetter(**standard | changes)


def test_rows_come_out_as_they_are(engine: Engine) -> None:
    query = (
        "SELECT n::bigint, CASE WHEN n = 2 THEN 'NaN'::float8 ELSE n / 3.0::float8 END, (n - 3)::smallint "
        "FROM generate_series(1, 3) n"
    )
    with engine.connect() as connection:
        rows = copy_rows(connection, query, (), {"n": ">i8", "x": ">f8", "f": ">i2"})
        nothing = copy_rows(connection, "SELECT 1::bigint WHERE false", (), {"n": ">i8"})
    assert rows["n"].tolist() == [1, 2, 3]
    assert rows["x"][[0, 2]].tolist() == [1 / 3, 1.0]
    assert np.isnan(rows["x"][1])
    assert rows["f"].tolist() == [-2, -1, 0]
    assert len(nothing) == 0


@pytest.mark.parametrize(
    ("query", "dtype"), [("SELECT NULL::bigint", ">i8"), ("SELECT 1::integer", ">i8"), ("SELECT 'text'", ">f8")]
)
def test_rows_of_another_shape_are_refused(engine: Engine, query: str, dtype: str) -> None:
    with engine.connect() as connection, pytest.raises(ValueError, match=r"column|rows|size|multiple"):
        copy_rows(connection, query, (), {"n": dtype})


def test_a_dead_letter_that_comes_again_is_counted(engine: Engine) -> None:
    later = NOW + timedelta(minutes=1)
    for received_at in (NOW, NOW, later, NOW):
        with engine.begin() as connection:
            write_dead_letters(connection, [letter(received_at=received_at)])
    with engine.connect() as connection:
        row = connection.execute(text("SELECT times_seen, received_at, last_received_at FROM dead_letters")).one()
    assert tuple(row) == (2, NOW, later)


def test_dead_letters_differ_by_reason_topic_and_payload_and_not_by_where_these_meet() -> None:
    same = {fingerprint(letter()), fingerprint(letter(detail="other", readings=5))}
    others = {
        fingerprint(letter(reason=DeadReason.BAD_TIME)),
        fingerprint(letter(topic="x")),
        fingerprint(letter(payload=b"x")),
        fingerprint(letter(topic="tp", payload=b"")),
    }
    assert len(same) == 1
    assert len(same | others) == 5


def test_a_dead_letter_is_kept_whatever_its_text_holds(engine: Engine) -> None:
    odd = letter(topic="a\x00b\ud800", detail="\x00" + "x" * 10_000, payload=bytes(range(256)) * 40_000, device="a")
    with engine.begin() as connection:
        write_dead_letters(connection, [odd])
    with engine.connect() as connection:
        row = connection.execute(text("SELECT topic, detail, payload FROM dead_letters")).one()
    assert row.topic == "a\\x00b\\ud800"
    assert len(row.detail) == MAX_DETAIL_CHARACTERS
    assert bytes(row.payload) == odd.payload


def test_writers_of_the_same_dead_letters_do_not_wait_for_each_other_for_ever(engine: Engine) -> None:
    letters = [letter(payload=bytes([number])) for number in range(60)]
    failures: list[Exception] = []

    def write(mine: list[DeadLetter]) -> None:
        try:
            for _ in range(5):
                with engine.begin() as connection:
                    write_dead_letters(connection, mine)
        except Exception as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(order,)) for order in (letters, letters[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_devices_are_registered_once_and_found_by_name(engine: Engine) -> None:
    names = {"b", "a", "%s", "with'quote"}
    with engine.begin() as connection:
        register_devices(connection, names)
        register_devices(connection, {"a", "c"})
        connection.execute(
            text("UPDATE devices SET gross_min_m = -1, quality = '{\"spike_fail_m\": 2}' WHERE name = 'a'")
        )
        found = find_devices(connection, {"a", "b", "nobody"})
        assert connection.execute(text("SELECT count(*) FROM devices WHERE auto_registered")).scalar() == 5
    assert set(found) == {"a", "b"}
    assert found["a"].limits == {"gross_min_m": -1.0, "spike_fail_m": 2}
    assert found["b"].limits == {}


def test_a_model_has_one_id(engine: Engine) -> None:
    with engine.begin() as connection:
        first = ensure_model(connection, "abc", {"a": 1})
        assert ensure_model(connection, "abc", {}) == first
        assert ensure_model(connection, "def", {}) != first


def test_a_connection_is_in_utc_named_and_limited_and_survives_a_restart(database_url: str, engine: Engine) -> None:
    own = make_engine(database_url, pool_size=1, application_name="named-so", statement_timeout_ms=1_234)
    for _ in range(2):
        with own.connect() as connection:
            shown = [
                connection.execute(text(f"SHOW {name}")).scalar()
                for name in ("TimeZone", "application_name", "statement_timeout")
            ]
        assert shown == ["UTC", "named-so", "1234ms"]
        with engine.begin() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'named-so'")
            )
    own.dispose()
    assert "***" in repr(own.url)
