"""The publisher against a real broker and a cloud that answers as the test says; against brokers that do not behave."""

import gzip
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from simulator_broker import running_broker, until

from embedded.broker import MOSQUITTO_CONFIGURATION
from embedded.server import Server
from gateway.buffer.buffer import Buffer
from gateway.buffer.keeper import Keeper
from gateway.entries import Parcel
from gateway.handover.batches import BatchOptions
from gateway.handover.publish import Publisher, PublishOptions
from streamgauge.gateway_metrics import ANSWERS_IGNORED, BATCHES_SENT
from streamgauge.mqtt.link import LinkOptions
from streamgauge.wire import batch_topic, status_topic, stored_topic
from tests.support.buffered import entry, number_of, numbers_in, open_buffer, parcel

GATEWAY = "gateway-under-test"
Answer = dict[str, Any] | bytes


class Cloud:
    """Takes batches and answers as ``answers`` says; from its own thread."""

    def __init__(self, url: str) -> None:
        self.stored: Counter[int] = Counter()
        self.order: list[int] = []
        self.batches: Counter[str] = Counter()
        self.payloads: list[bytes] = []
        self.statuses: list[Any] = []
        self.answers: Callable[[str, list[int]], list[Answer]] = lambda name, numbers: [
            {"batch": name, "stored": len(numbers), "dead": 0}
        ]
        where = urlsplit(url)
        self._subscribed = threading.Event()
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"cloud-{id(self)}")
        client.username_pw_set(where.username or "", where.password)
        client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]
        client.on_connect = lambda client, *_: client.subscribe([(batch_topic(GATEWAY), 1), (status_topic(GATEWAY), 1)])
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._on_message
        client.connect(where.hostname or "", where.port or 1883, keepalive=5)
        client.loop_start()
        assert self._subscribed.wait(10)

    def close(self) -> None:
        self._client.publish(status_topic(GATEWAY), b"", retain=True)
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, answer: Answer) -> None:
        payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self._client.publish(stored_topic(GATEWAY), payload, qos=1)

    def _on_message(self, _client: mqtt.Client, _user: Any, message: mqtt.MQTTMessage) -> None:
        if not message.payload:
            return
        if message.topic.endswith("/status"):
            self.statuses.append(json.loads(message.payload))
            return
        self.payloads.append(message.payload)
        is_packed = message.payload.startswith(b"\x1f\x8b")
        content = json.loads(gzip.decompress(message.payload) if is_packed else message.payload)
        numbers = [number_of(json.dumps(reading).encode()) for reading in content["readings"]]
        self.batches[content["batch"]] += 1
        answers = self.answers(content["batch"], numbers)
        if answers:
            self.stored.update(numbers)
            self.order += numbers
        for answer in answers:
            self.say(answer)


class Gateway:
    """Buffer, keeper and publisher, running."""

    def __init__(
        self, folder: Path, url: str, *, protocol: str = "auto", resend_after_s: float = 1.0, **batches: Any
    ) -> None:
        self.buffer: Buffer = open_buffer(folder)
        self.keeper = Keeper(self.buffer, max_waiting=20_000)
        link = LinkOptions(
            url=url,
            protocol=protocol,
            client_id=GATEWAY,
            ca_file=None,
            receive_maximum=100,
            session_expiry_s=0,
            topics=(),
        )
        options = PublishOptions(
            gateway=GATEWAY,
            version="1.2.3",
            batches=BatchOptions(**{"batch_readings": 10, "batch_age_s": 0.05} | batches),
            resend_after_s=resend_after_s,
        )
        self.publisher = Publisher(link, self.keeper, self.buffer, options)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.publisher.run, args=(self._stopping.is_set,))

    def start(self) -> None:
        self.keeper.start()
        self._thread.start()

    def submit(self, *numbers: int) -> None:
        assert self.keeper.submit(parcel(*numbers))

    def stop(self, seconds: float = 15.0) -> None:
        self._stopping.set()
        self.publisher.wake()
        if self._thread.ident is not None:
            self._thread.join(seconds)
            assert not self._thread.is_alive()
        self.keeper.stop()
        self.publisher.close()
        self.buffer.close()


@contextmanager
def running(folder: Path, url: str, **options: Any) -> Iterator[Gateway]:
    gateway = Gateway(folder, url, **options)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture
