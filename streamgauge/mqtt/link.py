"""One MQTT connection, driven by the caller's own loop: no thread, acknowledgement by hand."""

import logging
import select
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamgauge.errors import TransientError
from streamgauge.mqtt.properties import pass_over_properties

log = logging.getLogger("streamgauge.mqtt")

CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 30
QOS = 1
MAX_PACKETS_PER_READ = 2_000
MAX_BYTES_PER_READ = 4 * 2**20
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_VERSIONS = {
    "auto": (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311),
    "5": (MQTTProtocolVersion.MQTTv5,),
    "3.1.1": (MQTTProtocolVersion.MQTTv311,),
}


class BrokerUnavailable(TransientError):
    """The MQTT broker cannot be reached, refused us, or the connection is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker says in our name, retained, once it has lost us."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """How to connect.

    Attributes:
        url: ``mqtt://user:password@host:port``, or ``mqtts://…`` for TLS.
        protocol: ``auto`` (5, then 3.1.1), ``5`` or ``3.1.1``.
        client_id: who we are; the same one takes the session over.
        ca_file: authorities for TLS; None: the system's.
        receive_maximum: most messages that an MQTT 5 broker may have unacknowledged with us.
        session_expiry_s: how long an MQTT 5 broker keeps our session while we are away; 0: no session is kept, by none.
        topics: what to listen to; there may be none.
        will: the last will.
        certificate_file: our own certificate for TLS, in PEM, with its chain.
        key_file: the certificate's private key.
    """

    url: str = field(repr=False)
    protocol: str
    client_id: str
    ca_file: Path | None
    receive_maximum: int
    session_expiry_s: int
    topics: Sequence[str]
    will: Will | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class MqttLink:
    """A subscribed connection. ``received`` fills up with messages while ``read`` runs.

    Attributes:
        received: messages that wait for the caller, oldest first.
        max_packet_bytes: the longest packet that the broker takes; None: it named no bound.
    """

    def __init__(self, options: LinkOptions) -> None:
        pass_over_properties()
        self._options = options
        self._client: mqtt.Client | None = None
        self._refusal: str | None = None
        self._accepted = False
        self._subscribed = False
        self.received: deque[mqtt.MQTTMessage] = deque()
        self.max_packet_bytes: int | None = None

    def open(self) -> None:
        """Connect, resume the session and subscribe; MQTT 5 first, 3.1.1 if the broker does not speak it.

        Raises:
            BrokerUnavailable: no version got through; the message says why and what to do.
        """
        problems = []
        for version in _VERSIONS[self._options.protocol]:
            try:
                self._open(version)
            except (
                OSError,
                ValueError,
                BrokerUnavailable,
            ) as error:  # ValueError: paho on a broker that answers nonsense.
                self.close()
                problems.append(f"MQTT {'5' if version == MQTTProtocolVersion.MQTTv5 else '3.1.1'}: {error}")
            else:
                log.info(
                    "connected to the broker",
                    extra={"mqtt_version": version.name, "client_id": self._options.client_id},
                )
                return
        where = urlsplit(self._options.url)
        address = f"{where.hostname}:{_port(where)}"
        raise BrokerUnavailable(f"no connection to {address} ({'; '.join(problems)}); check STREAMGAUGE_MQTT_URL")

    def close(self) -> None:
        """Drop the connection as it is; the broker keeps the session and sends again what was not acknowledged."""
        if self._client is not None and (sock := self._client.socket()) is not None:
            sock.close()
        self._client = None
        self.received.clear()

    def leave(self) -> None:
        """Say goodbye to the broker and close; the session stays."""
        if self.is_open and self._client is not None:
            self._client.disconnect()
            self.flush()
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether there is a subscribed connection."""
        return self._client is not None and self._client.socket() is not None

    def fileno(self) -> int:
        """The socket's number, for a selector."""
        assert self._client is not None
        sock: Any = self._client.socket()
        return int(sock.fileno())

    def read(self) -> None:
        """Take what has come in, a bounded number of packets, into ``received``.

        Raises:
            BrokerUnavailable: the connection is lost.
        """
        client, left_bytes = self._connected(), MAX_BYTES_PER_READ
        for _ in range(MAX_PACKETS_PER_READ):
            before = len(self.received)
            self._check(client.loop_read())
            if len(self.received) == before:
                break  # Nothing more, half a packet, or one that is no message: the selector will call again.
            left_bytes -= len(self.received[-1].payload)
            if left_bytes <= 0:
                break
        # A DISCONNECT from the broker makes paho close the socket and report success.
        self._connected()

    def flush(self) -> None:
        """Send what waits to be sent, as far as the socket takes it.

        Raises:
            BrokerUnavailable: the connection is lost.
        """
        client = self._connected()
        if client.want_write():
            self._check(client.loop_write())

    def wants_write(self) -> bool:
        """Whether something waits to be sent."""
        return self._connected().want_write()

    def tick(self) -> None:
        """Keep the connection alive; call it about once a second.

        Raises:
            BrokerUnavailable: the broker has not answered for too long.
        """
        self._check(self._connected().loop_misc())
        self._connected()

    def acknowledge(self, mid: int) -> None:
        """Acknowledge one message of this connection; it is sent with the next ``flush``."""
        self._connected().ack(mid, QOS)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1; it is sent with the next ``flush``, and again after a reconnection only if the caller does."""
        self._connected().publish(topic, payload, qos=QOS, retain=retain)

    def _connected(self) -> mqtt.Client:
        if self._client is None or self._client.socket() is None:
            raise BrokerUnavailable("the connection to the broker is lost")
        return self._client

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerUnavailable(f"the connection to the broker is lost ({mqtt.error_string(code)})")

    def _open(self, version: MQTTProtocolVersion) -> None:
        self._accepted, self._subscribed, self._refusal = False, False, None
        self.received.clear()
        self.max_packet_bytes = None
        self._client = client = self._new_client(version)
        where = urlsplit(self._options.url)
        session: dict[str, Any] = {}
        if version == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = self._options.session_expiry_s
            properties.ReceiveMaximum = self._options.receive_maximum
            session = {"clean_start": self._options.session_expiry_s == 0, "properties": properties}
        client.connect(where.hostname or "", _port(where), keepalive=KEEPALIVE_S, **session)
        self._pump_until(lambda: self._accepted, "no answer to CONNECT")
        if self._options.topics:
            client.subscribe([(topic, QOS) for topic in self._options.topics])
            self._pump_until(lambda: self._subscribed, "no answer to SUBSCRIBE")

    def _new_client(self, version: MQTTProtocolVersion) -> mqtt.Client:
        is_5 = version == MQTTProtocolVersion.MQTTv5
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._options.client_id,
            clean_session=None if is_5 else self._options.session_expiry_s == 0,
            protocol=version,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        where = urlsplit(self._options.url)
        if where.username is not None:
            client.username_pw_set(unquote(where.username), unquote(where.password) if where.password else None)
        if where.scheme == "mqtts":
            self._use_tls(client)
        if self._options.will is not None:
            client.will_set(self._options.will.topic, self._options.will.payload, qos=QOS, retain=True)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        # With this callback set, paho queues what it sends and leaves the writing to our loop.
        client.on_socket_register_write = lambda *_: None
        client.max_inflight_messages_set(0xFFFF)
        return client

    def _use_tls(self, client: mqtt.Client) -> None:
        files = (self._options.ca_file, self._options.certificate_file, self._options.key_file)
        ca_file, certificate_file, key_file = (None if file is None else str(file) for file in files)
        client.tls_set(ca_certs=ca_file, certfile=certificate_file, keyfile=key_file, cert_reqs=ssl.CERT_REQUIRED)

    def _pump_until(self, reached: Callable[[], bool], complaint: str) -> None:
        deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
        while not reached():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise BrokerUnavailable(f"{complaint} within {CONNECT_TIMEOUT_S:g} s")
            self.flush()
            readable, _, _ = select.select([self.fileno()], [], [], min(left_s, 0.2))
            if readable:
                try:
                    self._check(self._connected().loop_read())
                except BrokerUnavailable:
                    raise BrokerUnavailable(self._refusal or "the broker closed the connection") from None
            if self._refusal:
                raise BrokerUnavailable(self._refusal)

    def _on_connect(self, _client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refused us: {reason}"
        else:
            self._accepted = True
            self.max_packet_bytes = getattr(properties, "MaximumPacketSize", None)

    def _on_subscribe(self, _client: mqtt.Client, _userdata: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._refusal = f"the broker refused the subscription: {', '.join(refused)}; check its access list"
        else:
            self._subscribed = True

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self.received.append(message)


def _port(where: SplitResult) -> int:
    return where.port or _DEFAULT_PORTS[where.scheme]
