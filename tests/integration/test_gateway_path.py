"""Every way in, through a real gateway, broker, subscriber and worker, to the row in Postgres."""

import json
import random
import socket
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from streamgauge.lorawan import frames, gwmp
from streamgauge.lorawan.crypto import SessionKeys
from streamgauge.lorawan.gwmp import Reception
from streamgauge.payloads.registry import find
from streamgauge.sealing import seal
from streamgauge.wire import readings_topic
from tests.integration.simulator_broker import broker_at, running_broker
from tests.support.gateway import Gateway, devices_toml
from tests.support.system import System, running_system, wait_until

KEY = "k" * 40
TOKEN = "quay-s-token"
FORWARDER = bytes.fromhex("AA555A0000000101")
DEV_EUI, DEV_ADDR = bytes.fromhex("70B3D57ED0000001"), bytes.fromhex("26011F01")
KEYS = SessionKeys(bytes(range(16)), bytes(range(16, 32)))
HEIGHT_M = 6.0


def sealed(field: str, secret: bytes) -> str:
    return f'"{seal(secret, KEY, f"{DEV_EUI.hex().upper()}:{field}")}"'


def configuration() -> str:
    return devices_toml(
        [
            {
                "name": '"weir"',
                "model": '"decentlab_dl_mbx"',
                "activation": '"abp"',
                "dev_eui": f'"{DEV_EUI.hex()}"',
                "dev_addr": f'"{DEV_ADDR.hex()}"',
                "nwk_s_key": sealed("nwk_s_key", KEYS.nwk_s_key),
                "app_s_key": sealed("app_s_key", KEYS.app_s_key),
                "installation": f"{{ sensor_height_m = {HEIGHT_M} }}",
            },
            {
                "name": '"quay"',
                "activation": '"ip"',
                "token_sha256": f'"{sha256(TOKEN.encode()).hexdigest()}"',
                "installation": "{ sensor_height_m = 4.0 }",
            },
        ]
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("system"), worker_processes=1) as system:
        system.worker.start()
        system.subscriber.start()
        yield system


