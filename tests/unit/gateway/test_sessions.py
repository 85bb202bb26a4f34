"""``sessions.db`` keeps what devices were told, sealed, and survives damage."""

import random
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.radio.sessions import (
    WAITING_PER_DEVICE,
    NonceUsed,
    Session,
    SessionsTooNew,
    SessionStore,
    SessionsUnavailable,
)
from gateway.radio.sessions_file import forget_nonces
from streamgauge.lorawan.crypto import SessionKeys

KEY = "a gateway's key of some forty characters"
APP_KEY = b"sixteen bytes..."
DEV_EUI = bytes.fromhex("0004A30B001C0530")


def session(number: int, dev_eui: bytes = DEV_EUI) -> Session:
    return Session(
        id=f"otaa-{number:04}",
        dev_eui=dev_eui,
        dev_addr=number.to_bytes(4, "big"),
        keys=SessionKeys(bytes([number]) * 16, bytes([number + 100]) * 16),
        app_nonce=number,
        created=datetime(2026, 11, 21, 12, 0, number % 60, tzinfo=UTC),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def test_sessions_come_back_as_they_were(path: Path) -> None:
    store = SessionStore(path, KEY)
    store.add(session(1), 1, APP_KEY)
    store.close()
    store = SessionStore(path, KEY)
    assert store.load() == [session(1)]
    assert store.newest_app_nonce(DEV_EUI) == 1
    assert store.newest_app_nonce(bytes(8)) is None


def test_keys_are_not_in_the_file_in_the_clear(path: Path) -> None:
    store = SessionStore(path, KEY)
    store.add(session(1), 1, APP_KEY)
    store.close()
    content = path.read_bytes()
    assert session(1).keys.nwk_s_key not in content
    assert session(1).keys.nwk_s_key.hex().encode() not in content.lower()
    assert path.stat().st_mode & 0o077 == 0


def test_another_gateways_key_opens_nothing_and_loses_nothing(path: Path) -> None:
    store = SessionStore(path, KEY)
    store.add(session(1), 1, APP_KEY)
    store.close()
    other = SessionStore(path, "another key")
    assert other.load() == []
    other.close()
    assert SessionStore(path, KEY).load() == [session(1)]


def test_a_nonce_is_used_once_and_a_refused_join_changes_nothing(path: Path) -> None:
    store = SessionStore(path, KEY)
    store.add(session(1), 7, APP_KEY)
    with pytest.raises(NonceUsed):
        store.add(session(2), 7, APP_KEY)
    assert store.load() == [session(1)]
    store.add(session(3, dev_eui=bytes(8)), 7, APP_KEY)


def test_nonces_belong_to_an_app_key_which_the_file_does_not_tell(path: Path) -> None:
    store = SessionStore(path, KEY)
    store.add(session(1), 7, APP_KEY)
    store.add(session(2), 7, APP_KEY[::-1])
    for number, app_key in ((3, APP_KEY), (4, APP_KEY[::-1])):
        with pytest.raises(NonceUsed, match="forget-nonces"):
            store.add(session(number), 7, app_key)
    store.close()
    content = path.read_bytes()
    assert APP_KEY not in content
    assert APP_KEY.hex().encode() not in content.lower()


def test_nonces_of_version_1_count_for_every_key_until_they_are_forgotten(path: Path) -> None:
    SessionStore(path, KEY).close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE key_nonces")
        database.execute("PRAGMA user_version = 1")
        database.execute("INSERT INTO dev_nonces VALUES (?, 7), (?, 8)", (DEV_EUI, bytes(8)))
    database.close()
    store = SessionStore(path, KEY)
    with pytest.raises(NonceUsed):
        store.add(session(1), 7, APP_KEY)
    store.add(session(1), 9, APP_KEY)
    store.close()
    assert forget_nonces(path, DEV_EUI) == 2
    store = SessionStore(path, KEY)
    assert store.load() == [session(1)]
    store.add(session(2), 7, APP_KEY)
    store.add(session(3), 9, APP_KEY)
    with pytest.raises(NonceUsed):
        store.add(session(4, dev_eui=bytes(8)), 8, APP_KEY)


def test_unheard_sessions_of_a_device_are_bounded_and_a_proven_one_ends_the_others(path: Path) -> None:
    store = SessionStore(path, KEY)
    store.add(session(0), 0, APP_KEY)
    store.prove("otaa-0000")
    dropped = [gone for number in range(1, 8) for gone in store.add(session(number), number, APP_KEY)]
    assert dropped == ["otaa-0001", "otaa-0002", "otaa-0003"]
    assert len(store.load()) == 1 + WAITING_PER_DEVICE
    store.prove("otaa-0006")
    assert [(left.id, left.proven) for left in store.load()] == [("otaa-0006", True)]


def test_downlink_counters_grow_over_restarts(path: Path) -> None:
    given: list[int] = []
    for _ in range(4):
        store = SessionStore(path, KEY)
        given += [store.next_down_counter("otaa-0001") for _ in range(130)]
        store.close()
    assert given == sorted(set(given))


def test_a_file_of_a_newer_program_is_left_alone(path: Path) -> None:
    SessionStore(path, KEY).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SessionsTooNew):
        SessionStore(path, KEY)
    assert path.exists()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SessionsUnavailable):
        SessionStore(tmp_path / "missing" / "sessions.db", KEY)


def test_a_file_that_is_no_database_is_set_aside(path: Path) -> None:
    for number in range(2):
        path.write_bytes(b"this is no database, but it is long enough to look like one" * 20)
        SessionStore(path, KEY).close()
        assert len(list(path.parent.glob("sessions.db.damaged-*"))) == number + 1


def test_a_damaged_file_is_set_aside_and_what_can_be_read_lives_on(path: Path) -> None:
    store = SessionStore(path, KEY)
    for number in range(40):
        store.add(session(number, dev_eui=number.to_bytes(8, "big")), number, APP_KEY)
    given = {name: store.next_down_counter(name) for name in ("otaa-0003", "abp-01020304")}
    store.close()
    whole = path.read_bytes()
    chance, survivors, set_aside = random.Random(5), 0, 0
    for _ in range(30):
        damaged = bytearray(whole)
        start = chance.randrange(100, len(damaged) - 600)
        damaged[start : start + 600] = chance.randbytes(600)
        path.write_bytes(damaged)
        store = SessionStore(path, KEY)
        loaded = store.load()
        for left in loaded:
            assert replace(left, proven=False) == session(left.app_nonce, dev_eui=left.app_nonce.to_bytes(8, "big"))
        survivors += len(loaded)
        store.add(session(50), 50, APP_KEY)
        assert store.next_down_counter("otaa-0050") == 0
        asides = [
            aside for aside in path.parent.glob("sessions.db.damaged-*") if not aside.name.endswith(("-shm", "-wal"))
        ]
        if asides:
            set_aside += 1
            assert asides[0].read_bytes() == bytes(damaged)
            assert all(store.next_down_counter(name) > down for name, down in given.items())
        store.close()
        for leftover in path.parent.glob("sessions.db*"):
            leftover.unlink()
    assert set_aside > 10
    assert survivors > 300
