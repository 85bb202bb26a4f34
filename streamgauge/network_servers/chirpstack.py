"""ChirpStack v4: the uplink event, as its MQTT and HTTP integrations write it in JSON.

Sources: ``api/proto/integration/integration.proto`` (UplinkEvent, DeviceInfo) and ``api/proto/gw/gw.proto`` (UplinkRxInfo,
UplinkTxInfo) of ChirpStack 4; chirpstack.io, "Integrations", "Event types", "MQTT". Keys are written in camel case.
"""

from collections.abc import Mapping
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

NETWORK = "chirpstack"
UPLINK_EVENT = "up"
OTHER_EVENTS = frozenset({"join", "ack", "txack", "log", "status", "location", "integration"})
"""Events that say nothing of the water (integration.proto). The HTTP integration names each in ``?event=``."""


def parse(message: bytes) -> NetworkUplink | Ignored:
    """Read one uplink event. Events of other kinds hold no payload and are ignored.

    Raises:
        InvalidMessage: it is no uplink event, or its payload is still encrypted.
    """
    event = load_object(message, "ChirpStack")
    device = child(event, "deviceInfo")
    if not device:
        raise not_an_uplink("deviceInfo is missing: this is no event of ChirpStack v4")
    dev_eui = read_eui(device.get("devEui"), "deviceInfo.devEui")
    f_port = read_port(event.get("fPort"), "fPort")
    payload = read_payload(event.get("data"), "data")
    if f_port == 0 or not payload:
        return Ignored("no application payload: MAC commands only, or an event of another kind")
    if event.get("joinServerContext"):
        # "A non-empty value indicates that ChirpStack does not have access to the AppSKey" (integration.proto).
        detail = "data is still encrypted: the join server keeps the AppSKey to itself; let it give ChirpStack the key"
        raise InvalidMessage(DeadReason.ENCRYPTED_PAYLOAD, detail)
    receptions = objects(event, "rxInfo")
    time, source = choose_time(
        (read_time(heard.get("gwTime")) for heard in receptions), _server_time(event, receptions)
    )
    return NetworkUplink(
        network=NETWORK,
        dev_eui=dev_eui,
        device_name=words(device, "deviceName"),
        application=words(device, "applicationId"),
        time=time,
        time_source=source,
        f_port=f_port,
        f_cnt=read_counter(event.get("fCnt"), "fCnt"),
        payload=payload,
        receptions=strongest(_reception(heard, has_snr=_is_lora(event)) for heard in receptions),
    )


def without_keys(message: bytes) -> bytes:
    """A message as it may be kept: without the session key that a join server may have put in."""
    return without_key(message, "joinServerContext")


def _server_time(event: Mapping[str, Any], receptions: list[Mapping[str, Any]]) -> datetime | None:
    """When the network server received the frame. The event's own time may be a gateway's, so that it comes second."""
    by_server = [time for heard in receptions if (time := read_time(heard.get("nsTime"))) is not None]
    return min(by_server) if by_server else read_time(event.get("time"))


def _is_lora(event: Mapping[str, Any]) -> bool:
    """Whether the frame came by LoRa, which alone has a signal-to-noise ratio (gw.proto, UplinkRxInfo.snr)."""
    modulation = child(child(event, "txInfo"), "modulation")
    return "lora" in modulation or not modulation


def _reception(heard: Mapping[str, Any], *, has_snr: bool) -> Reception | None:
    return reception(words(heard, "gatewayId"), heard.get("rssi"), heard.get("snr"), has_snr=has_snr)
