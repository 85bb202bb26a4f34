"""Uplinks in a worker's task, on a real Postgres: what each becomes, and that a bad one takes nothing with it."""

import base64
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text

import tasks.decode
import tasks.pipeline
from streamgauge.live import stream
from streamgauge.payloads import registry
from streamgauge.payloads.base import Decoded
from streamgauge.queue import Message, ingest_body
from streamgauge.reading import Reading, to_microseconds
from streamgauge.storage.devices import Registration, write_registration
from streamgauge.wire import RawUplink
from tasks.pipeline import Outcome, Services, ingest_each
from tasks.work import Work
from tests.support.ingest import dead, services
from tests.support.network_messages import load_cases, register_all

CASES = load_cases()
RECEIVED_US = to_microseconds(datetime(2026, 11, 21, 2, 30, tzinfo=UTC))
AT_THE_DOOR = {
    "not_json",
    "not_an_uplink",
    "bad_device",
    "bad_time",
    "encrypted_payload",
    "device_mismatch",
    "time_out_of_range",
}
PASSING = [
    name for name, case in CASES.items() if case.expected.get("reason") not in AT_THE_DOOR and case.outcome != "ignored"
]


@pytest.fixture
def using(engine: Engine, redis: Redis) -> Services:
    with engine.begin() as connection:
        register_all(connection)
    return services(engine, redis)


def work_of(names: list[str], readings: list[Reading] | None = None, **changed: Mapping[str, Any]) -> Work:
    """A task with these recorded uplinks, each in a message of its own, and readings behind them."""
    messages = [Message(CASES[name].topic, CASES[name].network, RECEIVED_US) for name in names]
    messages.append(Message("streamgauge/v1/devices/tide/readings", "device", RECEIVED_US))
    uplinks = [(index, RawUplink(CASES[name].network, CASES[name].message)) for index, name in enumerate(names)]
    plain = [(len(names), reading) for reading in readings or []]
    return Work.from_body(json.loads(json.dumps(ingest_body(messages, plain, [], uplinks))))


def tide(minute: int) -> Reading:
    return Reading(device="tide", time=datetime(2026, 6, 19, 0, minute, tzinfo=UTC), level_m=0.5)


def stored(engine: Engine) -> Counter[str]:
    query = "SELECT name, count(*) AS readings FROM readings JOIN devices ON devices.id = device_id GROUP BY name"
    with engine.connect() as connection:
        return Counter({row.name: row.readings for row in connection.execute(text(query))})


def expected_of(names: list[str]) -> Counter[str]:
    return Counter(reading["device"] for name in names for reading in CASES[name].expected.get("readings", ()))


def ingest(names: list[str], using: Services, readings: list[Reading] | None = None) -> Outcome:
    return ingest_each(work_of(names, readings), using)


def test_good_and_bad_uplinks_and_readings_share_a_task(using: Services) -> None:
    outcome = ingest(PASSING, using, [tide(0), tide(1)])
    assert stored(using.engine) == expected_of(PASSING) + Counter(tide=2)
    refused = Counter(CASES[name].expected["reason"] for name in PASSING if CASES[name].outcome == "refused")
    assert dead(using.engine) == refused
    assert sum(outcome.uplinks.values()) == len(PASSING)
    for network in ("chirpstack", "tts"):
        for result in ("decoded", "status", "refused"):
            wanted = sum(CASES[name].network == network and CASES[name].outcome == result for name in PASSING)
            assert outcome.uplinks[network, result] == wanted
    for index, loss in outcome.losses_by_message().items():
        assert loss.reason == CASES[PASSING[index]].expected["reason"]


