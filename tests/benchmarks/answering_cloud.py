"""A cloud in a process of its own that answers every batch of a gateway at once and keeps nothing.

It says ``ready`` when it is subscribed and ends when its standard input does.
"""

import gzip
import os
import sys
from typing import Any
from urllib.parse import urlsplit

import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from streamgauge.wire import StoredAnswer, batch_topic, encode_stored, stored_topic


def answer(client: mqtt.Client, gateway: Any, message: mqtt.MQTTMessage) -> None:
    """Say that a batch is stored."""
    payload = message.payload
    content = orjson.loads(gzip.decompress(payload) if payload.startswith(b"\x1f\x8b") else payload)
    stored = StoredAnswer(content["batch"], len(content["readings"]), 0)
    client.publish(stored_topic(gateway), encode_stored(stored), qos=1)


def main(gateway: str) -> None:
    """Answer until standard input ends."""
    where = urlsplit(os.environ["STREAMGAUGE_MQTT_URL"])
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"cloud-{os.getpid()}", userdata=gateway)
    client.username_pw_set(where.username or "", where.password)
    client.on_connect = lambda client, *_: client.subscribe(batch_topic(gateway), 1)
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = answer
    client.connect(where.hostname or "", where.port or 1883)
    client.loop_start()
    sys.stdin.read()
    client.loop_stop()


if __name__ == "__main__":
    main(sys.argv[1])
