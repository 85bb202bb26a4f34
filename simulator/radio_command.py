"""``python -m simulator radio`` and ``provision``, and how any command sends over the air."""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from simulator.addresses import Surroundings, fleet_folder_of, gateway_key_of, gateway_udp_of
from simulator.air import AirOptions
from simulator.demo_places import demo_plans
from simulator.errors import InputFault
from simulator.fleet import FLEET_FILE, GATEWAY_FILE, Fleet, read_fleet
from simulator.fleet_water import find_water, fleet_readings, total_of
from simulator.forwarder import ForwarderOptions
from simulator.instrument import Instrument
from simulator.provision import SensorPlan, plan_fleet, provision
from simulator.radio import RadioOptions
from simulator.send_radio import RadioSender, RadioSendOptions
from simulator.unanswered import RepeatOptions
from streamgauge.reading import Reading

DEFAULT_MODEL = "decentlab_dl_mbx"

LONGEST_WAITS = 4
"""A forwarder's longest wait for an answer, in first ones."""


def make_fleet(options: argparse.Namespace, around: Surroundings, folder: Path) -> str:
    """Make what ``provision`` was asked for; returns a sentence that says what is there now."""
    key = gateway_key_of(around)
    plans = demo_plans() if getattr(options, "demo", False) else _plans(options)
    fleet = provision(folder, plans, options.forwarders, key)
    return f"{len(fleet.sensors)} sensors and {len(fleet.forwarders)} forwarders in {folder / FLEET_FILE} and {GATEWAY_FILE}"


def new_radio_sender(options: argparse.Namespace, around: Surroundings, fleet: Fleet | None = None) -> RadioSender:
    """Switch on the fleet that the command line names."""
    folder = fleet_folder_of(around, options.fleet)
    patience_s = options.give_up.total_seconds() or None
    air = AirOptions(
        loss=options.loss, repeat=options.repeat, reorder=options.reorder, delay_s=options.delay.total_seconds(),
        seed=options.seed,
    )  # fmt: skip
    radio = RadioOptions(
        gateway=gateway_udp_of(around, options.udp), air=air, udp_loss=options.udp_loss, hurried=options.quick_joins,
        forwarder=ForwarderOptions(repeat=_repeat(options), gps=not options.no_gps), state_folder=folder,
    )  # fmt: skip
    sending = RadioSendOptions(
        radio=radio, window=options.unanswered, window_each=options.unanswered_each,
        confirm_every=options.confirm_every, give_up_s=patience_s,
        joins_per_s=options.joins_per_second, truth=options.frames_out,
    )  # fmt: skip
    fleet = fleet or read_fleet(folder)
    joining_s = len(fleet.sensors) / options.joins_per_second
    return RadioSender(fleet, replace(sending, join_wait_s=patience_s and joining_s + patience_s))


def _repeat(options: argparse.Namespace) -> RepeatOptions:
    first_wait_s = options.repeat_after.total_seconds()
    return RepeatOptions(
        repeats=not options.no_repeat, first_wait_s=first_wait_s, longest_wait_s=LONGEST_WAITS * first_wait_s
    )


def chosen_fleet(options: argparse.Namespace, around: Surroundings) -> Fleet:
    """The fleet that ``radio`` is to use: made first if that was asked for, and as many sensors of it as were asked for.

    Raises:
        InputFault: it has fewer.
    """
    if options.provision_out is not None:
        options.fleet = options.provision_out
        make_fleet(options, around, options.provision_out)
    fleet = read_fleet(fleet_folder_of(around, options.fleet))
    devices = options.devices or len(fleet.sensors)
    if devices > len(fleet.sensors):
        raise InputFault("The fleet is too small", [f"it has {len(fleet.sensors)} sensors, not {devices}"])
    return replace(fleet, sensors=fleet.sensors[:devices])


def radio_readings(options: argparse.Namespace, fleet: Fleet) -> tuple[Iterator[Reading], int | None, float | None]:
    """What the fleet is to send: the readings, how many they are if that is known, and how many a second."""
    names = [card.name for card in fleet.sensors]
    every_s: float | None = options.every.total_seconds()
    if options.rate is not None:
        every_s = len(names) / options.rate if options.rate else None
    instruments = [Instrument(card) for card in fleet.sensors] if options.source is None else []
    water = find_water(options.source, instruments, options.seed)
    total = total_of(every_s, len(names), options.duration, options.limit)
    readings: Iterator[Reading] = islice(fleet_readings(names, water, every_s), total)
    if every_s is None and options.duration is not None:
        readings = _until(readings, time.monotonic() + options.duration.total_seconds())
    return readings, total, None if every_s is None else len(names) / every_s


def _until(readings: Iterator[Reading], end_s: float) -> Iterator[Reading]:
    while time.monotonic() < end_s and (reading := next(readings, None)) is not None:
        yield reading


def _plans(options: argparse.Namespace) -> list[SensorPlan]:
    return plan_fleet(
        options.name, options.devices or 1, options.model or [DEFAULT_MODEL], dict(options.param),
        dict(options.installation), options.activation,
    )  # fmt: skip
