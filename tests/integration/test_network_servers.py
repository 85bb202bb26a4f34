"""ChirpStack's and The Things Stack's messages through the real broker, subscriber, queue, worker and Postgres; by MQTT and by
webhook, on the running system.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from streamgauge import network_servers
from tests.support.network_messages import Case, load_cases, register_all
from tests.support.system import System, running_system, wait_until

CASES = load_cases()
NORMAL = {"chirpstack": CASES["chirpstack_normal"], "tts": CASES["tts_normal"]}
READINGS = """
SELECT devices.name AS device, time, level_m, battery_v, rssi_dbm, snr_db, seq, extra
FROM readings JOIN devices ON devices.id = device_id ORDER BY time
"""
LETTERS = "SELECT reason, detail, topic, source, payload, readings FROM dead_letters"
READING_COLUMNS = ("level_m", "battery_v", "rssi_dbm", "snr_db", "seq")


class Running:
    """The system with its registered devices, a publisher, and a token for the webhooks."""

    def __init__(self, system: System) -> None:
        self.system = system
        where = urlsplit(system.stack.addresses.mqtt_url)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="network-servers")
        self._client.username_pw_set(unquote(where.username or ""), unquote(where.password or ""))
        self._client.connect(where.hostname or "", where.port or 1883)
        self._client.loop_start()
        self.token = self._token("write")
        self.readers_token = self._token("read")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, message: bytes) -> None:
        self._client.publish(topic, message, qos=1).wait_for_publish(30)

    def post(self, network: str, message: bytes, event: str = "up", token: str | None = None) -> tuple[int, Any]:
        """What curl would do; (status, JSON)."""
        query = f"?event={event}" if network == "chirpstack" else ""
        request = urllib.request.Request(
            f"{self.system.http_url}/api/v1/webhooks/{network}{query}",
            data=message,
            headers={"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def get(self, path: str) -> Any:
        request = urllib.request.Request(
            f"{self.system.http_url}/api/v1/{path}", headers={"Authorization": f"Bearer {self.readers_token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def readings(self) -> list[Any]:
        return self.system.rows(READINGS)

    def letters(self) -> list[Any]:
        return self.system.rows(LETTERS)

    def _token(self, scope: str) -> str:
        made = self.system.run("-m", "app", "create-token", "--name", scope, "--scope", scope)
        return str(json.loads(made.stdout)["token"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_system(tmp_path_factory.mktemp("network-servers"), STREAMGAUGE_AUTO_REGISTER="1") as system:
        for part in (system.worker, system.subscriber, system.web):
            part.start()
        with system.engine.begin() as connection:
            register_all(connection)
        running = Running(system)
        yield running
        running.close()


@pytest.fixture
def running(shared: Running) -> Running:
    shared.system.empty()
    return shared


def as_recorded(row: Any) -> dict[str, Any]:
    """A stored reading as the recorded messages write what is expected; what is absent is left out."""
    values = {name: getattr(row, name) for name in READING_COLUMNS if getattr(row, name) is not None}
    extra = {name: pytest.approx(value) for name, value in (row.extra or {}).items()}
    return {"device": row.device, **{name: pytest.approx(value) for name, value in values.items()}, "extra": extra}


def expect_stored(running: Running, expected: list[dict[str, Any]]) -> None:
    rows = running.readings()
    for row, wanted in zip(rows, expected, strict=True):
        assert {name: value for name, value in wanted.items() if name != "time"} == as_recorded(row)
        assert row.time == datetime.fromisoformat(wanted["time"])


def expect_kept(running: Running, case: Case) -> None:
    [letter] = running.letters()
    assert (letter.reason, letter.source, letter.readings) == (case.expected["reason"], case.network, 1)
    assert case.expected["words"] in letter.detail
    assert bytes(letter.payload) == network_servers.without_keys(case.network, case.message)


def wait_for_lane(running: Running, case: Case) -> None:
    """Wait until everything before on the same topic is committed: a sender's messages keep their order."""
    sender = NORMAL[case.network]
    if case.topic != sender.topic:
        return
    running.publish(sender.topic, sender.message)
    wait_until(lambda: bool(running.readings()), "nothing came through", 60, running.system.worker.tail)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_recorded_message_by_mqtt(running: Running, case: Case) -> None:
    running.publish(case.topic, case.message)
    if case.outcome == "decoded":
        wanted = case.expected["readings"]
        wait_until(lambda: len(running.readings()) == len(wanted), case.name, 60, running.system.worker.tail)
        expect_stored(running, wanted)
        assert running.letters() == []
    elif case.outcome == "refused":
        wait_until(lambda: bool(running.letters()), case.name, 60, running.system.worker.tail)
        expect_kept(running, case)
        assert running.letters()[0].topic == case.topic
        assert running.readings() == []
    else:
        wait_for_lane(running, case)
        assert len(running.readings()) == (case.topic == NORMAL[case.network].topic)
        assert running.letters() == []


