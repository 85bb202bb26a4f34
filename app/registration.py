"""``python -m app add-device`` and ``list-devices``: which sensor is which, how it is read and how it stands."""

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Engine

from streamgauge.payloads import registry
from streamgauge.payloads.base import Parameter
from streamgauge.payloads.installation import INSTALLATION_PARAMETERS
from streamgauge.payloads.parameters import as_declared, complete
from streamgauge.quality.station import read_station_quality
from streamgauge.reading import DEVICE_NAME
from streamgauge.storage.devices import (
    Registration,
    find_name_of,
    list_registrations,
    read_registration,
    write_registration,
)

_EUI = re.compile(r"[0-9A-F]{16}")
_SEPARATORS = str.maketrans("", "", " -:")


class NotRegistered(ValueError):
    """A registration that cannot be made: one sentence per fault."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``add-device`` takes."""
    parser.add_argument("name", help="what the wire calls it: 1-64 of A-Z a-z 0-9 . _ : -")
    parser.add_argument("--dev-eui", metavar="EUI", help="of a LoRaWAN sensor: 16 hexadecimal digits")
    parser.add_argument("--model", help="which codec reads its payloads, for example decentlab_dl_mbx")
    for option, what in (("parameter", "of the codec, for example Pmax=1"), ("installation", "sensor_height_m=4.2")):
        parser.add_argument(
            f"--{option}", action="append", default=[], metavar="NAME=VALUE", help=f"{what}; NAME= takes it away"
        )
    parser.add_argument(
        "--quality",
        metavar="JSON",
        help='what is set for its checks, for example {"rate_suspect_m_per_h": 12, "neighbours": ["weir"]}; null takes away',
    )
    parser.add_argument(
        "--update", action="store_true", help="change a device that is registered; else that is refused"
    )


def add_device(engine: Engine, options: argparse.Namespace) -> int:
    """Register a device, or with ``--update`` change what is given of it. Prints the registration as JSON."""
    try:
        with engine.begin() as connection:
            known = read_registration(connection, options.name)
            if known is None and options.update:
                raise NotRegistered(f"No device is registered as {options.name}; leave --update out to register it.")
            if known is not None and not options.update:
                raise NotRegistered(f"{options.name} is registered already; change it with --update.")
            registration = settle(known or Registration(name=options.name), options)
            holder = find_name_of(connection, registration.dev_eui) if registration.dev_eui else None
            if holder not in (None, registration.name):
                raise NotRegistered(f"The DevEUI {registration.dev_eui} is registered already, as {holder}.")
            write_registration(connection, registration)
    except NotRegistered as error:
        print(error, file=sys.stderr)
        return 1
    print(_line(registration))
    return 0


def print_devices(engine: Engine) -> int:
    """Print every device as a line of JSON."""
    with engine.connect() as connection:
        for registration in list_registrations(connection):
            print(_line(registration))
    return 0


def settle(known: Registration, options: argparse.Namespace) -> Registration:
    """What is registered after this command.

    Args:
        known: what is registered so far.
        options: the command's.

    Raises:
        NotRegistered: naming everything that is wrong.
    """
    if not DEVICE_NAME.fullmatch(known.name):
        raise NotRegistered(f"The name must be 1–64 of A–Z a–z 0–9 . _ : -, not {known.name!r}.")
    dev_eui = known.dev_eui if options.dev_eui is None else _eui(options.dev_eui)
    model, declared = _model(options.model or known.model)
    if dev_eui is not None and model is None:
        raise NotRegistered(f"A sensor with a DevEUI needs --model: one of {', '.join(registry.models())}.")
    if model is None and options.parameter:
        raise NotRegistered("Parameters belong to a model: give it with --model.")
    parameters, faults = _checked(known.parameters, options.parameter, declared, "parameter")
    installation, further = _checked(known.installation, options.installation, INSTALLATION_PARAMETERS, "installation")
    if faults or further:
        raise NotRegistered("\n".join([*faults, *further]))
    quality = _quality(known.quality, options.quality)
    return replace(
        known, dev_eui=dev_eui, model=model, parameters=parameters, installation=installation, quality=quality
    )


def _quality(known: dict[str, Any], given: str | None) -> dict[str, Any]:
    """What was and is set for the checks; only what is given now must be sound, as the worker leaves out what is not."""
    if given is None:
        return known
    try:
        settings = json.loads(given)
        read_station_quality(settings)
    except ValueError as error:
        raise NotRegistered(f"--quality: {error}") from error
    return {name: value for name, value in {**known, **(settings or {})}.items() if value is not None}


def _model(name: str | None) -> tuple[str | None, tuple[Parameter, ...]]:
    if name is None:
        return None, ()
    try:
        codec = registry.find(name)
    except registry.UnknownModel as error:
        raise NotRegistered(f"--model: {error}") from error
    return codec.model, codec.parameters


def _eui(text: str) -> str:
    eui = text.translate(_SEPARATORS).upper()
    if not _EUI.fullmatch(eui):
        raise NotRegistered(f"--dev-eui must be 16 hexadecimal digits, not {text!r}.")
    return eui


def _checked(
    known: dict[str, float], given: Sequence[str], declared: tuple[Parameter, ...], option: str
) -> tuple[dict[str, float], list[str]]:
    """The values that were and are given, under their declared names, without the defaults; and what is wrong with them."""
    values, faults = dict(known), list[str]()
    for text in given:
        name, _, value = text.partition("=")
        name = as_declared(name.strip(), declared)
        if not value.strip():
            values.pop(name, None)
        elif (number := _number(value)) is None:
            faults.append(f"--{option} {text}: the value must be a number")
        else:
            values[name] = number
    _, further = complete(values, declared)
    return values, [*faults, *(f"--{option}: {fault}" for fault in further)]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _line(registration: Registration) -> str:
    fields = asdict(registration)
    return json.dumps({"device": fields.pop("name"), **fields})