def test_an_uplink_that_the_pipeline_cannot_bear_takes_nothing_with_it(
    using: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = tasks.pipeline.gather

    def fails_on_the_weir(connection: Any, work: Work, devices: Any) -> Any:
        if "weir" in work.device:
            raise ValueError("the weir is too much")
        return sound(connection, work, devices)

    monkeypatch.setattr(tasks.pipeline, "gather", fails_on_the_weir)
    outcome = ingest(
        ["tts_normal", "chirpstack_normal", "tts_history", "tts_garbage"], using, [tide(0), tide(1), tide(2)]
    )
    assert stored(using.engine) == Counter(culvert=3, tide=3)
    assert dead(using.engine) == {"processing_failed": 1, "not_json": 1}
    assert outcome.dead_by_message() == {1: 1, 3: 1}
    with using.engine.connect() as connection:
        kept = connection.execute(
            text("SELECT payload FROM dead_letters WHERE reason = 'processing_failed'")
        ).scalar_one()
    assert bytes(kept) == CASES["chirpstack_normal"].message


def test_a_codec_that_breaks_costs_its_own_uplink_only(using: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = registry.find

    class Broken:
        model, parameters, measures = "decentlab_dl_mbx", (), "distance"

        def decode(self, *_: Any) -> Decoded:
            raise IndexError("list index out of range")

    monkeypatch.setattr(registry, "find", lambda model: Broken() if "mbx" in model else sound(model))
    ingest(["chirpstack_normal", "tts_normal"], using)
    assert stored(using.engine) == Counter(culvert=1)
    assert dead(using.engine) == {"processing_failed": 1}


def test_a_problem_in_a_good_frame_is_counted_and_the_reading_stays(using: Services) -> None:
    with using.engine.begin() as connection:
        write_registration(
            connection,
            Registration(
                name="culvert", dev_eui="24E124136D446138", model="milesight_em500_swl", parameters={"range_m": 0.5}
            ),
        )
    # One reading of a depth that this probe cannot tell, next to one that it can.
    message = json.loads(CASES["tts_history"].message)
    history = base64.b64decode(message["uplink_message"]["frm_payload"])
    message["uplink_message"]["frm_payload"] = base64.b64encode(history[:-2] + b"\x00\x20").decode()
    deep = json.dumps(message).encode()
    raw = ingest_body([Message("t", "tts", 0)], [], [], [(0, RawUplink("tts", deep))])
    outcome = ingest_each(Work.from_body(json.loads(json.dumps(raw))), using)
    assert outcome.problems["milesight_em500_swl"] >= 1
    assert (stored(using.engine), dead(using.engine)) == (Counter(culvert=1), {})


def test_a_frame_that_should_give_a_level_and_gives_none_is_kept_with_the_reason(using: Services) -> None:
    with using.engine.begin() as connection:
        write_registration(connection, Registration(name="weir", dev_eui="70B3D57BA000012F", model="decentlab_dl_mbx"))
    ingest(["chirpstack_normal"], using)
    assert dead(using.engine) == {"no_quantity": 1}
    with using.engine.connect() as connection:
        detail = connection.execute(text("SELECT detail FROM dead_letters")).scalar_one()
    assert "sensor_height_m" in detail


@pytest.mark.parametrize(
    ("registration", "words"),
    [
        (Registration(name="weir", dev_eui="70B3D57BA000012F", model="decentlab_dl_mbz"), "decentlab_dl_mbx"),
        (Registration(name="weir", dev_eui="70B3D57BA000012F", model="decentlab_dl_pr26"), "Pmax is missing"),
        (
            Registration(
                name="weir", dev_eui="70B3D57BA000012F", model="decentlab_dl_mbx", installation={"sensor_height_m": 1e9}
            ),
            "sensor_height_m",
        ),
        (
            Registration(
                name="weir", dev_eui="70B3D57BA000012F", model="decentlab_dl_mbx", installation={"height": 1.0}
            ),
            "height",
        ),
    ],
)
def test_a_registration_that_cannot_be_used_is_named(using: Services, registration: Registration, words: str) -> None:
    with using.engine.begin() as connection:
        write_registration(connection, registration)
    ingest(["chirpstack_normal"], using)
    assert dead(using.engine) == {"unknown_codec": 1}
    with using.engine.connect() as connection:
        detail = connection.execute(text("SELECT detail FROM dead_letters")).scalar_one()
    assert words in detail
    assert "python -m app add-device weir --update" in detail


def test_a_new_sensor_counts_at_once_and_a_changed_one_in_time(
    using: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(["tts_unknown_device"], using)
    assert dead(using.engine) == {"unknown_device": 1}
    newcomer = Registration(name="newcomer", dev_eui="24E124FFFFFFFFFF", model="milesight_em500_swl")
    with using.engine.begin() as connection:
        write_registration(connection, newcomer)
    ingest(["tts_unknown_device"], using)
    assert stored(using.engine) == Counter(newcomer=1)
    raised = Registration(
        name="newcomer", dev_eui="24E124FFFFFFFFFF", model="milesight_em500_swl", installation={"offset_m": 1.0}
    )
    with using.engine.begin() as connection:
        write_registration(connection, raised)
        connection.execute(text("TRUNCATE readings"))
    monkeypatch.setattr(tasks.decode, "SENSORS_TTL_S", -1.0)
    ingest(["tts_unknown_device"], using)
    with using.engine.connect() as connection:
        assert connection.execute(text("SELECT level_m FROM readings")).scalar_one() == pytest.approx(1.02)


def test_a_decommissioned_sensor_is_unknown(using: Services) -> None:
    with using.engine.begin() as connection:
        connection.execute(text("UPDATE devices SET decommissioned_at = now() WHERE name = 'culvert'"))
    ingest(["tts_normal"], using)
    assert dead(using.engine) == {"unknown_device": 1}


def test_a_simulated_reading_is_marked_for_the_live_pages(using: Services, redis: Redis) -> None:
    ingest(["tts_simulated", "tts_normal"], using)
    [event] = stream.read_after(redis, stream.START_ID)
    assert {reading["time"]: reading.get("simulated", False) for reading in event.readings} == {
        "2026-06-20T13:40:00.000Z": True,
        "2026-06-20T14:34:32.621391Z": False,
    }


def test_a_task_without_uplinks_asks_for_no_sensor(using: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(using.sensors, "look_up", None)
    work = work_of([], [tide(0)])
    assert tasks.decode.decode(work, using.engine, using.sensors, using.accepted).work is work
    ingest_each(work, using)
    assert stored(using.engine) == Counter(tide=1)
