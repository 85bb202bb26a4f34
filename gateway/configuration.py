"""What a gateway is told about its surroundings: ``gateway.toml``, read and validated completely before anything starts.

The shape of the file stands in gateway/README.md. Keys of LoRaWAN sensors stand in it sealed (``streamgauge.sealing``), never
in the clear.
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from gateway.device_table import DeviceTable, Unsealer, read_device
from gateway.devices import Device
from gateway.tables import Table, read_table
from streamgauge.errors import PermanentError
from streamgauge.payloads.base import Codec
from streamgauge.payloads.registry import load_layout, normalise
from streamgauge.sealing import unseal

EUI_BYTES = 8


class ConfigurationError(PermanentError):
    """``gateway.toml`` cannot be used.

    Args:
        path: the file.
        problems: one sentence each, naming the table and what to do.
    """

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        super().__init__(f"{path} cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a local alarm is due. Each bound that is set must be passed.

    Attributes:
        name: what the alarm is called.
        device: whose readings are watched.
        when: ``offline``: only while the link to the cloud is down; ``always``.
        level_above_m: above the station's datum.
        rise_above_m_per_h: over the last readings.
        score_above: how surprising the level is, 0 to 1.
    """

    name: str
    device: str
    when: Literal["offline", "always"] = "offline"
    level_above_m: float | None = None
    rise_above_m_per_h: float | None = None
    score_above: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """How a local alarm is raised: JSON posted to a webhook, or given to a command on its standard input."""

    kind: Literal["webhook", "command"]
    url: str | None = field(default=None, repr=False)
    argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A gateway's surroundings.

    Attributes:
        devices: the sensors, by name.
        forwarders: the EUIs of packet forwarders that are listened to; empty: any.
        rules: when local alarms are due.
        alarms: how they are raised; each alarm goes all the ways.
    """

    devices: Mapping[str, Device]
    forwarders: frozenset[bytes]
    rules: tuple[Rule, ...]
    alarms: tuple[Alarm, ...]


class _Layout(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    path: str


class _Forwarder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    eui: str
    note: str = ""


class _Rule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    device: str
    when: Literal["offline", "always"] = "offline"
    level_above_m: float | None = None
    rise_above_m_per_h: float | None = None
    score_above: float | None = None


class _Alarm(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    webhook: str | None = None
    command: tuple[str, ...] | None = None


_TABLES = ("layouts", "forwarders", "devices", "rules", "alarms")


def read_configuration(path: Path, key: str | None) -> Configuration:
    """Read the file.

    Args:
        path: normally ``gateway.toml``.
        key: the gateway's key, which opens sealed keys; None: there must be none.

    Raises:
        ConfigurationError: naming everything that is wrong with it.
    """
    content = _load(path)
    problems: list[str] = []
    tables = {name: _array(content, name, problems) for name in _TABLES}
    problems += [
        f"{name} is no table of gateway.toml: it is one of {', '.join(f'[[{known}]]' for known in _TABLES)}"
        for name in content.keys() - set(_TABLES)
    ]
    layouts = _layouts(_converted(tables["layouts"], "layouts", _Layout, problems), path.parent, problems)
    devices = _devices(tables["devices"], layouts, _unsealer(key), problems)
    forwarders = _forwarders(_converted(tables["forwarders"], "forwarders", _Forwarder, problems), problems)
    named = {item["name"] for item in tables["devices"] if isinstance(item, dict) and isinstance(item.get("name"), str)}
    rules = _rules(_converted(tables["rules"], "rules", _Rule, problems), named, problems)
    alarms = _alarms(_converted(tables["alarms"], "alarms", _Alarm, problems), problems)
    if rules and not tables["alarms"]:
        problems.append("[[rules]] without [[alarms]]: nobody would hear of them; add a webhook or a command")
    if problems:
        raise ConfigurationError(path, problems)
    return Configuration(devices=devices, forwarders=forwarders, rules=tuple(rules), alarms=tuple(alarms))


def _load(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            path, [f"it cannot be read ({error.strerror}); STREAMGAUGE_GATEWAY_CONFIG_FILE names it"]
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(path, [f"it is no TOML: {error}"]) from error


def _array(content: Mapping[str, object], name: str, problems: list[str]) -> list[object]:
    value = content.get(name, [])
    if isinstance(value, list):
        return value
    problems.append(f"{name} must be an array of tables: write [[{name}]] above each")
    return []


def _converted(items: Sequence[object], name: str, kind: type[Table], problems: list[str]) -> list[tuple[str, Table]]:
    """The sound tables, each with what to call it in a message."""
    converted = []
    for number, item in enumerate(items, start=1):
        where = f"[[{name}]] {number}"
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            where += f" ({item['name']})"
        table, faults = read_table(item, kind)
        problems += [f"{where}: {fault}" for fault in faults]
        if table is not None:
            converted.append((where, table))
    return converted


def _layouts(tables: Sequence[tuple[str, _Layout]], folder: Path, problems: list[str]) -> dict[str, Codec]:
    codecs: dict[str, Codec] = {}
    for where, table in tables:
        try:
            codec = load_layout(folder / table.path)
        except PermanentError as error:
            # A layout's own problems are a list in this list.
            problems.append(f"{where}: {error}".replace("\n", "\n  "))
            continue
        if normalise(codec.model) in codecs:
            problems.append(
                f"{where}: another layout is of the model {codec.model} too; remove one or rename its model"
            )
        codecs[normalise(codec.model)] = codec
    return codecs


def _unsealer(key: str | None) -> Unsealer:
    def open_sealed(sealed: str, context: str) -> bytes:
        if key is None:
            raise ValueError("STREAMGAUGE_GATEWAY_KEY is not set, so that sealed keys cannot be opened")
        return unseal(sealed, key, context)

    return open_sealed


def _devices(
    items: Sequence[object], layouts: Mapping[str, Codec], unsealer: Unsealer, problems: list[str]
) -> dict[str, Device]:
    devices: dict[str, Device] = {}
    euis: dict[bytes, str] = {}
    for where, table in _converted(items, "devices", DeviceTable, problems):
        device, faults = read_device(table, layouts, unsealer)
        problems += [f"{where}: {fault}" for fault in faults]
        if device is None:
            continue
        if device.name in devices:
            problems.append(f"{where}: there is another device of this name")
        if device.dev_eui is not None and euis.setdefault(device.dev_eui, device.name) != device.name:
            problems.append(f"{where}: {euis[device.dev_eui]} has the same dev_eui")
        devices[device.name] = device
    return devices


def _forwarders(tables: Sequence[tuple[str, _Forwarder]], problems: list[str]) -> frozenset[bytes]:
    euis = set()
    for where, table in tables:
        try:
            eui = bytes.fromhex(table.eui.replace(":", "").replace("-", ""))
        except ValueError:
            eui = b""
        if len(eui) != EUI_BYTES:
            problems.append(f"{where}: eui must be 16 hexadecimal digits, as the forwarder's configuration prints it")
        euis.add(eui)
    return frozenset(euis)


def _rules(tables: Sequence[tuple[str, _Rule]], devices: Collection[str], problems: list[str]) -> list[Rule]:
    rules = []
    for where, table in tables:
        bounds = (table.level_above_m, table.rise_above_m_per_h, table.score_above)
        if table.device not in devices:
            problems.append(f"{where}: device {table.device} is not among [[devices]]")
        if all(bound is None for bound in bounds):
            problems.append(
                f"{where}: set level_above_m, rise_above_m_per_h or score_above; else it could never be due"
            )
        if table.score_above is not None and not 0.0 <= table.score_above < 1.0:
            problems.append(f"{where}: score_above must be at least 0 and less than 1")
        rules.append(Rule(**{name: getattr(table, name) for name in table.__struct_fields__}))
    names = [rule.name for rule in rules]
    problems += [
        f"[[rules]]: {name} is there twice" for name in sorted({name for name in names if names.count(name) > 1})
    ]
    return rules


def _alarms(tables: Sequence[tuple[str, _Alarm]], problems: list[str]) -> list[Alarm]:
    alarms = []
    for where, table in tables:
        if (table.webhook is None) == (not table.command):
            problems.append(f"{where}: set either webhook (a URL) or command (a list of program and arguments)")
        elif table.webhook is not None:
            if not table.webhook.startswith(("http://", "https://")):
                problems.append(f"{where}: webhook must begin with http:// or https://")
            alarms.append(Alarm(kind="webhook", url=table.webhook))
        else:
            alarms.append(Alarm(kind="command", argv=table.command or ()))
    return alarms
