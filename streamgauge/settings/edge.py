"""Settings of what runs at the edge, or stands in for it: gateway and simulator."""

from dataclasses import dataclass
from pathlib import Path

from streamgauge.settings.common import CommonSettings, LimitSettings, MqttSettings
from streamgauge.settings.declare import choice, name, path, seconds, secret_key, setting, url, whole


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(CommonSettings, MqttSettings, LimitSettings):
    """The edge gateway."""

    name: str = setting("GATEWAY_NAME", name, "The gateway's name: its topics and its MQTT client id.")
    directory: Path = setting(
        "GATEWAY_DIR", path, "Folder of the buffer and the LoRaWAN sessions; made where it is not there."
    )
    config_file: Path = setting(
        "GATEWAY_CONFIG_FILE", path, "Sensors, forwarders, rules: `gateway.toml` (gateway/README.md)."
    )
    key: str | None = setting(
        "GATEWAY_KEY",
        secret_key,
        "Opens the sealed keys of LoRaWAN sensors; required if there are any. At least 32 random characters.",
        default=None,
        secret=True,
    )
    certificate_file: Path | None = setting(
        "GATEWAY_CERT_FILE", path, "Our own certificate for `mqtts://`, in PEM, with its chain.", default=None
    )
    certificate_key_file: Path | None = setting(
        "GATEWAY_CERT_KEY_FILE", path, "The certificate's private key.", default=None
    )
    local_mqtt_url: str | None = setting(
        "GATEWAY_LOCAL_MQTT_URL",
        url("mqtt", "mqtts"),
        "A broker on site on which sensors publish their readings; not listened to where it is not set.",
        default=None,
        secret=True,
    )
    udp_host: str = setting(
        "GATEWAY_UDP_HOST", str, "Address that packet forwarders send to (Semtech UDP).", default="127.0.0.1"
    )
    udp_port: int = setting("GATEWAY_UDP_PORT", whole(0, 65_535), "Port of it; 0: none is opened.", default=1700)
    udp_datagrams_per_s: int = setting(
        "GATEWAY_UDP_RATE",
        whole(1, 1_000_000),
        "Datagrams per second and forwarder; what comes beyond is refused and counted.",
        default=200,
    )
    region: str = setting(
        "GATEWAY_REGION",
        choice("EU868", "AS923", "IN865", "US915", "AU915"),
        "LoRaWAN region: where and how join accepts and acknowledgements are sent.",
        default="EU868",
    )
    sub_band: int = setting(
        "GATEWAY_SUB_BAND",
        whole(0, 8),
        "In US915 and AU915: the sub-band that joining sensors are told to keep to; 0: all channels.",
        default=0,
    )
    http_host: str = setting(
        "GATEWAY_HTTP_HOST",
        str,
        "Address of the page, `POST /readings`, `/health` and `/metrics`.",
        default="127.0.0.1",
    )
    http_port: int = setting("GATEWAY_HTTP_PORT", whole(0, 65_535), "Port of it; 0: none is opened.", default=8070)
    page_password: str | None = setting(
        "GATEWAY_PAGE_PASSWORD",
        str,
        "Password of the page (user `installer`); required where the address is not loopback.",
        default=None,
        secret=True,
    )
    buffer_max_bytes: int = setting(
        "GATEWAY_BUFFER_MAX_BYTES",
        whole(2**20, 2**44),
        "Size at which the buffer gives readings up: ordinary ones first, oldest first.",
        default=2 * 2**30,
    )
    max_waiting_readings: int = setting(
        "GATEWAY_MAX_WAITING",
        whole(1, 10_000_000),
        "Readings that may wait in memory to be written; beyond that senders are not acknowledged.",
        default=20_000,
    )
    batch_readings: int = setting("GATEWAY_BATCH_READINGS", whole(1, 20_000), "Most readings in a batch.", default=500)
    batch_age_s: float = setting(
        "GATEWAY_BATCH_AGE_S", seconds(0.0, 3_600), "A batch that is not full leaves after so long.", default=0.5
    )
    batch_window: int = setting(
        "GATEWAY_BATCH_WINDOW",
        whole(1, 1_000),
        "Most unanswered batches, of live readings and of the backlog each.",
        default=8,
    )
    resend_after_s: float = setting(
        "GATEWAY_RESEND_AFTER_S",
        seconds(0.5, 3_600),
        "A batch that is not answered leaves again after so long, then ever more rarely.",
        default=10.0,
    )
    compress_bytes: int = setting(
        "GATEWAY_COMPRESS_BYTES",
        whole(0, 2**40),
        "Batches larger than this are compressed (gzip); 0: none.",
        default=32_768,
    )
    model_dir: Path | None = setting(
        "GATEWAY_MODEL_DIR",
        path,
        "Folder of the local model's artefact; the one that is shipped where it is not set.",
        default=None,
    )
    offline_after_s: float = setting(
        "GATEWAY_OFFLINE_AFTER_S",
        seconds(0.0, 86_400),
        "The link counts as down, for rules that mind it, when it has been so for so long.",
        default=60.0,
    )


@dataclass(frozen=True, kw_only=True)
class SimulatorSettings(CommonSettings, MqttSettings):
    """The simulator."""
