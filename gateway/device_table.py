"""One ``[[devices]]`` table of gateway.toml, and the device that it describes."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.devices import Activation, Device
from streamgauge.errors import PermanentError
from streamgauge.payloads.base import Codec, Parameter
from streamgauge.payloads.installation import INSTALLATION_PARAMETERS, Installation
from streamgauge.payloads.parameters import complete
from streamgauge.payloads.registry import UnknownModel, find, normalise
from streamgauge.reading import DEVICE_NAME

Unsealer = Callable[[str, str], bytes]
"""Opens a sealed key: (text, context) → bytes; raises ValueError or PermanentError."""

SEALED = "sealed:"
SEALABLE = ("app_key", "nwk_s_key", "app_s_key")
DEV_ADDR_BYTES, EUI_BYTES, KEY_BYTES, SHA256_BYTES = 4, 8, 16, 32
_KEYS_OF: Mapping[str, tuple[str, ...]] = {"otaa": ("app_key",), "abp": ("nwk_s_key", "app_s_key"), "ip": ()}


class DeviceTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The table as it stands in the file."""

    name: str
    activation: Activation
    model: str | None = None
    dev_eui: str | None = None
    join_eui: str | None = None
    app_key: str | None = None
    dev_addr: str | None = None
    nwk_s_key: str | None = None
    app_s_key: str | None = None
    relax_counter: bool = False
    token_sha256: str | None = None
    parameters: dict[str, float] = {}
    installation: dict[str, float] = {}


def read_device(
    table: DeviceTable, layouts: Mapping[str, Codec], unsealer: Unsealer
) -> tuple[Device | None, list[str]]:
    """The device, or None, and everything that is wrong with its table.

    Args:
        table: as it stands in the file.
        layouts: codecs of the file's own layouts, by model.
        unsealer: opens sealed keys.
    """
    faults: list[str] = []
    if not DEVICE_NAME.fullmatch(table.name):
        faults.append("name must be 1–64 of A–Z a–z 0–9 . _ : -")
    codec = _codec(table, layouts, faults)
    fields: dict[str, Any] = {
        "dev_eui": _hex(table.dev_eui, "dev_eui", EUI_BYTES, faults),
        "join_eui": _hex(table.join_eui, "join_eui", EUI_BYTES, faults),
        "dev_addr": _hex(table.dev_addr, "dev_addr", DEV_ADDR_BYTES, faults),
        "token_sha256": _hex(table.token_sha256, "token_sha256", SHA256_BYTES, faults),
    }
    _check_activation(table, faults)
    fields |= _keys(table, fields["dev_eui"], unsealer, faults)
    parameters: dict[str, float] = {}
    if codec is not None:
        parameters = _bounded(table.parameters, codec.parameters, "parameters", faults)
    elif table.parameters and not faults:
        faults.append("parameters belong to a model: give it")
    installation = _bounded(table.installation, INSTALLATION_PARAMETERS, "installation", faults)
    if faults:
        return None, faults
    return Device(
        name=table.name,
        codec=codec,
        parameters=parameters,
        installation=Installation(**installation),
        activation=table.activation,
        relax_counter=table.relax_counter,
        **fields,
    ), []


def _bounded(
    given: Mapping[str, float], declared: tuple[Parameter, ...], where: str, faults: list[str]
) -> dict[str, float]:
    values, own = complete(given, declared)
    faults += [f"{where}: {fault}" for fault in own]
    return values


def _codec(table: DeviceTable, layouts: Mapping[str, Codec], faults: list[str]) -> Codec | None:
    if table.model is None:
        if table.activation != "ip":
            faults.append("model is missing: which codec reads its frames (python -m gateway models)")
        return None
    own = layouts.get(normalise(table.model))
    if own is not None:
        return own
    try:
        return find(table.model)
    except UnknownModel as error:
        faults.append(f"model: {error}")
        return None


def _check_activation(table: DeviceTable, faults: list[str]) -> None:
    needed = {"otaa": ("dev_eui", "app_key"), "abp": ("dev_eui", "dev_addr", "nwk_s_key", "app_s_key"), "ip": ()}
    faults += [
        f'{name} is missing for activation = "{table.activation}"{_where_to_get(name)}'
        for name in needed[table.activation]
        if getattr(table, name) is None
    ]
    if table.activation == "otaa" and table.relax_counter:
        faults.append("relax_counter is for personalised devices; one that joins begins anew by joining")


def _where_to_get(name: str) -> str:
    return (
        ": python -m gateway seal prints its line"
        if name in SEALABLE
        else ", as printed on the device or shown by its tool"
    )


def _keys(table: DeviceTable, dev_eui: bytes | None, unsealer: Unsealer, faults: list[str]) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for name in _KEYS_OF[table.activation]:
        text = getattr(table, name)
        if text is None or dev_eui is None:
            continue
        if not text.startswith(SEALED):
            faults.append(
                f"{name} stands in the clear: seal it (python -m gateway seal --dev-eui {dev_eui.hex().upper()})"
            )
            continue
        try:
            keys[name] = unsealer(text, f"{dev_eui.hex().upper()}:{name}")
        except (ValueError, PermanentError) as error:
            faults.append(f"{name}: {error}")
            continue
        if len(keys[name]) != KEY_BYTES:
            faults.append(f"{name} holds {len(keys[name])} bytes, not {KEY_BYTES}")
    return keys


def _hex(text: str | None, name: str, length: int, faults: list[str]) -> bytes | None:
    if text is None:
        return None
    try:
        value = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        value = b""
    if len(value) != length:
        faults.append(f"{name} must be {2 * length} hexadecimal digits, as printed on the device")
        return None
    return value
