"""From a LoRaWAN uplink to readings: the device's codec, its parameters, and how it stands."""

import logging
from dataclasses import dataclass, field
from datetime import datetime

from gateway.devices import Device
from gateway.radio.heard import Uplink
from streamgauge.errors import DeadReason
from streamgauge.payloads.base import PayloadRefused
from streamgauge.payloads.to_readings import Hearing, to_readings
from streamgauge.reading import Reading
from streamgauge.wire import Limits

log = logging.getLogger("streamgauge.gateway.decode")

PAYLOAD_REFUSED, UNKNOWN_CODEC, CODEC_FAILED = "payload_refused", "unknown_codec", "codec_failed"
TIME_OUT_OF_RANGE = DeadReason.TIME_OUT_OF_RANGE.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an uplink's payload held.

    Attributes:
        readings: there may be none, as of a status frame.
        problems: what was refused or not understood, in words.
        refusal: why the payload as a whole is refused, as a metric's label; None: it is not.
        values: what the live sample decoded to, for the page.
        is_status: it is a sound frame that measures nothing.
    """

    readings: list[Reading] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    refusal: str | None = None
    values: dict[str, float] = field(default_factory=dict)
    is_status: bool = False


NOTHING = Content()


def decode_uplink(uplink: Uplink, device: Device, heard_at: datetime, limits: Limits) -> Content:
    """Read one uplink's payload; whatever is wrong with it comes back in the content, nothing is raised.

    Args:
        uplink: as the network server heard it.
        device: whose it is.
        heard_at: aware UTC.
        limits: which times are accepted, of stored history in the payload.
    """
    if device.codec is None:
        problem = "no model is configured for this sensor: add model to its table in gateway.toml"
        return Content(problems=(problem,), refusal=UNKNOWN_CODEC)
    try:
        decoded = device.codec.decode(uplink.payload, uplink.f_port, device.parameters)
    except PayloadRefused as refused:
        return Content(problems=(refused.detail,), refusal=PAYLOAD_REFUSED)
    except Exception as error:  # A codec's bug: it must not take the gateway with it, nor its frame vanish.
        log.exception("codec failed", extra={"device": device.name, "model": device.model})
        return Content(problems=(f"the codec failed: {error!r}",), refusal=CODEC_FAILED)
    reception = uplink.reception
    hearing = Hearing(
        device=device.name,
        heard_at=heard_at,
        rssi_dbm=reception.rssi_dbm,
        snr_db=reception.snr_db,
        seq=uplink.f_cnt,
    )
    window = (limits.earliest, heard_at + limits.future_tolerance)
    readings, problems = to_readings(decoded, device.codec, device.installation, hearing, window)
    # A board that wakes in 1970 has nothing to stamp a reading with; its payload must not vanish for that.
    is_timed = window[0] <= heard_at <= window[1]
    live = next((dict(sample.values) for sample in decoded.samples if sample.is_live), {})
    return Content(
        readings=readings,
        problems=(*decoded.problems, *problems),
        refusal=None if is_timed or readings or not decoded.samples else TIME_OUT_OF_RANGE,
        values=_shown(live, readings),
        is_status=not decoded.samples,
    )


def _shown(live: dict[str, float], readings: list[Reading]) -> dict[str, float]:
    """The live values, with the level that they became."""
    level_m = next((reading.level_m for reading in readings if reading.seq is not None), None)
    return live if level_m is None else {"level_m": level_m} | {name: live[name] for name in live if name != "level_m"}