def cloud(mqtt_url: str) -> Iterator[Cloud]:
    cloud = Cloud(mqtt_url)
    yield cloud
    cloud.close()


def test_what_is_accepted_arrives_once_and_is_deleted_when_it_is_stored(
    tmp_path: Path, mqtt_url: str, cloud: Cloud
) -> None:
    with running(tmp_path, mqtt_url) as gateway:
        for number in range(100):
            gateway.submit(number)
        until(lambda: len(cloud.stored) == 100)
        until(lambda: gateway.buffer.count == 0)
        state = gateway.publisher.link_state()
        assert state.connected
        assert state.last_stored_at is not None
    assert cloud.order == list(range(100))
    assert set(cloud.batches.values()) == {1}


def test_a_single_reading_leaves_when_it_is_old_enough(tmp_path: Path, mqtt_url: str, cloud: Cloud) -> None:
    with running(tmp_path, mqtt_url, batch_readings=500, batch_age_s=0.2) as gateway:
        until(lambda: gateway.publisher.link_state().connected)
        gateway.submit(1)
        until(lambda: gateway.buffer.count == 1)
        accepted_s = time.monotonic()
        until(lambda: cloud.stored[1] == 1)
        assert 0.1 < time.monotonic() - accepted_s < 2.0


def test_nothing_is_deleted_without_its_answer_and_it_leaves_again(tmp_path: Path, mqtt_url: str, cloud: Cloud) -> None:
    answer, cloud.answers = cloud.answers, lambda *_: []
    with running(tmp_path, mqtt_url, resend_after_s=0.5) as gateway:
        gateway.submit(*range(10))
        until(lambda: max(cloud.batches.values(), default=0) >= 3)
        assert gateway.buffer.count == 10
        cloud.answers = answer
        until(lambda: gateway.buffer.count == 0)
    assert len(cloud.batches) == 1


def test_answers_that_fit_nothing_delete_nothing(tmp_path: Path, mqtt_url: str, cloud: Cloud) -> None:
    def ignored(reason: str) -> float:
        return ANSWERS_IGNORED.labels(reason)._value.get()  # type: ignore[no-any-return]

    before = {reason: ignored(reason) for reason in ("unreadable", "unknown", "wrong_count", "repeated")}
    cloud.answers = lambda name, _: [
        {"batch": "never-sent", "stored": 10, "dead": 0},
        {"batch": name, "stored": 9, "dead": 0},
        {"batch": name, "stored": -1, "dead": 11},
        {"batch": name, "stored": "10", "dead": 0},
        b"\xff\x00 nonsense",
        b"[" * 5_000,
        b"",
    ]
    with running(tmp_path, mqtt_url, resend_after_s=30.0) as gateway:
        gateway.submit(*range(10))
        until(lambda: ignored("unreadable") >= before["unreadable"] + 4)
        assert ignored("unknown") == before["unknown"] + 1
        assert ignored("wrong_count") == before["wrong_count"] + 2
        assert gateway.buffer.count == 10
        (name,) = cloud.batches
        for _ in range(2):
            cloud.say({"batch": name, "stored": 4, "dead": 6})
        until(lambda: gateway.buffer.count == 0)
        until(lambda: ignored("repeated") == before["repeated"] + 1)
        assert gateway.publisher.link_state().connected


def test_live_readings_overtake_the_backlog(tmp_path: Path, mqtt_url: str, cloud: Cloud) -> None:
    gateway = Gateway(tmp_path, mqtt_url, batch_window=1)
    gateway.buffer.append([parcel(*range(600))])
    answer = cloud.answers

    def slowly(name: str, numbers: list[int]) -> list[Answer]:
        time.sleep(0.02)
        return answer(name, numbers)

    cloud.answers = slowly
    gateway.start()
    try:
        until(lambda: len(cloud.order) > 50)
        for number in range(5_000, 5_010):
            gateway.submit(number)
        until(lambda: gateway.buffer.count == 0, 30.0)
    finally:
        gateway.stop()
    assert sorted(cloud.stored) == [*range(600), *range(5_000, 5_010)]
    assert cloud.order.index(5_009) < 300, "live readings waited for the backlog"
    backlog = [number for number in cloud.order if number < 5_000]
    assert backlog == list(range(600))


