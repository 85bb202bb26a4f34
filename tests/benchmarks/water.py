"""The readings that benchmarks send, and their messages, encoded before any clock runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson

from streamgauge.reading import Reading, from_microseconds, to_microseconds
from streamgauge.wire import batch_topic, encode_batch, encode_reading, readings_topic

STEP_S = 300
GATEWAYS = 10
STEPS_PER_BATCH = 5
SEED = 20_261_121
_TIDE_S = 12.42 * 3600.0  # the principal lunar tide, M2


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One MQTT message, ready to be sent."""

    topic: str
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one round sends: messages, and how many readings they hold together."""

    messages: Sequence[Message]
    readings: int


def device_names(count: int) -> list[str]:
    """The benchmark's stations."""
    return [f"bench-{number:03d}" for number in range(count)]


def water(devices: Sequence[str], steps: int, ends_at: datetime, step_s: float = STEP_S) -> Iterator[list[Reading]]:
    """A tide with a millimetre of noise at each station; yields all stations' readings of one time, oldest time first.

    Args:
        devices: names.
        steps: how many readings per station.
        ends_at: the last reading's time.
        step_s: seconds between two readings of a station.
    """
    chance = np.random.default_rng(SEED)
    phase = chance.uniform(0.0, 2.0 * np.pi, len(devices))
    first_us = to_microseconds(ends_at) - round((steps - 1) * step_s * 1e6)
    for number in range(steps):
        time = from_microseconds(first_us + round(number * step_s * 1e6))
        angle = 2.0 * np.pi * time.timestamp() / _TIDE_S + phase
        level_m = np.round(1.5 + 0.4 * np.sin(angle) + chance.normal(0.0, 0.001, len(devices)), 3)
        yield [
            Reading(
                device=device, time=time, level_m=level, temperature_c=9.5, battery_v=3.61, rssi_dbm=-91.0, seq=number
            )
            for device, level in zip(devices, level_m.tolist(), strict=True)
        ]


def last_full_step(step_s: int = STEP_S) -> datetime:
    """The newest time that has passed and is a whole number of steps."""
    now_s = int(datetime.now(UTC).timestamp())
    return datetime.fromtimestamp(now_s - now_s % step_s, UTC)


def single_messages(devices: Sequence[str], steps: int, prefix: str = "") -> Load:
    """One message per reading, station after station at each time, as a network of sensors sends.

    Args:
        devices: names.
        steps: readings per station.
        prefix: put before the topic, so that another subscriber gets them.
    """
    messages = [
        Message(topic=prefix + readings_topic(reading.device), payload=orjson.dumps(encode_reading(reading)).decode())
        for together in water(devices, steps, last_full_step())
        for reading in together
    ]
    return Load(messages=messages, readings=len(messages))


def batch_messages(devices: Sequence[str], steps: int, batch_prefix: str, ends_at: datetime | None = None) -> Load:
    """Gateway batches: each gateway has its share of the stations and sends ``STEPS_PER_BATCH`` times of all of them at once.

    With 100 stations these are batches of 50.

    Args:
        devices: names; a multiple of ``GATEWAYS``.
        steps: readings per station; a multiple of ``STEPS_PER_BATCH``.
        batch_prefix: makes the batches' ids unique among rounds.
        ends_at: the last reading's time; by default the last full step.
    """
    share = len(devices) // GATEWAYS
    assert share * GATEWAYS == len(devices)
    assert steps % STEPS_PER_BATCH == 0
    times = list(water(devices, steps, ends_at or last_full_step()))
    messages = []
    for first in range(0, steps, STEPS_PER_BATCH):
        block = times[first : first + STEPS_PER_BATCH]
        for gateway in range(GATEWAYS):
            mine = slice(gateway * share, (gateway + 1) * share)
            readings = [reading for together in block for reading in together[mine]]
            payload = encode_batch(f"{batch_prefix}-{first}", readings).decode()
            messages.append(Message(topic=batch_topic(f"bench-gateway-{gateway}"), payload=payload))
    return Load(messages=messages, readings=len(devices) * steps)


def paced_messages(devices: Sequence[str], seconds: float, rate: float) -> Load:
    """Single readings in real time: ``rate`` a second altogether, each carrying the time at which it is to be sent, about."""
    steps = round(seconds * rate / len(devices))
    step_s = len(devices) / rate
    ends_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    messages = [
        Message(topic=readings_topic(reading.device), payload=orjson.dumps(encode_reading(reading)).decode())
        for together in water(devices, steps, ends_at, step_s)
        for reading in together
    ]
    return Load(messages=messages, readings=len(messages))
