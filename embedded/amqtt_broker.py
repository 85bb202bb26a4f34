"""Runs the ``amqtt`` broker as a program: ``python -m embedded.amqtt_broker CONFIG.json``.

amqtt 0.12 gives up a QoS 1 message that its receiver has not acknowledged after five seconds, or when the receiver's connection
ends. Our subscriber acknowledges after the commit only, so both would lose readings of sensors that speak MQTT themselves.
``install_durable_delivery`` and ``DurableBroker`` mend that: no time limit, and what was not acknowledged is delivered again at
the next connection. It is kept in memory: what the broker holds is lost with its process (Mosquitto keeps it on disk).
"""

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from amqtt.broker import Broker, RetainedApplicationMessage
from amqtt.contexts import BrokerConfig
from amqtt.mqtt.constants import QOS_1
from amqtt.mqtt.protocol.handler import ProtocolHandler
from amqtt.session import ApplicationMessage, OutgoingApplicationMessage, Session
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

MAX_INFLIGHT_MESSAGES = 20_000
"""Most messages sent to one client and not acknowledged; the others wait their turn."""
MAX_KEPT_MESSAGES = 200_000
"""Most messages kept for one client that is away; a further one is dropped, with a warning, as other brokers do."""

logger = logging.getLogger("embedded.amqtt_broker")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    wanted = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    _write_passwords(Path(wanted["passwords"]), wanted["user"], wanted["password"])
    install_durable_delivery()
    asyncio.run(_serve(configuration(wanted["bind"], wanted["passwords"])))


def configuration(bind: str, passwords: str) -> BrokerConfig:
    """One listener; users from a file, nobody without a password."""
    return BrokerConfig.from_dict(
        {
            "listeners": {"default": {"type": "tcp", "bind": bind}},
            "plugins": {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": passwords}},
        }
    )


def _write_passwords(path: Path, user: str, password: str) -> None:
    # A cheap hash: the password is 192 random bits, which no one guesses, and the broker's only thread checks each connection.
    hashed = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=1_024, parallelism=1),)).hash(password)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{user}:{hashed}\n")


async def _serve(config: BrokerConfig) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    broker = DurableBroker(config, loop=loop)
    await broker.start()
    logger.warning("broker is listening")
    await ended.wait()
    await broker.shutdown()


class DurableBroker(Broker):  # type: ignore[misc]  # amqtt ships no types
    """A broker that keeps what was not acknowledged, and does not make a client that comes back wait for it."""

    async def _publish_session_retained_messages(self, session: Session) -> None:
        # amqtt waits here for every acknowledgement, and does not even answer a SUBSCRIBE before.
        handler = self._get_handler(session)
        while handler and not session.retained_messages.empty():
            kept = session.retained_messages.get_nowait()
            delivery = handler.mqtt_publish(kept.topic, kept.data, kept.qos, retain=False)
            self._tasks_queue.append(asyncio.ensure_future(delivery))

    async def _retain_broadcast_message(self, broadcast: dict[str, Any], qos: int, target_session: Session) -> None:
        _keep(
            target_session, RetainedApplicationMessage(broadcast["session"], broadcast["topic"], broadcast["data"], qos)
        )


def install_durable_delivery() -> None:
    """Replace amqtt's outgoing QoS 1 flow by one that waits, and that keeps what was not acknowledged."""
    original_publish, original_stop = ProtocolHandler.mqtt_publish, ProtocolHandler.stop

    async def publish(
        self: Any, topic: str, data: bytes, qos: int, retain: bool, ack_timeout: int | None = None
    ) -> Any:
        if qos != QOS_1:
            return await original_publish(self, topic, data, qos, retain, ack_timeout)
        return await _deliver(self, topic, data, retain)

    async def stop(self: Any) -> None:
        self.stopped = True
        await original_stop(self)

    ProtocolHandler.mqtt_publish = publish
    ProtocolHandler.stop = stop


def _keep(session: Any, message: ApplicationMessage) -> None:
    if session.retained_messages.qsize() >= MAX_KEPT_MESSAGES:
        logger.warning("a message was dropped: %d are kept for %s already", MAX_KEPT_MESSAGES, session.client_id)
        return
    session.retained_messages.put_nowait(message)


def _slots(session: Any) -> asyncio.Semaphore:
    # Packet ids have 16 bits: more messages than that cannot be under way to one client.
    if not hasattr(session, "delivery_slots"):
        session.delivery_slots = asyncio.Semaphore(MAX_INFLIGHT_MESSAGES)
    slots: asyncio.Semaphore = session.delivery_slots
    return slots


async def _deliver(handler: Any, topic: str, data: bytes, retain: bool) -> ApplicationMessage:
    session = handler.session
    async with _slots(session):
        message = OutgoingApplicationMessage(session.next_packet_id, topic, QOS_1, data, retain)
        if getattr(handler, "stopped", False):
            # Nobody would cancel the wait below any more: its connection ended while this message waited for a slot.
            _keep(session, RetainedApplicationMessage(session, topic, data, QOS_1))
            return message
        await _send_and_wait(handler, session, message)
        return message


async def _send_and_wait(handler: Any, session: Any, message: OutgoingApplicationMessage) -> None:
    waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    handler._puback_waiters[message.packet_id] = waiter  # noqa: SLF001 (amqtt has no hook for it)
    session.inflight_out[message.packet_id] = message
    message.publish_packet = message.build_publish_packet()
    try:
        await handler._send_packet(message.publish_packet)  # noqa: SLF001
        message.puback_packet = await waiter
    except (asyncio.CancelledError, OSError):
        if not session.clean_session:
            _keep(session, RetainedApplicationMessage(session, message.topic, message.data, QOS_1))
        raise
    finally:
        handler._puback_waiters.pop(message.packet_id, None)  # noqa: SLF001
        session.inflight_out.pop(message.packet_id, None)


if __name__ == "__main__":
    main()
