"""Runs the ``amqtt`` broker as a program: ``python -m embedded.amqtt_broker CONFIG.json``.

amqtt 0.12 gives up a QoS 1 message that its receiver has not acknowledged after five seconds, or when the receiver's connection
ends. Our subscriber acknowledges after the commit only, so both would lose readings of sensors that speak MQTT themselves.
``DurableDelivery`` mends that: no time limit, and what was not acknowledged is delivered again at the next connection. It is
kept in memory: what the broker holds is lost with its process (Mosquitto keeps it on disk).
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
from amqtt.session import OUTGOING
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

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
    broker = Broker(config, loop=loop)
    await broker.start()
    logger.warning("broker is listening")
    await ended.wait()
    await broker.shutdown()


def install_durable_delivery() -> None:
    """Replace amqtt's outgoing QoS 1 flow by one that waits, and that keeps what was not acknowledged."""
    original = ProtocolHandler._handle_qos1_message_flow  # noqa: SLF001 (amqtt has no hook for it)

    async def flow(self: Any, message: Any) -> None:
        if message.direction != OUTGOING:
            await original(self, message)
            return
        await _deliver(self, message)

    ProtocolHandler._handle_qos1_message_flow = flow  # noqa: SLF001


async def _deliver(handler: Any, message: Any) -> None:
    session = handler.session
    session.inflight_out[message.packet_id] = message
    waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    handler._puback_waiters[message.packet_id] = waiter  # noqa: SLF001
    message.publish_packet = message.build_publish_packet(dup=message.publish_packet is not None)
    try:
        await handler._send_packet(message.publish_packet)  # noqa: SLF001
        message.puback_packet = await waiter
    except (asyncio.CancelledError, OSError):
        if not session.clean_session:
            kept = RetainedApplicationMessage(session, message.topic, message.data, QOS_1)
            session.retained_messages.put_nowait(kept)
        raise
    finally:
        handler._puback_waiters.pop(message.packet_id, None)  # noqa: SLF001
        session.inflight_out.pop(message.packet_id, None)


if __name__ == "__main__":
    main()
