"""``python -m gateway check``: everything that can be known to be wrong before a gateway is left alone on a pole."""

import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.configuration import Configuration, read_configuration
from gateway.startup import page_must_be_locked
from streamgauge.errors import ModelArtefactError, StreamgaugeError
from streamgauge.mqtt.link import BrokerUnavailable, LinkOptions, MqttLink
from streamgauge.scoring.edge import EdgeModel
from streamgauge.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: of what, whether it is good, and what to do if not."""

    subject: str
    is_good: bool
    sentence: str


def check(settings: GatewaySettings) -> list[Finding]:
    """Look at everything that the settings name; nothing is changed but that the directory is made."""
    return [
        _configuration(settings),
        *_findings("directory", lambda: _directory(settings)),
        *_findings("model", lambda: _model(settings)),
        *_findings("packet forwarders", lambda: _udp(settings)),
        *_findings("page", lambda: _page(settings)),
        *_findings("broker", lambda: _broker(settings)),
    ]


def _findings(subject: str, look: Callable[[], str]) -> Iterator[Finding]:
    try:
        yield Finding(subject, True, look())
    except (OSError, ValueError, StreamgaugeError) as error:
        yield Finding(subject, False, str(error))


def _configuration(settings: GatewaySettings) -> Finding:
    try:
        found = read_configuration(settings.config_file, settings.key)
    except StreamgaugeError as error:
        return Finding("configuration", False, str(error))
    return Finding("configuration", True, _counted(settings.config_file, found))


def _counted(path: Path, found: Configuration) -> str:
    radio = sum(device.activation != "ip" for device in found.devices.values())
    silent = sorted(
        device.name
        for device in found.devices.values()
        if device.codec is not None and device.codec.measures in {"distance", "pressure"}
        if device.installation.sensor_height_m is None
    )
    words = (
        f"{path}: {len(found.devices)} sensors ({radio} by LoRaWAN), {len(found.forwarders) or 'any'} forwarders, "
        f"{len(found.rules)} rules, {len(found.alarms)} alarms; every key opens"
    )
    return words + (f". Without sensor_height_m, so without a level: {', '.join(silent)}" if silent else "")


def _directory(settings: GatewaySettings) -> str:
    settings.directory.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.directory, os.W_OK):
        raise OSError(f"{settings.directory} cannot be written to")
    free = shutil.disk_usage(settings.directory).free
    if free < settings.buffer_max_bytes:
        raise OSError(
            f"{settings.directory} has {free >> 20} MiB free, less than STREAMGAUGE_GATEWAY_BUFFER_MAX_BYTES "
            f"({settings.buffer_max_bytes >> 20} MiB): the disk would be full before the buffer is"
        )
    return f"{settings.directory}, {free >> 20} MiB free"


def _model(settings: GatewaySettings) -> str:
    try:
        model = EdgeModel.load(settings.model_dir) if settings.model_dir else EdgeModel.load()
    except ModelArtefactError as error:
        raise ValueError(str(error)) from error
    return f"{model.sha256[:12]}…"


def _udp(settings: GatewaySettings) -> str:
    if not settings.udp_port:
        return "not listened to (STREAMGAUGE_GATEWAY_UDP_PORT is 0)"
    family = socket.AF_INET6 if ":" in settings.udp_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((settings.udp_host, settings.udp_port))
        except OSError as error:
            where = f"{settings.udp_host}:{settings.udp_port}"
            raise OSError(f"UDP {where} cannot be opened ({error.strerror}); does a gateway run already?") from error
    return f"UDP {settings.udp_host}:{settings.udp_port} is free"


def _page(settings: GatewaySettings) -> str:
    if page_must_be_locked(settings):
        raise ValueError("STREAMGAUGE_GATEWAY_PAGE_PASSWORD must be set where the address is not loopback")
    return f"http://{settings.http_host}:{settings.http_port}/" if settings.http_port else "not served"


def _broker(settings: GatewaySettings) -> str:
    where = urlsplit(settings.mqtt_url)
    link = MqttLink(
        LinkOptions(
            url=settings.mqtt_url,
            protocol=settings.mqtt_protocol,
            client_id=f"{settings.name}-check",
            ca_file=settings.mqtt_ca_file,
            receive_maximum=1,
            session_expiry_s=0,
            topics=(),
            certificate_file=settings.certificate_file,
            key_file=settings.certificate_key_file,
        )
    )
    try:
        link.open()
    except (BrokerUnavailable, ssl.SSLError) as error:
        raise OSError(str(error)) from error
    allowed = link.max_packet_bytes
    link.leave()
    bound = f", messages up to {allowed} bytes" if allowed else ""
    return f"{where.scheme}://{where.hostname} accepts us{bound}"