@pytest.fixture(scope="module")
def site_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_broker(tmp_path_factory.mktemp("site")) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(running: System, site_broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = {"STREAMGAUGE_GATEWAY_LOCAL_MQTT_URL": site_broker.url, "STREAMGAUGE_GATEWAY_UDP_RATE": "100000"}
    one = Gateway(running, tmp_path_factory.mktemp("gateway"), key=KEY, settings=settings)
    one.configure(configuration())
    one.start()
    yield one
    assert one.stop() == 0


class Forwarder:
    """A packet forwarder by hand."""

    def __init__(self, gateway: Gateway) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", gateway.udp_port))
        self.socket.settimeout(10)

    def send(self, datagram: bytes) -> None:
        self.socket.send(datagram)

    def push(self, phy: bytes, token: int = 1, **radio: Any) -> None:
        self.send(gwmp.make_push_data(token, FORWARDER, [Reception(phy=phy, forwarder=FORWARDER, **radio)]))

    def acknowledged(self, token: int) -> bool:
        while True:
            packet = gwmp.parse(self.socket.recv(65_536))
            if isinstance(packet, gwmp.PushAck) and packet.token == token:
                return True


@pytest.fixture
def forwarder(gateway: Gateway) -> Iterator[Forwarder]:
    one = Forwarder(gateway)
    yield one
    one.socket.close()


def uplink(f_cnt: int, distance_m: float, **more: Any) -> bytes:
    codec = find("decentlab_dl_mbx")
    payload = codec.encode({"distance_m": distance_m, "battery_v": 3.0}, {})
    return frames.make_uplink(KEYS, DEV_ADDR, f_cnt, codec.f_port, payload, **more)


def level_of(system: System, device: str, seq: int) -> Any:
    query = "SELECT level_m FROM readings JOIN devices ON devices.id = device_id WHERE name = :name AND seq = :seq"
    return system.scalar(query, name=device, seq=seq)


def arrives(system: System, device: str, seq: int, level_m: float) -> None:
    wait_until(lambda: level_of(system, device, seq) is not None, f"{device} {seq} did not arrive", 30)
    assert level_of(system, device, seq) == pytest.approx(level_m)


def test_a_frame_becomes_a_level_above_the_datum_and_its_best_signal_is_kept(
    running: System, gateway: Gateway, forwarder: Forwarder
) -> None:
    phy = uplink(1, 1.234)
    forwarder.push(phy, 7, rssi_dbm=-110.0, snr_db=-3.0)
    assert forwarder.acknowledged(7)
    arrives(running, "weir", 1, HEIGHT_M - 1.234)
    row = running.rows("SELECT rssi_dbm, extra FROM readings WHERE seq = 1")[0]
    assert row.extra["distance_m"] == pytest.approx(1.234)
    assert row.rssi_dbm == -110.0


def test_a_copy_heard_better_improves_the_reading_that_is_still_here(
    running: System, gateway: Gateway, forwarder: Forwarder
) -> None:
    phy = uplink(2, 1.5)
    forwarder.push(phy, 8, rssi_dbm=-110.0, snr_db=-3.0, tmst_us=1_000_000)
    forwarder.push(phy, 9, rssi_dbm=-71.0, snr_db=9.0, tmst_us=1_000_000)
    assert forwarder.acknowledged(9)
    arrives(running, "weir", 2, HEIGHT_M - 1.5)
    assert running.scalar("SELECT rssi_dbm FROM readings WHERE seq = 2") == -71.0
    assert running.scalar("SELECT count(*) FROM readings WHERE seq = 2") == 1


def test_a_replayed_frame_is_refused_even_by_a_gateway_that_was_killed(
    running: System, gateway: Gateway, forwarder: Forwarder
) -> None:
    phy = uplink(3, 1.6)
    forwarder.push(phy, 10)
    assert forwarder.acknowledged(10)
    gateway.kill()
    gateway.start()
    forwarder.push(phy, 11)
    assert forwarder.acknowledged(11), "repeating a refused frame does not help: it is acknowledged too"
    forwarder.push(uplink(4, 1.7), 12)
    assert forwarder.acknowledged(12)
    arrives(running, "weir", 4, HEIGHT_M - 1.7)
    assert running.scalar("SELECT count(*) FROM readings WHERE seq = 3") == 1
    assert "replayed_counter" in gateway.metrics()


def test_http_answers_when_it_is_kept(running: System, gateway: Gateway) -> None:
    assert gateway.post({"distance_m": 1.5, "seq": 100}, TOKEN)[0] == 201
    arrives(running, "quay", 100, 2.5)
    status, problem = gateway.post([{"level_m": "high"}, {"level_m": 3.0, "seq": 101}], TOKEN)
    assert (status, problem["stored"], problem["dead"]) == (422, 1, 1)
    arrives(running, "quay", 101, 3.0)
    refused = (gateway.folder / "state" / "refused.log").read_text()
    assert b'"level_m":"high"}'.hex() in refused


def test_the_broker_on_site(running: System, gateway: Gateway, site_broker: Any) -> None:
    broker = broker_at(site_broker)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(broker.username, broker.password)
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.publish(readings_topic("stranger"), b'{"level_m": 9}', qos=1).wait_for_publish(10)
    client.publish(readings_topic("quay"), b"\xff", qos=1).wait_for_publish(10)
    client.publish(readings_topic("quay"), json.dumps({"level_m": 1.75, "seq": 200}), qos=1).wait_for_publish(10)
    arrives(running, "quay", 200, 1.75)
    client.disconnect()
    client.loop_stop()
    assert running.scalar("SELECT count(*) FROM devices WHERE name = 'stranger'") == 0


def test_whatever_comes_over_udp_a_sound_frame_still_arrives(
    running: System, gateway: Gateway, forwarder: Forwarder
) -> None:
    chance = random.Random(5)
    sound = gwmp.make_push_data(1, FORWARDER, [Reception(phy=uplink(50, 1.0), forwarder=FORWARDER)])
    for length in (0, 1, 3, 4, 11, 12, 13, 500, 1_472, 9_000, 65_507):
        forwarder.send(chance.randbytes(length))
    for length in range(0, len(sound), 7):
        forwarder.send(sound[:length])
    wrong = SessionKeys(bytes(16), bytes(16))
    phys = [
        frames.make_uplink(wrong, DEV_ADDR, 51, 1, b"\2\1\x2f\0\3\4\xd2\0\1\x0b\xb1"),
        frames.make_uplink(KEYS, bytes(4), 51, 1, b"x"),
        frames.make_uplink(KEYS, DEV_ADDR, 52, 1, find("milesight_em500_swl").encode({"depth_m": 1.0}, {})),
        frames.make_uplink(KEYS, DEV_ADDR, 53, 1, b""),
        frames.make_uplink(KEYS, DEV_ADDR, 54, 0, b"\2\3\5"),
        frames.make_join_request(bytes(16), bytes(8), DEV_EUI, 1),
        chance.randbytes(40),
        b"",
    ]
    for phy in phys:
        forwarder.push(phy, 20)
    forwarder.push(uplink(60, 1.1), 21)
    assert forwarder.acknowledged(21)
    arrives(running, "weir", 60, HEIGHT_M - 1.1)
    made_up = running.scalar(
        "SELECT count(*) FROM readings JOIN devices ON devices.id=device_id WHERE seq IN (51,52,53,54)"
    )
    assert made_up == 0
    counted = gateway.metrics()
    for reason in ("bad_mic", "unknown_dev_addr", "mac_only", "payload_refused", "too_short", "not_lorawan"):
        assert reason in counted


def test_the_page_tells_an_installer_what_was_heard(gateway: Gateway, forwarder: Forwarder) -> None:
    forwarder.push(uplink(70, 1.2), 30)
    assert forwarder.acknowledged(30)
    english, vietnamese = page(gateway, "en"), page(gateway, "vi")
    assert "weir" in english
    assert "4.800" in english
    assert 'lang="vi"' in vietnamese
    assert KEYS.app_s_key.hex() not in english


def test_nothing_of_a_key_stands_in_the_log(gateway: Gateway) -> None:
    log = gateway.process.log.read_text()
    for secret in (KEY, KEYS.nwk_s_key.hex(), KEYS.app_s_key.hex(), TOKEN):
        assert secret not in log


def page(gateway: Gateway, language: str) -> str:
    with urllib.request.urlopen(f"{gateway.url}/?lang={language}", timeout=10) as answer:
        return str(answer.read().decode())
