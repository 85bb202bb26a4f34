"""Making a fleet: sensors with fresh keys, the gateway's configuration with those keys sealed, the fleet's own secrets.

The gateway's file is never overwritten: what is new is added at its end, so that a person's own tables stay as they are.
"""

import secrets
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from simulator.errors import InputFault
from simulator.fleet import FLEET_FILE, GATEWAY_FILE, Fleet, SensorCard, read_fleet, write_fleet, write_private
from simulator.instrument import Instrument, usual_installation
from simulator.replay import station_names
from streamgauge.payloads.registry import UnknownModel
from streamgauge.sealing import seal

_HEADER = """\
# Sensors and forwarders of a Streamgauge gateway (gateway/README.md). Their keys are sealed under STREAMGAUGE_GATEWAY_KEY;
# the simulated sensors' own copies stand in fleet.json.
"""
_FIRST_DEV_EUI = 0x70B3D57ED0000001
_FIRST_FORWARDER = 0xAA555A0000000101
_FIRST_DEV_ADDR = 0x26011F00
_JOIN_EUI = bytes(8)
_MOST_PROBLEMS_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorPlan:
    """A sensor that is to be made.

    Args:
        name: the device's name.
        model: of its codec.
        parameters: the codec's.
        installation: how it stands; empty: as is usual for the model.
        activation: ``otaa`` or ``abp``.
    """

    name: str
    model: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    installation: Mapping[str, float] = field(default_factory=dict)
    activation: str = "otaa"


def plan_fleet(
    name: str, devices: int, models: Sequence[str], parameters: Mapping[str, float], installation: Mapping[str, float],
    activation: str,
) -> list[SensorPlan]:  # fmt: skip
    """So many sensors, ``name``, or ``name-001`` and so on; several models take turns.

    Raises:
        InputFault: the wire does not allow such a name.
    """
    names = station_names(name, devices)
    return [
        SensorPlan(
            name=one, model=models[number % len(models)], parameters=parameters, installation=installation,
            activation=activation,
        )
        for number, one in enumerate(names)
    ]  # fmt: skip


def provision(folder: Path, plans: Sequence[SensorPlan], forwarders: int, key: str) -> Fleet:
    """Add sensors to the folder's fleet and to its ``gateway.toml``; both are made if they are not there, and sensors that
    both have already stay as they are.

    Args:
        folder: made if it is not there.
        plans: the new sensors.
        forwarders: how many the fleet is to have at least.
        key: the gateway's, under which keys are sealed.

    Returns:
        The whole fleet.

    Raises:
        InputFault: a name is taken, a model or its parameters cannot be used, or a file cannot be read or written.
    """
    configured = _configured(folder / GATEWAY_FILE)
    fleet = read_fleet(folder) if (folder / FLEET_FILE).exists() else Fleet()
    own = {card.name: card for card in fleet.sensors}
    _refuse_taken(folder, plans, own, configured)
    new = _new_cards([plan for plan in plans if plan.name not in own], fleet, configured)
    for card in {(card.model, str(card.parameters), str(card.installation)): card for card in new}.values():
        Instrument(card)
    euis = [*fleet.forwarders]
    euis += _fresh(_FIRST_FORWARDER, 8, set(euis), max(forwarders - len(euis), 0))
    whole = Fleet(sensors=(*fleet.sensors, *new), forwarders=tuple(euis))
    wanted = {plan.name for plan in plans}
    unlisted = [card for card in whole.sensors if card.name in wanted and card.name not in configured.names]
    added = _tables([eui for eui in euis if eui not in configured.forwarders], unlisted, key)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The fleet first: if only that is written, the same command adds to the gateway's file what is missing there.
        if whole != fleet:
            write_fleet(folder / FLEET_FILE, whole)
        if added:
            write_private(folder / GATEWAY_FILE, configured.text + added)
    except OSError as error:
        raise InputFault(f"The fleet in {folder} cannot be written", [str(error)]) from error
    return whole


def _refuse_taken(
    folder: Path, plans: Sequence[SensorPlan], own: Mapping[str, SensorCard], configured: "_Configured"
) -> None:
    problems = [
        f"{plan.name} is there already, as {own[plan.name].model}"
        for plan in plans
        if plan.name in own and (own[plan.name].model, own[plan.name].activation) != (plan.model, plan.activation)
    ]
    problems += [
        f"{plan.name} stands in {GATEWAY_FILE}, but its keys are not in {FLEET_FILE}: remove it from {GATEWAY_FILE}"
        for plan in plans
        if plan.name in configured.names and plan.name not in own
    ]
    if problems:
        raise InputFault(f"The fleet in {folder} cannot be extended", problems[:_MOST_PROBLEMS_NAMED])


