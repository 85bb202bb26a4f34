"""Decode: from network servers' uplinks to readings, by the model, parameters and installation of the device that sent each.

An uplink that gives no reading is a dead letter with its whole message, except for frames that are not meant to give one:
those are counted. Each uplink is handled by itself, so that a bad one takes nothing else with it.
"""

import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy import Connection, Engine

from streamgauge import network_servers
from streamgauge.errors import DeadReason, InvalidMessage, PermanentError
from streamgauge.network_servers.uplink import Ignored, NetworkUplink
from streamgauge.payloads import registry
from streamgauge.payloads.base import Codec, PayloadRefused, parameter_problems
from streamgauge.payloads.installation import Installation
from streamgauge.payloads.to_readings import Hearing, to_readings
from streamgauge.reading import SIMULATED, Reading
from streamgauge.storage.devices import Registration, find_sensors
from tasks.work import LostReading, Work

log = logging.getLogger("streamgauge.decode")

SENSORS_TTL_S = 10.0
"""So long a changed model, parameter or installation may go unnoticed by a worker."""
SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """What turns a registered device's payloads into readings."""

    name: str
    codec: Codec
    parameters: Mapping[str, float]
    installation: Installation


class Accepted(NamedTuple):
    """What times readings may have. ``earliest`` is aware UTC; ``ahead`` is counted from the frame's own time."""

    earliest: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    ahead: timedelta = timedelta(minutes=10)


@dataclass(slots=True)
class Decoding:
    """What decoding came to.

    Attributes:
        work: the readings, those of uplinks among them.
        lost: uplinks that became dead letters.
        outcomes: how many uplinks by (network, outcome); see ``streamgauge.metrics.UPLINKS``.
        problems: how many parts of good frames were left out, by model.
    """

    work: Work
    lost: list[LostReading] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)


class SensorDirectory:
    """A worker process's memory of sensors by DevEUI. One that is not in it is always asked for, so that a new registration
    counts at once.
    """

    def __init__(self) -> None:
        self._sensors: dict[str, Sensor | InvalidMessage] = {}
        self._filled_at_s = 0.0

    def look_up(self, connection: Connection, euis: Collection[str]) -> dict[str, Sensor | InvalidMessage]:
        """The registered sensors among these DevEUIs, or what is wrong with their registration."""
        if time.monotonic() - self._filled_at_s > SENSORS_TTL_S:
            self._sensors.clear()
            self._filled_at_s = time.monotonic()
        missing = [eui for eui in euis if eui not in self._sensors]
        if missing:
            found = find_sensors(connection, missing)
            self._sensors |= {eui: _prepare(registered) for eui, registered in found.items()}
        return {eui: self._sensors[eui] for eui in euis if eui in self._sensors}

    def forget(self) -> None:
        """Forget everything."""
        self._sensors.clear()


def decode(work: Work, engine: Engine, directory: SensorDirectory, accepted: Accepted) -> Decoding:
    """Turn a task's uplinks into readings. Without uplinks nothing is looked at and the work stays as it is."""
    if not work.uplinks:
        return Decoding(work)
    result = Decoding(work)
    uplinks = _parse(work, result)
    with engine.connect() as connection:
        sensors = directory.look_up(connection, {uplink.dev_eui for uplink in uplinks.values()})
    readings: list[tuple[int, Reading]] = []
    for place, uplink in uplinks.items():
        sensor = sensors.get(uplink.dev_eui, _unknown(uplink))
        try:
            found = _read(uplink, sensor, accepted, result)
        except InvalidMessage as error:
            _lose(result, place, uplink.network, sensor, error.reason, error.detail)
        except PayloadRefused as error:
            _lose(result, place, uplink.network, sensor, DeadReason.UNDECODABLE_PAYLOAD, error.detail)
        except (SoftTimeLimitExceeded, MemoryError):
            raise
        except Exception as error:
            log.exception("uplink not borne", extra={"dev_eui": uplink.dev_eui})
            detail = f"{type(error).__name__}: {error}"
            _lose(result, place, uplink.network, sensor, DeadReason.PROCESSING_FAILED, detail)
        else:
            result.outcomes[uplink.network, "decoded" if found else "status"] += 1
            readings += [(work.uplinks[place][0], reading) for reading in found]
    result.work = work.with_decoded(readings)
    return result


