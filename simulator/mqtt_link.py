"""One MQTT connection that comes back by itself. What happens on it arrives as events in a queue.

paho calls back from its own thread, sometimes while it holds its locks; so the callbacks do nothing but put an event
into the queue, and everything that decides stays in the one thread that takes events out.
"""

import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from simulator.errors import Refused, Unreachable

KEEPALIVE_S = 20
SHORTEST_RECONNECT_WAIT_S = 0.25
LONGEST_RECONNECT_WAIT_S = 8.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_OFFLINE, _ONLINE = b'{"online": false}', b'{"online": true}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and who we are there."""

    host: str
    port: int
    is_tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    protocol: str = "3.1.1"

    @classmethod
    def from_url(cls, url: str, ca_file: Path | None = None, protocol: str = "auto") -> "Broker":
        """Read ``mqtt://user:password@host:port`` or ``mqtts://…``; ``auto`` means MQTT 3.1.1, which every broker
        speaks.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise Refused("STREAMGAUGE_MQTT_URL must look like mqtt://user:password@host:port (or mqtts://…)")
        return cls(
            host=parts.hostname,
            port=parts.port or _PORTS[parts.scheme],
            is_tls=parts.scheme == "mqtts",
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            ca_file=ca_file,
            protocol="5" if protocol == "5" else "3.1.1",
        )

    def __str__(self) -> str:
        return f"{'mqtts' if self.is_tls else 'mqtt'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Ready:
    """Connected, and subscribed where we listen."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection ended; paho tries to get a new one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The broker refuses the connection or the subscription."""

    reason: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker has taken the message with this id."""

    message_id: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A message on the topic that we listen to."""

    payload: bytes


Event = Ready | Lost | Denied | Acknowledged | Heard


class Link:
    """A connection to a broker.

    Args:
        broker: where, and as whom.
        listen: a topic to hear; ``Ready`` comes only once the broker has confirmed the subscription.
        status: a topic for a retained status, with the last will ``{"online": false}``.
        inflight: most messages that paho sends before it waits for acknowledgements.
    """

    def __init__(
        self, broker: Broker, *, listen: str | None = None, status: str | None = None, inflight: int = 100
    ) -> None:
        self._broker = broker
        self._listen = listen
        self._status = status
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._client = self._new_client(inflight)

    def open(self, wait_s: float | None) -> None:
        """Connect and stay connected; returns once the first ``Ready`` is due.

        Args:
            wait_s: how long a broker that does not answer is tried; None for ever.

        Raises:
            Unreachable: no broker answered in time.
            Refused: the broker answered and does not want us, or cannot be trusted.
        """
        deadline_s = None if wait_s is None else time.monotonic() + wait_s
        pause_s = SHORTEST_RECONNECT_WAIT_S
        while True:
            problem = self._try_to_connect()
            if problem is None:
                break
            if deadline_s is not None and time.monotonic() + pause_s > deadline_s:
                raise Unreachable(f"There is no broker at {self._broker} (tried for {wait_s:g} s): {problem}")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RECONNECT_WAIT_S)
        self._client.loop_start()

    def next_event(self, timeout_s: float) -> Event | None:
        """The next thing that happened, or None if nothing does in time."""
        try:
            return self._events.get(timeout=max(timeout_s, 0.0)) if timeout_s > 0 else self._events.get_nowait()
        except Empty:
            return None

    def publish(self, topic: str, payload: bytes) -> mqtt.MQTTMessageInfo:
        """Hand a message to paho at QoS 1; while the connection is away paho keeps it and sends it on return."""
        return self._client.publish(topic, payload, qos=1)

    def close(self) -> None:
        """Say goodbye and end the network thread."""
        if self._status is not None and self._client.is_connected():
            goodbye = self._client.publish(self._status, _OFFLINE, qos=1, retain=True)
            if goodbye.rc == mqtt.MQTT_ERR_SUCCESS:
                goodbye.wait_for_publish(timeout=0.5)
        was_connected = self._client.is_connected()
        self._client.disconnect()
        if was_connected:
            # Without a connection paho's thread may sit in a connection attempt for seconds; it ends by itself after it.
            self._client.loop_stop()

    def refusal(self, reason: str) -> Refused:
        """The error that says that this broker refuses us."""
        return Refused(
            f"The broker at {self._broker} refuses: {reason}. Check the name and password in STREAMGAUGE_MQTT_URL."
        )

    def _new_client(self, inflight: int) -> mqtt.Client:
        is_v5 = self._broker.protocol == "5"
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            protocol=mqtt.MQTTv5 if is_v5 else mqtt.MQTTv311,
            clean_session=None if is_v5 else True,
        )
        client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.is_tls:
            self._use_tls(client)
        client.max_inflight_messages_set(inflight)
        client.reconnect_delay_set(SHORTEST_RECONNECT_WAIT_S, LONGEST_RECONNECT_WAIT_S)  # type: ignore[arg-type]
        if self._status is not None:
            client.will_set(self._status, _OFFLINE, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _use_tls(self, client: mqtt.Client) -> None:
        ca_file = self._broker.ca_file
        try:
            client.tls_set(str(ca_file) if ca_file else None)
        except OSError as error:
            raise Refused(f"STREAMGAUGE_MQTT_CA_FILE ({ca_file}) cannot be used: {error}") from error

    def _try_to_connect(self) -> OSError | None:
        try:
            self._client.connect(self._broker.host, self._broker.port, keepalive=KEEPALIVE_S)
        except ssl.SSLError as error:
            raise Refused(
                f"The broker at {self._broker} cannot be trusted: {error}. "
                "Name its authority in STREAMGAUGE_MQTT_CA_FILE."
            ) from error
        except OSError as error:
            return error
        return None

    def _on_connect(
        self, client: mqtt.Client, _user: Any, _flags: mqtt.ConnectFlags, reason: ReasonCode, _more: Properties | None
    ) -> None:
        if reason.is_failure:
            self._events.put(Denied(str(reason)))
            return
        if self._status is not None:
            client.publish(self._status, _ONLINE, qos=1, retain=True)
        if self._listen is None:
            self._events.put(Ready())
        else:
            client.subscribe(self._listen, qos=1)

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _user: Any,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _more: Properties | None,
    ) -> None:
        self._events.put(Lost(str(reason)))

    def _on_subscribe(
        self, _client: mqtt.Client, _user: Any, _mid: int, reasons: list[ReasonCode], _more: Properties | None
    ) -> None:
        denied = [str(reason) for reason in reasons if reason.is_failure]
        self._events.put(Denied(f"no subscription to {self._listen}: {denied[0]}") if denied else Ready())

    def _on_publish(
        self, _client: mqtt.Client, _user: Any, mid: int, _reason: ReasonCode, _more: Properties | None
    ) -> None:
        self._events.put(Acknowledged(mid))

    def _on_message(self, _client: mqtt.Client, _user: Any, message: mqtt.MQTTMessage) -> None:
        self._events.put(Heard(bytes(message.payload)))
