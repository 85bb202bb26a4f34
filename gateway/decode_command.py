"""``python -m gateway decode``: one payload as JSON, as the gateway would read it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streamgauge.errors import PermanentError
from streamgauge.payloads.base import BATTERY_NAMES, Codec, Decoded, PayloadRefused, Sample
from streamgauge.payloads.installation import INSTALLATION_PARAMETERS, Installation, level_of
from streamgauge.payloads.parameters import as_declared, complete
from streamgauge.payloads.registry import find, load_layout
from streamgauge.reading import format_time

DONE, REFUSED = 0, 1

_BETWEEN_BYTES = re.compile(r"(?<![0-9A-Fa-f])0[xX]|[\s:,;\-\[\]]")
_NOT_HEXADECIMAL = re.compile(r"[^0-9A-Fa-f]")


class BadArguments(PermanentError):
    """What was typed cannot be used; the message says what to type instead."""


def decode_command(
    model: str | None, layout: Path | None, f_port: int | None, payload_hex: str, given: Sequence[str]
) -> tuple[int, dict[str, Any]]:
    """Decode one payload.

    Args:
        model: a model's name; or
        layout: a TOML layout's file.
        f_port: the LoRaWAN port; None: the one that the model uses.
        payload_hex: the payload, hexadecimal, however logs and manuals write it: blanks, colons, commas, 0x before bytes.
        given: parameters of the codec and of the installation, ``name=value`` each.

    Returns:
        The exit status and what to print: the quantities under their wire names, the rest of the frame under ``frame``,
        stored history under ``history``, what was not understood under ``problems``; or ``refused`` with the reason.

    Raises:
        BadArguments: naming what is wrong.
    """
    codec = _codec(model, layout)
    payload = _payload(payload_hex)
    parameters, installation = _parameters(codec, given)
    port = codec.f_port if f_port is None else f_port
    head: dict[str, Any] = {"model": codec.model, "fport": port}
    try:
        decoded = codec.decode(payload, port, parameters)
    except PayloadRefused as refusal:
        return REFUSED, head | {"refused": refusal.detail}
    return DONE, head | _shown(decoded, codec, installation)


def _shown(decoded: Decoded, codec: Codec, installation: Installation) -> dict[str, Any]:
    problems = list(decoded.problems)
    now: dict[str, Any] = {}
    history = []
    for sample in decoded.samples:
        values = _with_level(sample, codec, installation, problems)
        if sample.is_live:
            now |= values
        elif sample.time is not None:
            history.append({"time": format_time(sample.time), **values})
        else:
            history.append({"age_s": sample.age_s, **values})
    # A status frame's battery stands where every other frame has it.
    now |= {name: value for name, value in decoded.frame.items() if name in BATTERY_NAMES}
    rest = {name: value for name, value in decoded.frame.items() if name not in BATTERY_NAMES}
    shown: dict[str, Any] = now | {"frame": rest}
    if history:
        shown["history"] = history
    if problems:
        shown["problems"] = list(dict.fromkeys(problems))
    return shown


def _with_level(sample: Sample, codec: Codec, installation: Installation, problems: list[str]) -> Mapping[str, float]:
    level_m, why = level_of(sample.values, codec.measures, installation)
    if why is not None:
        problems.append(why)
    values = {name: value for name, value in sample.values.items() if name != "level_m"}
    return values if level_m is None else {"level_m": level_m, **values}


def _codec(model: str | None, layout: Path | None) -> Codec:
    if (model is None) == (layout is None):
        raise BadArguments("name either --model or --layout; `python -m gateway models` lists the models")
    try:
        return find(model) if model is not None else load_layout(layout or Path())
    except PermanentError as error:
        raise BadArguments(str(error)) from error


def _payload(text: str) -> bytes:
    digits = _BETWEEN_BYTES.sub("", text)
    other = _NOT_HEXADECIMAL.search(digits)
    if other is not None:
        raise BadArguments(
            f"--hex: {other.group()!r} is no hexadecimal digit; network servers show payloads in base64: "
            "echo TEXT | base64 -d | xxd -p gives the digits"
        )
    if len(digits) % 2:
        raise BadArguments(f"--hex: {len(digits)} digits, but each byte has two: one is missing or too many")
    return bytes.fromhex(digits)


def _parameters(codec: Codec, given: Sequence[str]) -> tuple[dict[str, float], Installation]:
    declared = (*codec.parameters, *INSTALLATION_PARAMETERS)
    numbers: dict[str, float] = {}
    faults: list[str] = []
    for item in given:
        name, number = _assignment(item)
        name = as_declared(name, declared)
        if name in numbers:
            faults.append(f"{name} is given twice: leave one of them out")
        numbers[name] = number
    values, more = complete(numbers, declared)
    if faults or more:
        raise BadArguments("\n".join(f"--param: {fault}" for fault in [*faults, *more]))
    ours = {parameter.name for parameter in INSTALLATION_PARAMETERS}
    own = {name: value for name, value in values.items() if name not in ours}
    return own, Installation(**{name: value for name, value in values.items() if name in ours})


def _assignment(item: str) -> tuple[str, float]:
    name, equals, value = item.partition("=")
    try:
        number = float(value)
    except ValueError:
        equals = ""
    if not equals:
        raise BadArguments(f"--param {item}: write name=number with a decimal point and no unit, for example Pmax=1.0")
    return name.strip(), number
