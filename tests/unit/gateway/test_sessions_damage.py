"""``sessions.db`` is overwritten, cut or deleted while the gateway runs: no device that has joined becomes unknown."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from lorawan_field import Field, Sensor, otaa_device

from gateway.radio.heard import JoinAccepted, Refusal, Refused, Uplink
from gateway.radio.sessions_file import trace

Harm = Callable[[Path], None]


def delete(path: Path) -> None:
    path.unlink()


def delete_everything(path: Path) -> None:
    for one in path.parent.glob("sessions.db*"):
        one.unlink()


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1_000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def put_another_in_its_place(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(b"this is no database" * 500)


def overwrite(seed: int) -> Harm:
    def harm(path: Path) -> None:
        chance = random.Random(seed)
        damaged = bytearray(path.read_bytes())
        for _ in range(4):
            start = chance.randrange(0, len(damaged) - 600)
            damaged[start : start + 600] = chance.randbytes(600)
        with path.open("r+b") as file:
            file.write(damaged)

    return harm


def overwrite_the_log(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    with log.open("r+b") as file:
        file.write(random.Random(3).randbytes(log.stat().st_size))


def delete_the_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


HARMS: dict[str, Harm] = {
    "deleted": delete,
    "all deleted": delete_everything,
    "cut": cut,
    "emptied": empty,
    "another file": put_another_in_its_place,
    "log overwritten": overwrite_the_log,
    "log deleted": delete_the_log,
} | {f"overwritten {seed}": overwrite(seed) for seed in range(12)}


@pytest.mark.parametrize("is_checkpointed", [False, True])
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
def test_damage_is_noticed_at_the_next_use_and_no_joined_device_becomes_unknown(
    tmp_path: Path, harm: Harm, is_checkpointed: bool
) -> None:
    sensors = [Sensor(otaa_device(f"sensor-{number}", number)) for number in range(1, 21)]
    field = Field(tmp_path / "sessions.db", [sensor.device for sensor in sensors])
    talkative, *others = sensors
    for sensor in sensors:
        field.join(sensor)
        field.commit(field.hear(sensor.uplink()))
    for _ in range(3):
        assert talkative.takes_downlink(answered(field, talkative))
    if is_checkpointed:
        field.store._database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        field.store._seen = trace(field.path)
    harm(field.path)
    newcomer = others.pop()
    field.join(newcomer)  # the next use
    assert talkative.takes_downlink(answered(field, talkative))
    assert talkative.newest_down == 3  # the counter in memory goes on
    field.crash()
    for sensor in (talkative, newcomer, *others):
        heard = field.hear(sensor.uplink(confirmed=True))
        assert isinstance(heard, Uplink), sensor.device.name
        assert sensor.takes_downlink(field.answer(heard.answer))


def answered(field: Field, sensor: Sensor) -> bytes:
    heard = field.hear(sensor.uplink(confirmed=True))
    assert isinstance(heard, Uplink)
    field.commit(heard)
    return field.answer(heard.answer)


def test_what_was_damaged_is_kept_under_another_name(tmp_path: Path) -> None:
    sensor = Sensor(otaa_device())
    field = Field(tmp_path / "sessions.db", [sensor.device])
    field.join(sensor)
    put_another_in_its_place(field.path)
    assert isinstance(field.hear(sensor.join_request()), JoinAccepted)
    aside = [one for one in tmp_path.glob("sessions.db.damaged-*") if not one.name.endswith(("-wal", "-shm"))]
    assert [one.read_bytes()[:19] for one in aside] == [b"this is no database"]


def test_a_new_file_that_cannot_be_made_at_first_is_made_later_and_nobody_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database or disk is full")

    sensor, newcomer = Sensor(otaa_device()), Sensor(otaa_device("lock", 2))
    field = Field(tmp_path / "sessions.db", [sensor.device, newcomer.device])
    field.join(sensor)
    field.commit(field.hear(sensor.uplink()))
    overwrite(1)(field.path)
    with monkeypatch.context() as patched:
        patched.setattr("gateway.radio.sessions_file.open_file", fail)
        for _ in range(2):
            refused = field.hear(newcomer.join_request())
            assert isinstance(refused, Refused)
            assert refused.reason is Refusal.SESSIONS_UNAVAILABLE
    field.join(newcomer)
    field.crash()
    for one in (sensor, newcomer):
        assert isinstance(field.hear(one.uplink()), Uplink)


def test_a_closed_file_is_left_alone(tmp_path: Path) -> None:
    sensor = Sensor(otaa_device())
    field = Field(tmp_path / "sessions.db", [sensor.device])
    field.join(sensor)
    field.store.close()
    refused = field.hear(sensor.join_request())
    assert isinstance(refused, Refused)
    assert refused.reason is Refusal.SESSIONS_UNAVAILABLE
    assert [one.name for one in tmp_path.iterdir()] == ["sessions.db"]