def _lose(
    result: Decoding,
    place: int,
    network: str,
    sensor: Sensor | InvalidMessage | None,
    reason: DeadReason,
    detail: str,
) -> None:
    device = sensor.name if isinstance(sensor, Sensor) else None
    result.lost.append(result.work.lose_uplink(place, reason, detail, device))
    result.outcomes[network, "refused"] += 1


def _parse(work: Work, result: Decoding) -> dict[int, NetworkUplink]:
    """The uplinks by their place. They were looked at before; only another version may have let through what this one refuses."""
    uplinks: dict[int, NetworkUplink] = {}
    for place, (_, raw) in enumerate(work.uplinks):
        try:
            uplink = network_servers.parse(raw.network, raw.message)
        except InvalidMessage as error:
            _lose(result, place, raw.network, None, error.reason, error.detail)
            continue
        if isinstance(uplink, Ignored):
            result.outcomes[raw.network, "ignored"] += 1
        else:
            uplinks[place] = uplink
    return uplinks


def _read(
    uplink: NetworkUplink, sensor: Sensor | InvalidMessage, accepted: Accepted, result: Decoding
) -> list[Reading]:
    """The readings in one frame; none for a sound frame that is not meant to give one.

    Raises:
        InvalidMessage: nothing can be read from it, for the reason that it names.
        PayloadRefused: it is not the model's.
    """
    if isinstance(sensor, InvalidMessage):
        raise InvalidMessage(sensor.reason, sensor.detail)
    decoded = sensor.codec.decode(uplink.payload, uplink.f_port, sensor.parameters)
    readings, problems = to_readings(
        decoded, sensor.codec, sensor.installation, _hearing(uplink, sensor.name), _limits(uplink, accepted)
    )
    problems = [*decoded.problems, *problems]
    if problems:
        result.problems[sensor.codec.model] += len(problems)
        shown = {"device": sensor.name, "model": sensor.codec.model, "problems": problems[:SHOWN_PROBLEMS]}
        log.warning("uplink decoded in part", extra=shown)
    if not readings and (problems or decoded.samples):
        is_understood = decoded.samples or decoded.frame
        reason = DeadReason.NO_QUANTITY if is_understood else DeadReason.UNDECODABLE_PAYLOAD
        raise InvalidMessage(reason, "; ".join(problems) or "the frame holds none of the quantities")
    if uplink.simulated:
        readings = [replace(reading, extra={SIMULATED: 1.0, **reading.extra}) for reading in readings]
    return readings


def _hearing(uplink: NetworkUplink, device: str) -> Hearing:
    best = uplink.best
    return Hearing(
        device=device,
        heard_at=uplink.time,
        rssi_dbm=best.rssi_dbm if best else None,
        snr_db=best.snr_db if best else None,
        seq=uplink.f_cnt,
        extra=uplink.signal_by_gateway(),
    )


def _limits(uplink: NetworkUplink, accepted: Accepted) -> tuple[datetime, datetime]:
    return accepted.earliest, uplink.time + accepted.ahead


def _prepare(registered: Registration) -> Sensor | InvalidMessage:
    """A registered device with its codec, or why it has none."""
    if registered.model is None:
        return _unfit(registered, "has no model", "--model MODEL")
    try:
        codec = registry.find(registered.model)
        problems = parameter_problems(codec.parameters, registered.parameters)
        if problems:
            return _unfit(registered, "; ".join(problems), "--parameter NAME=VALUE")
        return Sensor(
            name=registered.name,
            codec=codec,
            parameters=registered.parameters,
            installation=Installation(**registered.installation),
        )
    except PermanentError as error:
        return _unfit(registered, str(error), "--model MODEL")
    except (TypeError, ValueError) as error:
        return _unfit(registered, f"its installation cannot be used: {error}", "--installation NAME=VALUE")


def _unfit(registered: Registration, what: str, option: str) -> InvalidMessage:
    detail = f"the device {registered.name}: {what}. Set it with: python -m app add-device {registered.name} --update {option}"
    return InvalidMessage(DeadReason.UNKNOWN_CODEC, detail)


def _unknown(uplink: NetworkUplink) -> InvalidMessage:
    called = f" ({uplink.network} calls it {uplink.device_name})" if uplink.device_name else ""
    detail = (
        f"no device is registered with the DevEUI {uplink.dev_eui}{called}. "
        f"Register it with: python -m app add-device NAME --dev-eui {uplink.dev_eui} --model MODEL"
    )
    return InvalidMessage(DeadReason.UNKNOWN_DEVICE, detail)
