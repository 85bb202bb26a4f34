"""A fleet: sensors with their keys and installations, and the forwarders that hear them. Kept in ``fleet.json``."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.errors import InputFault
from streamgauge.reading import DEVICE_NAME

FLEET_FILE, GATEWAY_FILE = "fleet.json", "gateway.toml"
_FORMAT = 1
_BYTE_FIELDS = {"dev_eui": 8, "join_eui": 8, "app_key": 16, "dev_addr": 4, "nwk_s_key": 16, "app_s_key": 16}
_NEEDED = {"otaa": ("join_eui", "app_key"), "abp": ("dev_addr", "nwk_s_key", "app_s_key")}


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorCard:
    """All that is known of one sensor before it is switched on; identifiers and keys as they are printed (big-endian).

    Args:
        name: the device's name towards the cloud.
        model: as ``streamgauge.payloads.registry`` calls it.
        dev_eui: 8 bytes.
        activation: ``otaa`` (``join_eui``, ``app_key``) or ``abp`` (``dev_addr``, ``nwk_s_key``, ``app_s_key``).
        parameters: the codec's parameters.
        installation: the fields of ``streamgauge.payloads.installation.Installation``.
    """

    name: str
    model: str
    dev_eui: bytes
    activation: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    installation: Mapping[str, float] = field(default_factory=dict)
    join_eui: bytes | None = None
    app_key: bytes | None = field(default=None, repr=False)
    dev_addr: bytes | None = None
    nwk_s_key: bytes | None = field(default=None, repr=False)
    app_s_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Sensors, and the EUIs (8 bytes each) of the forwarders around them."""

    sensors: tuple[SensorCard, ...] = ()
    forwarders: tuple[bytes, ...] = ()


def read_fleet(path: Path) -> Fleet:
    """Read a fleet.

    Args:
        path: the file, or the folder that holds ``fleet.json``.

    Raises:
        InputFault: it is not there, or damaged; every bad sensor is named.
    """
    file = path / FLEET_FILE if path.is_dir() else path
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputFault(
            f"There is no fleet at {file}", ["make one: python -m simulator provision --devices N --model … --out DIR"]
        ) from error
    except (OSError, ValueError) as error:
        raise InputFault(f"The fleet {file} cannot be read", [str(error)]) from error
    problems: list[str] = []
    fleet = _fleet(tree, problems)
    if problems:
        raise InputFault(f"The fleet {file} cannot be used", problems)
    return fleet


def write_fleet(path: Path, fleet: Fleet) -> None:
    """Write a fleet with its keys, readable for its owner alone, at once or not at all."""
    tree = {
        "format": _FORMAT,
        "forwarders": [eui.hex().upper() for eui in fleet.forwarders],
        "sensors": [_as_json(card) for card in fleet.sensors],
    }
    write_private(path, json.dumps(tree, indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file's content at once; only its owner can read it (mode 0600)."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _as_json(card: SensorCard) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": card.name, "model": card.model, "activation": card.activation}
    for name in _BYTE_FIELDS:
        value = getattr(card, name)
        if value is not None:
            plain[name] = value.hex().upper()
    return plain | {"parameters": dict(card.parameters), "installation": dict(card.installation)}


def _fleet(tree: Any, problems: list[str]) -> Fleet:
    if not isinstance(tree, dict) or tree.get("format") != _FORMAT:
        problems.append(f"it is not a fleet of format {_FORMAT}")
        return Fleet()
    forwarders = [_bytes(f"forwarders[{n}]", eui, 8, problems) for n, eui in enumerate(tree.get("forwarders", []), 1)]
    sensors = [_card(f"sensors[{n}]", item, problems) for n, item in enumerate(tree.get("sensors", []), 1)]
    names = [card.name for card in sensors if card]
    problems.extend(f"the name {name!r} is there twice" for name in _repeated(names))
    if not sensors or not forwarders:
        problems.append("it needs one sensor and one forwarder at least")
    return Fleet(
        sensors=tuple(card for card in sensors if card is not None), forwarders=tuple(eui for eui in forwarders if eui)
    )


def _card(where: str, item: Any, problems: list[str]) -> SensorCard | None:
    before = len(problems)
    if not isinstance(item, dict):
        problems.append(f"{where}: must be an object")
        return None
    name, model, activation = item.get("name"), item.get("model"), item.get("activation")
    if not isinstance(name, str) or not DEVICE_NAME.fullmatch(name):
        problems.append(f"{where}.name: must be 1 to 64 of A-Z a-z 0-9 . _ : -, not {name!r}")
    if not isinstance(model, str) or not isinstance(activation, str) or activation not in _NEEDED:
        problems.append(f"{where}: needs a model, and an activation of otaa or abp")
        return None
    octets = {
        key: _bytes(f"{where}.{key}", item[key], size, problems)
        for key, size in _BYTE_FIELDS.items()
        if item.get(key) is not None
    }
    missing = [key for key in ("dev_eui", *_NEEDED[activation]) if octets.get(key) is None]
    problems.extend(f"{where}.{key}: is missing" for key in missing if key not in octets)
    numbers = {key: _numbers(f"{where}.{key}", item.get(key, {}), problems) for key in ("parameters", "installation")}
    if len(problems) > before:
        return None
    fields: dict[str, Any] = {"name": name, "model": model, "activation": activation, **octets, **numbers}
    return SensorCard(**fields)


def _bytes(where: str, text: Any, size: int, problems: list[str]) -> bytes | None:
    try:
        found = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        found = b""
    if len(found) != size:
        problems.append(f"{where}: must be {2 * size} hexadecimal digits")  # never repeated: it may be a key
        return None
    return found


def _numbers(where: str, item: Any, problems: list[str]) -> Mapping[str, float]:
    if not isinstance(item, dict) or any(type(value) not in {int, float} for value in item.values()):
        problems.append(f"{where}: must be an object of numbers")
        return {}
    return {str(key): float(value) for key, value in item.items()}


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({name for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]