def test_a_broker_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    with running_broker(tmp_path / "broker") as server:
        cloud = Cloud(server.url)
        with running(tmp_path / "gateway", server.url) as gateway:
            for number in range(300):
                gateway.submit(number)
                if number % 100 == 50:
                    restart(server)
                time.sleep(0.002)
            until(lambda: len(cloud.stored) == 300, 40.0)
            until(lambda: gateway.buffer.count == 0, 40.0)
            assert gateway.publisher.link_state().connected
        assert sorted(cloud.stored) == list(range(300))
        cloud.close()


def restart(server: Server) -> None:
    server.kill()
    time.sleep(0.2)
    server.start()


def test_readings_of_the_last_start_go_first_and_then_the_new_ones(tmp_path: Path, mqtt_url: str, cloud: Cloud) -> None:
    cloud_answers, cloud.answers = cloud.answers, lambda *_: []
    with running(tmp_path, mqtt_url) as gateway:
        gateway.submit(*range(10))
        until(lambda: len(cloud.batches) == 1)
    (old,) = cloud.batches
    cloud.answers = cloud_answers
    with running(tmp_path, mqtt_url) as gateway:
        # A late answer to the last start's batch is not taken for one of ours.
        cloud.say({"batch": old, "stored": 10, "dead": 0})
        until(lambda: gateway.buffer.count == 0)
    assert len(cloud.batches) == 2


def test_status_and_last_will(tmp_path: Path, mqtt_url: str, cloud: Cloud) -> None:
    cloud.answers = lambda *_: []
    gateway = Gateway(tmp_path, mqtt_url)
    gateway.buffer.append([parcel(*range(7))])
    gateway.start()
    until(lambda: len(cloud.statuses) == 1)
    status = cloud.statuses[0]
    assert {name: status[name] for name in ("online", "buffered", "dropped", "version")} == {
        "online": True,
        "buffered": 7,
        "dropped": 0,
        "version": "1.2.3",
    }
    assert status["oldest_s"] >= 0
    gateway.stop()
    until(lambda: len(cloud.statuses) == 2)
    assert cloud.statuses[1] == {"online": False}
    late = Cloud(mqtt_url)
    until(lambda: late.statuses == [{"online": False}])
    late.close()


def test_long_batches_are_compressed(tmp_path: Path, mqtt_url: str, cloud: Cloud) -> None:
    with running(tmp_path, mqtt_url, batch_readings=200, batch_age_s=0.3, compress_bytes=5_000) as gateway:
        until(lambda: gateway.publisher.link_state().connected)
        gateway.submit(*range(200))
        until(lambda: gateway.buffer.count == 0)
        gateway.submit(900)
        until(lambda: gateway.buffer.count == 0 and cloud.stored[900] == 1)
    packed, plain = cloud.payloads
    assert packed.startswith(b"\x1f\x8b")
    assert len(packed) < 200 * 40
    assert plain.startswith(b'{"batch":')


@pytest.mark.parametrize(
    ("protocol", "setting"),
    [
        ("5", "max_packet_size 2000"),
        ("3.1.1", "max_packet_size 2000"),
        pytest.param("3.1.1", "message_size_limit 2000", marks=pytest.mark.slow),
    ],
)
def test_a_broker_that_takes_short_packets_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, setting: str
) -> None:
    """It says so (MQTT 5), ends the connection, or acknowledges and drops: batches become short enough in every case."""
    monkeypatch.setattr("embedded.broker.MOSQUITTO_CONFIGURATION", limited_configuration(setting))
    monkeypatch.setattr("gateway.handover.publish._FIRST_BACKOFF_S", 0.1)
    with running_broker(tmp_path / "broker", "mosquitto") as server:
        cloud = Cloud(server.url)
        with running(
            tmp_path / "gateway",
            server.url,
            protocol=protocol,
            batch_readings=100,
            resend_after_s=0.5,
            compress_bytes=0,
        ) as gateway:
            gateway.submit(*range(200))
            until(lambda: len(cloud.stored) == 200, 60.0)
            until(lambda: gateway.buffer.count == 0, 60.0)
        assert max(map(len, cloud.payloads)) <= 2_000
        cloud.close()


def limited_configuration(setting: str) -> str:
    name, _, _ = setting.partition(" ")
    kept = [line for line in MOSQUITTO_CONFIGURATION.splitlines() if not line.startswith(name)]
    return "\n".join([*kept, setting, ""])


