"""Bytes that no sensor sent, against every codec: ``python -m tests.property.hammer_payloads 1000000 [seed]``.

Whatever the bytes: nothing but PayloadRefused is raised, each value lies within the model's range, no level lies outside of what
the installation's geometry allows, and each reading passes the wire.
"""

import json
import math
import random
import sys
import time as clock
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from streamgauge.payloads import registry
from streamgauge.payloads.base import Codec, Decoded, PayloadRefused, parameter_problems
from streamgauge.payloads.installation import Installation, level_range
from streamgauge.payloads.to_readings import Hearing, TimeLimits, to_readings
from streamgauge.wire import encode_reading, parse_reading

HEARD_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = TimeLimits(HEARD_AT - timedelta(days=3650), HEARD_AT + timedelta(minutes=5))
INSTALLATION = Installation(sensor_height_m=12.5, offset_m=-0.25)
HEARING = Hearing(device="s", heard_at=HEARD_AT, rssi_dbm=-101.0, snr_db=4.5, seq=7)
LONGEST_NOISE = 64


@dataclass(frozen=True)
class Example:
    """A frame from some model's examples."""

    model: str
    payload: bytes
    f_port: int
    parameters: Mapping[str, float]
    refused: bool


@dataclass
class Tally:
    """What became of the frames."""

    frames: int = 0
    refused: int = 0
    levels: int = 0


def examples_of(model: str) -> list[Example]:
    """The frames in a model's examples.json."""
    path = Path(registry.__file__).parent / model / "examples.json"
    written: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return [
        Example(model, bytes.fromhex(entry["hex"]), entry["f_port"], entry.get("parameters", {}), "refused" in entry)
        for entry in written
    ]


def all_examples() -> list[Example]:
    """The frames of every model's examples."""
    return [example for model in registry.models() for example in examples_of(model)]


def limits_of(codec: Codec, parameters: Mapping[str, float]) -> Mapping[str, tuple[float, float]]:
    """The codec's ranges, narrowed by the parameters where the codec can tell."""
    narrow = getattr(codec, "ranges_for", None) or getattr(codec, "_limits", None)
    ranges: Mapping[str, tuple[float, float]] = codec.ranges if narrow is None else narrow(parameters)
    return ranges


def usable_parameters(codec: Codec) -> list[Mapping[str, float]]:
    """The sets of parameters in the model's examples that a configuration would accept."""
    found = [example.parameters for example in examples_of(codec.model)]
    return [parameters for parameters in found if not parameter_problems(codec.parameters, parameters)]


def check(
    codec: Codec, payload: bytes, f_port: int, parameters: Mapping[str, float]
) -> tuple[Decoded | None, list[float]]:
    """Decode, and hold all that comes out against what may: what was decoded (None: refused), and the levels."""
    try:
        decoded = codec.decode(payload, f_port, parameters)
    except PayloadRefused:
        return None, []
    limits = limits_of(codec, parameters)
    for sample in decoded.samples:
        for name, value in sample.values.items():
            low, high = limits[name] if name in limits else codec.ranges[name]
            assert low <= value <= high, f"{name} {value!r} of {payload.hex()} is outside of {low!r} to {high!r}"
    assert all(isinstance(problem, str) and problem for problem in decoded.problems)
    json.dumps(dict(decoded.frame))
    return decoded, levels_of(codec, decoded, limits)


def levels_of(codec: Codec, decoded: Decoded, limits: Mapping[str, tuple[float, float]]) -> list[float]:
    """The levels above datum in the frame, each held against the geometry; every reading is one that the wire takes."""
    readings, _ = to_readings(decoded, codec, INSTALLATION, HEARING, LIMITS)
    allowed = level_range(codec.measures, limits, INSTALLATION)
    levels = []
    for reading in readings:
        assert parse_reading(encode_reading(reading), LIMITS.earliest, LIMITS.latest) == reading
        if reading.level_m is not None:
            assert allowed is not None
            assert allowed[0] - 1e-9 <= reading.level_m <= allowed[1] + 1e-9, (
                f"{reading.level_m!r} is outside of {allowed}"
            )
            assert math.isfinite(reading.level_m)
            levels.append(reading.level_m)
    return levels


def _noise(draw: random.Random, _valid: list[bytes], _foreign: list[bytes]) -> bytes:
    return draw.randbytes(draw.randint(0, LONGEST_NOISE))


def _cut(draw: random.Random, valid: list[bytes], _foreign: list[bytes]) -> bytes:
    frame = draw.choice(valid)
    return frame[: draw.randint(0, len(frame))]


def _flipped(draw: random.Random, valid: list[bytes], _foreign: list[bytes]) -> bytes:
    frame = bytearray(draw.choice(valid))
    for _ in range(draw.randint(1, 4)):
        if frame:
            frame[draw.randrange(len(frame))] ^= 1 << draw.randrange(8)
    return bytes(frame)


def _overwritten(draw: random.Random, valid: list[bytes], _foreign: list[bytes]) -> bytes:
    """A valid frame's head with noise behind it: what comes furthest into a codec."""
    frame = draw.choice(valid)
    kept = draw.randint(0, len(frame))
    return frame[:kept] + draw.randbytes(draw.randint(0, max(0, len(frame) - kept)))


def _spliced(draw: random.Random, valid: list[bytes], foreign: list[bytes]) -> bytes:
    return draw.choice(valid) + draw.choice(foreign)


def _other_models(draw: random.Random, _valid: list[bytes], foreign: list[bytes]) -> bytes:
    return draw.choice(foreign)


_KINDS: tuple[Callable[[random.Random, list[bytes], list[bytes]], bytes], ...] = (
    _noise,
    _cut,
    _flipped,
    _flipped,
    _overwritten,
    _overwritten,
    _spliced,
    _other_models,
)


def hammer(codec: Codec, frames: int, seed: int) -> Tally:
    """Throw so many made-up frames at a codec.

    Args:
        codec: a registered model's.
        frames: how many.
        seed: the same seed makes the same frames.

    Raises:
        AssertionError: something came out that must not; anything else: decode raised it.
    """
    draw = random.Random(f"{codec.model}/{seed}")
    own = examples_of(codec.model)
    valid = [example.payload for example in own if not example.refused]
    foreign = [example.payload for example in all_examples() if example.model != codec.model]
    ports = sorted({example.f_port for example in own})
    settings = usable_parameters(codec)
    tally = Tally()
    for _ in range(frames):
        payload = draw.choice(_KINDS)(draw, valid, foreign)
        f_port = draw.choice(ports) if draw.random() < 0.9 else draw.randint(0, 255)
        decoded, levels = check(codec, payload, f_port, draw.choice(settings))
        tally.frames += 1
        tally.refused += decoded is None
        tally.levels += len(levels)
    return tally


def main(frames: int, seed: int) -> None:
    """Share the frames out among all models and print what became of them."""
    models = registry.models()
    began = clock.monotonic()
    total = Tally()
    for number, model in enumerate(models):
        share = frames // len(models) + (number < frames % len(models))
        tally = hammer(registry.find(model), share, seed)
        total = Tally(total.frames + tally.frames, total.refused + tally.refused, total.levels + tally.levels)
        print(f"{model:22} {tally.frames:>9} frames {tally.refused:>9} refused {tally.levels:>9} levels, all in range")
    seconds = clock.monotonic() - began
    print(f"{'all':22} {total.frames:>9} frames {total.refused:>9} refused {total.levels:>9} levels in {seconds:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
