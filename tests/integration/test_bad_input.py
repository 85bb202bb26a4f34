"""Bad input through the real broker: nothing stops, nothing vanishes; each thing has its reason, and the path still runs."""

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from embedded.programs import find_program
from streamgauge.wire import (
    batch_topic,
    chirpstack_topic,
    decode_stored,
    readings_topic,
    stored_topic,
    the_things_stack_topic,
)
from tests.support.system import System, running_system, wait_until

GATEWAY = "bad-gateway"
NOW = datetime.now(UTC)
SOUND = {"time": NOW.isoformat(), "level_m": 1.5}


class Publisher:
    """A client that publishes with QoS 1 and hears the gateway's answers."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self.answers: list[Any] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bad-input", protocol=mqtt.MQTTv311)
        self._client.username_pw_set(unquote(where.username or ""), unquote(where.password or ""))
        self._client.on_message = lambda _client, _userdata, message: self.answers.append(
            decode_stored(message.payload)
        )
        self._client.connect(where.hostname or "", where.port or 1883)
        self._client.loop_start()
        self._client.subscribe(stored_topic(GATEWAY), qos=1)

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1).wait_for_publish(30)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module", params=["mosquitto", "amqtt"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[System, Publisher]]:
    """A running system per broker: MQTT 5 with the one, 3.1.1 with the other. Unknown devices are not registered."""
    if request.param == "mosquitto" and not find_program("mosquitto"):
        pytest.skip("needs Mosquitto (apt-get install mosquitto)")
    directory = tmp_path_factory.mktemp(request.param)
    with running_system(directory, broker_kind=request.param, STREAMGAUGE_AUTO_REGISTER="0") as system:
        system.worker.start()
        system.subscriber.start()
        with system.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO devices (name) VALUES ('known'), ('probe')")
        publisher = Publisher(system.stack.addresses.mqtt_url)
        yield system, publisher
        publisher.close()


def device(payload: bytes) -> tuple[str, bytes]:
    return readings_topic("known"), payload


def reading(**fields: Any) -> tuple[str, bytes]:
    return device(json.dumps(SOUND | fields).encode())


def raw(text: str) -> tuple[str, bytes]:
    return device(text.encode())


def batch(readings: Any, name: Any = "b-1") -> tuple[str, bytes]:
    return batch_topic(GATEWAY), json.dumps({"batch": name, "readings": readings}).encode()


MOMENT = NOW.isoformat()
SMALL = {"device": "known", "time": "2026-01-01T00:00:00Z", "level_m": 1}
DIGITS = "9" * 1_000_000


@dataclass(frozen=True)
class Case:
    """What is published, the reason it must be kept under, and how many readings it stands for."""

    topic_and_payload: tuple[str, bytes]
    reason: str
    readings: int = 1


CASES = {
    "bytes that are not JSON": Case(device(b"\x00\xff\xfe water"), "not_json"),
    "nothing at all": Case(device(b""), "not_json"),
    "JSON cut off": Case(raw('{"time": "2026-11'), "not_json"),
    "nested too deep": Case(raw("[" * 100_000), "not_json"),
    "JSON that is not a reading": Case(raw('"high water"'), "not_a_reading"),
    "an array with a number in it": Case(raw("[7]"), "not_a_reading"),
    "NaN": Case(raw(f'{{"time": "{MOMENT}", "level_m": NaN}}'), "not_json"),
    "infinity": Case(raw(f'{{"time": "{MOMENT}", "level_m": Infinity}}'), "not_json"),
    "minus infinity by overflow": Case(raw(f'{{"time": "{MOMENT}", "level_m": -1e999}}'), "not_json"),
    "NaN as text": Case(reading(level_m="NaN"), "bad_number"),
    "a truth value": Case(reading(level_m=True), "bad_number"),
    "a million-digit number": Case(raw(f'{{"time": "{MOMENT}", "level_m": {DIGITS}}}'), "not_json"),
    "a million-digit number as text": Case(raw(f'{{"time": "{MOMENT}", "level_m": "{DIGITS}"}}'), "bad_number"),
    "a negative sequence number": Case(reading(seq=-1), "bad_number"),
    "a time without offset": Case(reading(time="2026-11-21T02:30:00"), "bad_time"),
    "a time that does not exist": Case(reading(time="2026-02-30T02:30:00Z"), "bad_time"),
    "a time as a number": Case(reading(time=1763692200), "bad_time"),
    "a time in 1970": Case(reading(time="1970-01-01T00:00:00Z"), "time_out_of_range"),
    "a time next year": Case(reading(time=(NOW + timedelta(days=366)).isoformat()), "time_out_of_range"),
    "no quantity": Case(raw(f'{{"time": "{MOMENT}", "battery_v": 3.6}}'), "no_quantity"),
    "a name that is too long": Case(reading(**{"x" * 65: 1.0}), "too_many_fields"),
    "a NUL in a name": Case(reading(**{"a\x00b": 1.0}), "too_many_fields"),
    "a thousand unlisted fields": Case(reading(**{f"x{number}": number for number in range(1000)}), "too_many_fields"),
    "another device than the topic's": Case(reading(device="somebody-else"), "device_mismatch"),
    "an unknown device": Case((readings_topic("stranger"), json.dumps(SOUND).encode()), "unknown_device"),
    "a device that is no name": Case((readings_topic("a b"), json.dumps(SOUND).encode()), "bad_device"),
    "an empty array": Case(raw("[]"), "empty_batch", 0),
    "an empty batch": Case(batch([], "empty"), "empty_batch", 0),
    "a batch of 100,000": Case(batch([SMALL] * 100_000, "long"), "message_too_large"),
    "a batch of 30,000": Case(batch([SMALL] * 30_000, "many"), "batch_too_long", 30_000),
    "a 10 MB payload": Case(device(b'"' + b"w" * 10_000_000 + b'"'), "message_too_large"),
    "a reading on a batch's topic": Case((batch_topic(GATEWAY), json.dumps(SOUND).encode()), "not_a_batch"),
    "a batch on a device's topic": Case(device(batch([SOUND])[1]), "bad_time"),
    "a batch without a name": Case(batch([SOUND | {"device": "known"}], None), "not_a_batch"),
    "a batch whose readings are none": Case(batch("many", "odd"), "not_a_batch"),
    "a compressed batch, cut off": Case((batch_topic(GATEWAY), gzip.compress(batch([SMALL])[1])[:-5]), "damaged_gzip"),
    "a compressed reading": Case(device(gzip.compress(json.dumps(SOUND).encode())), "not_json"),
    "a batch that unpacks to 100 MB": Case((batch_topic(GATEWAY), gzip.compress(b" " * 100_000_000)), "message_too_large"),
    "ChirpStack's event as Protocol Buffers": Case((chirpstack_topic("app", "70b3d57ba000012f"), b"\n$3ac7e3c4"), "not_json"),
    "an uplink that is none": Case((the_things_stack_topic("app@ttn", "weir"), b'{"water": "high"}'), "not_an_uplink"),
    "an uplink of 300 kB": Case((the_things_stack_topic("app@ttn", "weir"), b'"' + b"w" * 300_000 + b'"'), "message_too_large"),
}  # fmt: skip


def letters(system: System) -> list[Any]:
    return system.rows("SELECT reason, topic, payload, readings FROM dead_letters")


def store_probe(system: System, publisher: Publisher, number: int) -> None:
    """Show that the path still runs: one sound reading goes all the way."""
    before = system.scalar("SELECT count(*) FROM readings")
    moment = (NOW - timedelta(days=1) + timedelta(seconds=number)).isoformat()
    publisher.publish(readings_topic("probe"), json.dumps({"time": moment, "level_m": 0.5}).encode())
    wait_until(lambda: system.scalar("SELECT count(*) FROM readings") == before + 1, "the path does not run any more")


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_kept_with_its_reason_and_stops_nothing(running: tuple[System, Publisher], name: str) -> None:
    system, publisher = running
    case = CASES[name]
    topic, payload = case.topic_and_payload
    known = {(row.topic, bytes(row.payload)) for row in letters(system)}
    publisher.publish(topic, payload)
    wait_until(lambda: len(letters(system)) > len(known), f"{name}: no dead letter", 60, system.subscriber.tail)
    [letter] = [row for row in letters(system) if (row.topic, bytes(row.payload)) not in known]
    assert (letter.reason, letter.readings) == (case.reason, case.readings)
    assert letter.topic == topic
    if case.reason != "unknown_device":  # That one is found in the worker, which writes the reading anew.
        assert bytes(letter.payload) == payload
    store_probe(system, publisher, list(CASES).index(name))


def test_a_duplicate_with_other_values_is_kept_and_the_first_stays(running: tuple[System, Publisher]) -> None:
    system, publisher = running
    moment = (NOW - timedelta(hours=3)).isoformat()
    for level_m in (1.25, 1.25, 9.75):
        publisher.publish(readings_topic("known"), json.dumps({"time": moment, "level_m": level_m}).encode())
    query = "SELECT detail FROM dead_letters WHERE reason = 'conflicting_duplicate'"
    wait_until(lambda: bool(system.rows(query)), "no dead letter for the conflict")
    assert system.rows(query) == [("level_m 1.25 is stored, 9.75 arrived",)]
    levels = "SELECT level_m FROM readings WHERE time = :moment"
    assert [row.level_m for row in system.rows(levels, moment=moment)] == [1.25]
    store_probe(system, publisher, 500)


def test_a_batch_with_good_and_bad_readings_is_answered_with_both_counts(running: tuple[System, Publisher]) -> None:
    _system, publisher = running
    good = [
        {"device": "known", "time": (NOW - timedelta(days=9, minutes=n)).isoformat(), "level_m": 1.0} for n in range(3)
    ]
    bad = [
        {"device": "known", "time": "yesterday", "level_m": 1.0},
        {"device": "stranger", "time": MOMENT, "level_m": 1.0},
    ]
    publisher.publish(*batch([*good, *bad, good[0]], "mixed"))
    wait_until(lambda: any(answer.batch == "mixed" for answer in publisher.answers), "no stored answer")
    [answer] = {answer for answer in publisher.answers if answer.batch == "mixed"}
    # The repeat of a stored reading is stored too: it is in the database.
    assert (answer.stored, answer.dead) == (4, 2)


def test_a_compressed_batch_is_stored_and_answered(running: tuple[System, Publisher]) -> None:
    system, publisher = running
    moment = (NOW - timedelta(days=12)).isoformat()
    topic, payload = batch([{"device": "known", "time": moment, "level_m": 1.0}], "packed")
    publisher.publish(topic, gzip.compress(payload))
    wait_until(lambda: any(answer.batch == "packed" for answer in publisher.answers), "no stored answer")
    [answer] = {answer for answer in publisher.answers if answer.batch == "packed"}
    assert (answer.stored, answer.dead) == (1, 0)
    assert system.scalar("SELECT count(*) FROM readings WHERE time = :moment", moment=moment) == 1


def test_a_batch_that_is_refused_is_answered_so_that_its_gateway_need_not_send_it_for_ever(
    running: tuple[System, Publisher],
) -> None:
    _, publisher = running
    publisher.publish(*batch([], "empty again"))
    wait_until(lambda: any(answer.batch == "empty again" for answer in publisher.answers), "no stored answer")


def test_a_topic_that_nobody_knows_is_not_even_taken(running: tuple[System, Publisher]) -> None:
    system, publisher = running
    before = len(letters(system))
    publisher.publish("streamgauge/v1/devices/known/levels", json.dumps(SOUND).encode())
    store_probe(system, publisher, 501)
    assert len(letters(system)) == before


def test_the_same_bad_message_again_is_counted_not_kept_twice(running: tuple[System, Publisher]) -> None:
    system, publisher = running
    for _ in range(3):
        publisher.publish(readings_topic("known"), b"again and again")
        time.sleep(0.01)
    query = "SELECT times_seen FROM dead_letters WHERE payload = 'again and again'"
    wait_until(lambda: [tuple(row) for row in system.rows(query)] == [(3,)], "not counted three times")