def test_a_reading_too_long_for_the_broker_stays_and_does_not_hold_up_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedded.broker.MOSQUITTO_CONFIGURATION", limited_configuration("max_packet_size 2000"))
    with running_broker(tmp_path / "broker", "mosquitto") as server:
        cloud = Cloud(server.url)
        with running(tmp_path / "gateway", server.url, protocol="5", compress_bytes=0) as gateway:
            long = entry(3, extra={f"{number:02d}" + "x" * 60: 1.0 for number in range(60)})
            gateway.keeper.submit(Parcel(entries=[entry(1), entry(2), long, entry(4)]))
            until(lambda: sorted(cloud.stored) == [1, 2, 4])
            until(lambda: numbers_in(gateway.buffer) == [3])
            assert gateway.publisher.link_state().connected
        cloud.close()


class Rude:
    """A server that accepts connections and then does what it is told."""

    def __init__(self, manners: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://user:password@127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._manners = manners
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._treat, args=(connection,), daemon=True).start()

    def _treat(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._manners(connection)

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()


CONNACK_311 = b"\x20\x02\x00\x00"


def accept_and_subscribe(connection: socket.socket) -> None:
    connection.recv(4_096)
    connection.sendall(CONNACK_311)
    subscribe = connection.recv(4_096)
    connection.sendall(b"\x90\x03" + subscribe[2:4] + b"\x01")


def hang(connection: socket.socket) -> None:
    connection.recv(4_096)
    time.sleep(60)


def babble(connection: socket.socket) -> None:
    connection.recv(4_096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 50)
    connection.close()


def refuse(connection: socket.socket) -> None:
    connection.recv(4_096)
    connection.sendall(b"\x20\x02\x00\x05")
    connection.close()


def babble_after_accepting(connection: socket.socket) -> None:
    accept_and_subscribe(connection)
    connection.sendall(bytes(range(256)) * 20)
    time.sleep(5)


def hang_up_after_accepting(connection: socket.socket) -> None:
    accept_and_subscribe(connection)
    connection.close()


@pytest.mark.parametrize("manners", [hang, babble, refuse, babble_after_accepting, hang_up_after_accepting])
def test_a_broker_without_manners_ends_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manners: Callable[[socket.socket], None]
) -> None:
    monkeypatch.setattr("streamgauge.mqtt.link.CONNECT_TIMEOUT_S", 0.5)
    monkeypatch.setattr("gateway.handover.publish._FIRST_BACKOFF_S", 0.1)
    rude = Rude(manners)
    try:
        with running(tmp_path, rude.url, protocol="3.1.1") as gateway:
            gateway.submit(*range(20))
            until(lambda: rude.connections >= 3, 20.0)
            until(lambda: gateway.buffer.count == 20)
            until(lambda: gateway.publisher.link_state().last_error is not None)
    finally:
        rude.close()


def test_a_broker_that_stops_reading_blocks_nothing(tmp_path: Path) -> None:
    def read_no_more(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        accept_and_subscribe(connection)
        time.sleep(60)

    rude = Rude(read_no_more)
    gateway = Gateway(tmp_path, rude.url, protocol="3.1.1", batch_readings=2_000, batch_window=1_000, compress_bytes=0)
    for first in range(0, 100_000, 2_000):
        gateway.buffer.append([parcel(*range(first, first + 2_000))])
    sent_before = BATCHES_SENT.labels("backlog")._value.get()
    gateway.start()
    try:
        until(lambda: gateway.publisher.link_state().connected)
        time.sleep(1.0)
        # What the socket does not take is not piled up in the client.
        assert BATCHES_SENT.labels("backlog")._value.get() - sent_before < 45
        gateway.submit(200_000)
        until(lambda: gateway.buffer.count == 100_001)
        began_s = time.monotonic()
        gateway.stop(5.0)
        assert time.monotonic() - began_s < 5.0
    finally:
        rude.close()


def test_bad_credentials_are_shown_and_do_no_harm(tmp_path: Path, mqtt_url: str) -> None:
    where = urlsplit(mqtt_url)
    with running(tmp_path, f"mqtt://{where.username}:wrong@{where.hostname}:{where.port}") as gateway:
        gateway.submit(1)
        until(lambda: "refused" in (gateway.publisher.link_state().last_error or ""))
        assert not gateway.publisher.link_state().connected
        until(lambda: gateway.buffer.count == 1)