@pytest.mark.parametrize("case", [case for case in CASES.values() if not case.needs_topic], ids=lambda case: case.name)
def test_a_recorded_message_by_webhook(running: Running, case: Case) -> None:
    status, answer = running.post(case.network, case.message, case.event)
    if case.outcome == "decoded":
        assert (status, answer) == (201, {"committed": True})
        expect_stored(running, case.expected["readings"])
        assert running.letters() == []
    elif case.outcome == "refused":
        assert (status, answer["reason"]) == (422, case.expected["reason"])
        assert case.expected["words"] in answer["detail"]
        expect_kept(running, case)
        assert running.letters()[0].topic == f"POST /api/v1/webhooks/{case.network}"
        assert running.readings() == []
    else:
        assert status == (201 if case.outcome == "status" else 204)
        assert (running.readings(), running.letters()) == ([], [])


def test_the_same_frame_by_mqtt_and_by_webhook_and_again_is_stored_once(running: Running) -> None:
    case = CASES["chirpstack_normal"]
    for _ in range(2):
        running.publish(case.topic, case.message)
    for _ in range(2):
        wait_until(lambda: running.post(case.network, case.message)[0] == 201, "not accepted", 60)
    wait_until(lambda: len(running.readings()) == 1, "not stored", 60)
    expect_stored(running, case.expected["readings"])
    assert running.letters() == []


def test_an_unknown_sensor_is_stored_once_it_is_registered_with_the_command_in_its_dead_letter(
    running: Running,
) -> None:
    case = CASES["tts_unknown_device"]
    assert running.post("tts", case.message)[0] == 422
    [letter] = running.letters()
    command = (
        letter.detail.partition("python -m app ")[2]
        .replace("NAME", "newcomer")
        .replace("MODEL", "milesight-iot/em500-swl")
    )
    made = running.system.run("-m", "app", *command.rstrip(".").split())
    assert json.loads(made.stdout)["model"] == "milesight_em500_swl"
    # What the dead letter kept is what came: sending it again is its replay.
    assert running.post("tts", bytes(letter.payload)) == (201, {"committed": True})
    assert [row.device for row in running.readings()] == ["newcomer"]
    assert running.system.scalar("SELECT count(*) FROM devices WHERE auto_registered") == 0


def test_the_api_marks_a_simulated_reading_and_lists_the_sensor(running: Running) -> None:
    for name in ("tts_normal", "tts_simulated"):
        assert running.post("tts", CASES[name].message)[0] == 201
    readings = running.get("devices/culvert/readings")["readings"]
    assert [reading.get("simulated", False) for reading in readings] == [True, False]
    [device] = [device for device in running.get("devices")["devices"] if device["device"] == "culvert"]
    assert (device["dev_eui"], device["model"]) == ("24E124136D446138", "milesight_em500_swl")


def test_a_webhook_needs_a_token_that_may_write(running: Running) -> None:
    message = CASES["tts_normal"].message
    assert running.post("tts", message, token=running.readers_token)[0] == 403
    assert running.post("tts", message, token="sg_nobody")[0] == 401
    assert (running.readings(), running.letters()) == ([], [])


def test_chirpstack_s_other_events_are_ignored_and_unknown_ones_refused(running: Running) -> None:
    message = CASES["chirpstack_normal"].message
    for event in ("join", "ack", "txack", "log", "status", "location", "integration"):
        assert running.post("chirpstack", message, event)[0] == 204
    assert running.post("chirpstack", message, "downpour")[0] == 400
    assert (running.readings(), running.letters()) == ([], [])


def test_a_webhook_is_told_to_come_again_while_nothing_is_committed(running: Running) -> None:
    case = CASES["tts_normal"]
    running.system.worker.kill()
    try:
        status, answer = running.post(case.network, case.message)
        assert (status, answer["title"]) == (503, "Not committed in time")
    finally:
        running.system.worker.start()
    wait_until(lambda: running.post(case.network, case.message)[0] == 201, "not accepted", 60)
    wait_until(lambda: len(running.readings()) == 1, "not stored", 60)


def test_what_the_door_ignores_and_refuses_is_counted(running: Running) -> None:
    for name in ("chirpstack_mac_only", "chirpstack_encrypted"):
        running.post("chirpstack", CASES[name].message)
    page = urllib.request.urlopen(f"{running.system.http_url}/metrics", timeout=30).read().decode()
    for outcome in ("ignored", "refused"):
        assert f'streamgauge_uplinks_total{{network="chirpstack",outcome="{outcome}"}}' in page
