"""The Things Stack v3: the application's upstream message, as its MQTT server, Pub/Sub and webhooks write it in JSON.

Sources: thethingsindustries.com, "Data Formats" (empty fields are left out) and "Payload Crypto Override"; the API's
definitions v3ApplicationUp, v3ApplicationUplink and lorawanv3RxMetadata (v3.36). Keys are written in snake case.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from streamgauge.errors import DeadReason, InvalidMessage
from streamgauge.network_servers.uplink import (
    Ignored,
    NetworkUplink,
    Reception,
    child,
    choose_time,
    load_object,
    not_an_uplink,
    objects,
    read_counter,
    read_eui,
    read_payload,
    read_port,
    read_time,
    reception,
    strongest,
    without_key,
    words,
)

NETWORK = "tts"
OTHER_MESSAGES = (
    "uplink_normalized",
    "join_accept",
    "downlink_ack",
    "downlink_nack",
    "downlink_sent",
    "downlink_failed",
    "downlink_queued",
    "downlink_queue_invalidated",
    "location_solved",
    "service_data",
)
"""What else an upstream message may hold; ``uplink_normalized`` repeats an ``uplink_message``."""
_PACKET_BROKER = "packetbroker"


def parse(message: bytes) -> NetworkUplink | Ignored:
    """Read one uplink message. Upstream messages of other kinds are ignored.

    Raises:
        InvalidMessage: it is no uplink message, or its payload is still encrypted.
    """
    up = load_object(message, "The Things Stack")
    ids = child(up, "end_device_ids")
    if not ids:
        raise not_an_uplink("end_device_ids is missing: this is no message of The Things Stack v3")
    uplink = child(up, "uplink_message")
    if "uplink_message" not in up:
        return _other(up)
    dev_eui = read_eui(ids.get("dev_eui"), "end_device_ids.dev_eui")
    f_port = read_port(uplink.get("f_port"), "uplink_message.f_port")
    payload = read_payload(uplink.get("frm_payload"), "uplink_message.frm_payload")
    if f_port == 0 or not payload:
        return Ignored("no application payload: MAC commands only")
    if uplink.get("app_s_key"):
        # "The payload is still encrypted …, which is indicated by the presence of the app_s_key field" (v3ApplicationUplink).
        detail = (
            "frm_payload is still encrypted: switch off 'skip payload encryption and decryption' in The Things Stack"
        )
        raise InvalidMessage(DeadReason.ENCRYPTED_PAYLOAD, detail)
    receptions = objects(uplink, "rx_metadata")
    time, source = choose_time(_gateway_times(receptions), _server_time(up, uplink))
    return NetworkUplink(
        network=NETWORK,
        dev_eui=dev_eui,
        device_name=words(ids, "device_id"),
        application=words(child(ids, "application_ids"), "application_id"),
        time=time,
        time_source=source,
        f_port=f_port,
        f_cnt=read_counter(uplink.get("f_cnt"), "uplink_message.f_cnt"),
        payload=payload,
        receptions=strongest(_reception(heard, has_snr=_is_lora(uplink)) for heard in receptions),
        simulated=up.get("simulated") is True,
    )


def without_keys(message: bytes) -> bytes:
    """A message as it may be kept: without the AppSKey that comes with an encrypted payload."""
    return without_key(message, "uplink_message", "app_s_key")


def _other(up: Mapping[str, Any]) -> Ignored:
    kind = next((name for name in OTHER_MESSAGES if name in up), None)
    if kind is None:
        raise not_an_uplink("uplink_message is missing, and so is every other kind of message of The Things Stack v3")
    return Ignored(f"{kind} says nothing of the water")


def _server_time(up: Mapping[str, Any], uplink: Mapping[str, Any]) -> datetime | None:
    """When the Network Server received the frame, else when the Application Server got the message."""
    return read_time(uplink.get("received_at")) or read_time(up.get("received_at"))


def _gateway_times(receptions: list[Mapping[str, Any]]) -> Iterator[datetime | None]:
    for heard in receptions:
        # gps_time is guaranteed to rest on a GPS's pulse, the accuracy of time is undefined (lorawanv3RxMetadata).
        yield read_time(heard.get("gps_time")) or read_time(heard.get("time"))


def _is_lora(uplink: Mapping[str, Any]) -> bool:
    data_rate = child(child(uplink, "settings"), "data_rate")
    return "lora" in data_rate or not data_rate


def _reception(heard: Mapping[str, Any], *, has_snr: bool) -> Reception | None:
    gateway = words(child(heard, "gateway_ids"), "gateway_id")
    if gateway == _PACKET_BROKER:
        broker = child(heard, "packet_broker")
        gateway = words(broker, "forwarder_gateway_id") or words(broker, "forwarder_gateway_eui") or gateway
    return reception(gateway, heard.get("rssi"), heard.get("snr"), has_snr=has_snr)