@dataclass(frozen=True, slots=True)
class _Configured:
    """What a gateway's file says already."""

    text: str
    names: frozenset[str] = frozenset()
    dev_euis: frozenset[bytes] = frozenset()
    forwarders: frozenset[bytes] = frozenset()


def _configured(path: Path) -> _Configured:
    try:
        text = path.read_text(encoding="utf-8")
        tree = tomllib.loads(text)
    except FileNotFoundError:
        return _Configured(_HEADER)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputFault(f"{path} cannot be extended", [str(error)]) from error
    devices, forwarders = _tables_of(tree.get("devices")), _tables_of(tree.get("forwarders"))
    return _Configured(
        text if text.endswith("\n") else text + "\n",
        frozenset(str(device.get("name")) for device in devices),
        frozenset(_euis(devices, "dev_eui")),
        frozenset(_euis(forwarders, "eui")),
    )


def _tables_of(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _euis(tables: Iterable[Mapping[str, Any]], key: str) -> Iterable[bytes]:
    for table in tables:
        text = str(table.get(key, "")).replace(":", "").replace("-", "")
        if len(text) == 16 and all(digit in "0123456789abcdefABCDEF" for digit in text):
            yield bytes.fromhex(text)


def _new_cards(plans: Sequence[SensorPlan], fleet: Fleet, configured: _Configured) -> list[SensorCard]:
    used = {card.dev_eui for card in fleet.sensors} | configured.dev_euis
    euis = _fresh(_FIRST_DEV_EUI, 8, used, len(plans))
    used_addresses = {card.dev_addr for card in fleet.sensors if card.dev_addr}
    addresses = iter(_fresh(_FIRST_DEV_ADDR, 4, used_addresses, sum(plan.activation == "abp" for plan in plans)))
    cards = []
    for plan, dev_eui in zip(plans, euis, strict=True):
        own: dict[str, Any] = {"join_eui": _JOIN_EUI, "app_key": secrets.token_bytes(16)}
        if plan.activation == "abp":
            own = {name: secrets.token_bytes(16) for name in ("nwk_s_key", "app_s_key")} | {"dev_addr": next(addresses)}
        cards.append(
            SensorCard(
                name=plan.name, model=plan.model, dev_eui=dev_eui, activation=plan.activation,
                parameters=plan.parameters, installation=plan.installation or _usual(plan), **own,
            )
        )  # fmt: skip
    return cards


def _usual(plan: SensorPlan) -> Mapping[str, float]:
    try:
        return usual_installation(plan.model, plan.parameters)
    except (UnknownModel, ValueError) as error:
        raise InputFault(f"The sensor {plan.name!r} cannot be made", [str(error)]) from error


def _fresh(first: int, size: int, used: set[bytes], number: int) -> list[bytes]:
    """So many numbers from ``first`` on, as bytes, that are not used yet."""
    found: list[bytes] = []
    candidates = (value.to_bytes(size, "big") for value in count(first))
    while len(found) < number:
        candidate = next(candidates)
        if candidate not in used:
            found.append(candidate)
    return found


def _tables(forwarders: Sequence[bytes], cards: Sequence[SensorCard], key: str) -> str:
    parts = [f'\n[[forwarders]]\neui = "{eui.hex().upper()}"\n' for eui in forwarders]
    return "".join([*parts, *(_device(card, key) for card in cards)])


def _device(card: SensorCard, key: str) -> str:
    dev_eui = card.dev_eui.hex().upper()
    lines = ["", "[[devices]]", f'name = "{card.name}"', f'model = "{card.model}"', f'dev_eui = "{dev_eui}"']
    lines.append(f'activation = "{card.activation}"')
    for name in ("join_eui", "dev_addr"):
        value = getattr(card, name)
        if value is not None:
            lines.append(f'{name} = "{value.hex().upper()}"')
    for name in ("app_key", "nwk_s_key", "app_s_key"):
        secret = getattr(card, name)
        if secret is not None:
            lines.append(f'{name} = "{seal(secret, key, f"{dev_eui}:{name}")}"')
    lines += [f"{name} = {_inline(getattr(card, name))}" for name in ("parameters", "installation")]
    return "\n".join(lines) + "\n"


def _inline(numbers: Mapping[str, float]) -> str:
    inside = ", ".join(f"{name} = {float(value)!r}" for name, value in numbers.items())
    return f"{{ {inside} }}" if inside else "{ }"
