"""The command line: ``python -m simulator replay | run | demo | radio | provision``."""

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from types import FrameType

from simulator.addresses import (
    Surroundings,
    broker_of,
    fleet_folder_of,
    gateway_udp_of,
    http_url_of,
    look_around,
    token_of,
)
from simulator.arguments import new_parser
from simulator.demo import Demo, DemoTimes, stations_of
from simulator.demo_radio import demo_radio
from simulator.errors import InputFault
from simulator.fleet import read_fleet
from simulator.ledger import Ledger
from simulator.progress import Progress, log_plainly
from simulator.radio_command import chosen_fleet, make_fleet, new_radio_sender, radio_readings
from simulator.radio_ledger import RadioLedger
from simulator.records import read_record
from simulator.replay import planned, shifted, station_names
from simulator.scenario import readings_of, run_scenario, truth_of
from simulator.scenario_file import find_scenario, load_scenario
from simulator.send_batches import BatchOptions, BatchSender
from simulator.send_http import HttpOptions, HttpSender
from simulator.send_radio import RadioSender
from simulator.send_single import SingleOptions, SingleSender
from simulator.sending import AtOnce, ByRate, ByTheirTimes, Pace, Sender, send_all
from simulator.spans import to_us
from streamgauge import logs
from streamgauge.errors import PermanentError, StreamgaugeError
from streamgauge.reading import Reading
from streamgauge.settings import SimulatorSettings, load

DONE, INCOMPLETE, UNUSABLE, CUT_OFF, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: all arrived; something did not; bad input, settings or credentials; the other side is away; stopped by hand."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = new_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    log_plainly()
    try:
        around = look_around(os.environ)
        return _COMMANDS[options.command](options, around)
    except StreamgaugeError as error:
        _say(str(error))
        return UNUSABLE if isinstance(error, PermanentError) else CUT_OFF
    except KeyboardInterrupt:
        return DONE if options.command == "demo" else INTERRUPTED


def _replay(options: argparse.Namespace, around: Surroundings) -> int:
    names = station_names(options.device, options.stations)
    record = read_record(options.file, options.device)
    if record.empty_rows:
        _say(f"{record.empty_rows} rows hold no quantity and are left out")
    readings = shifted(record.readings, options.shift(record.readings, _this_second()))
    total = len(readings) * len(names)
    to_send = total if options.limit is None else min(total, options.limit)
    plan = planned(readings, names, options.stagger, options.limit)
    return _send(options, around, plan, to_send, readings[0].time)


def _run(options: argparse.Namespace, around: Surroundings) -> int:
    scenario = load_scenario(find_scenario(options.scenario))
    runs = run_scenario(scenario)
    shift = options.shift(readings_of(runs), _this_second())
    readings = shifted(readings_of(runs), shift)
    if options.truth_out is not None:
        truth = json.dumps(truth_of(scenario, runs, shift), indent=1, sort_keys=True) + "\n"
        try:
            options.truth_out.write_text(truth, encoding="utf-8")
        except OSError as error:
            raise InputFault("The truth cannot be written", [str(error)]) from error
    to_send = len(readings) if options.limit is None else min(len(readings), options.limit)
    return _send(options, around, readings[:to_send], to_send, readings[0].time)


def _demo(options: argparse.Namespace, around: Surroundings) -> int:
    broker = broker_of(around)
    logs.configure("simulator", load(SimulatorSettings, around.environ).log_level)
    if around.taken:
        logging.getLogger(__name__).info("Addresses taken from a file", extra={"file": str(around.urls_file)})
    batches = BatchOptions(
        gateway=options.gateway, batch_size=300, window=256, connect_wait_s=None, give_up_s=None, longest_wait_s=60.0
    )
    times = DemoTimes(
        history_us=to_us(options.history), history_step_us=to_us(options.history_step), every_us=to_us(options.every)
    )
    gateway, folder = gateway_udp_of(around, options.udp), fleet_folder_of(around, options.fleet)
    stations, fleet = stations_of(read_fleet(folder))
    demo = Demo(
        stations,
        BatchSender(broker, batches),
        lambda: RadioSender(fleet, demo_radio(gateway, folder)),
        times,
        lambda: time.time_ns() // 1_000,
    )
    with closing(demo):
        demo.run()
    return DONE


def _radio(options: argparse.Namespace, around: Surroundings) -> int:
    fleet = chosen_fleet(options, around)
    readings, total, rate = radio_readings(options, fleet)
    pace = AtOnce() if rate is None else ByRate(rate)
    return _send_with(new_radio_sender(options, around, fleet), around, readings, total, pace)


def _provision(options: argparse.Namespace, around: Surroundings) -> int:
    _say(make_fleet(options, around, options.out))
    return DONE


def _send(
    options: argparse.Namespace, around: Surroundings, readings: Iterable[Reading], to_send: int, first: datetime
) -> int:
    return _send_with(_new_sender(options, around), around, readings, to_send, _pace(options, first))


def _send_with(
    new_sender: Sender, around: Surroundings, readings: Iterable[Reading], to_send: int | None, pace: Pace
) -> int:
    if around.taken:
        _say(f"{', '.join(around.taken)}: not set, taken from {around.urls_file}")
    with closing(new_sender) as sender:
        sender.ledger.to_send = to_send
        try:
            with Progress(sender.ledger):
                send_all(readings, sender, pace)
        finally:
            print(json.dumps(sender.ledger.as_dict()), flush=True)
        return _verdict(sender.ledger)


def _new_sender(options: argparse.Namespace, around: Surroundings) -> Sender:
    patience_s: float | None = options.give_up.total_seconds() or None
    if options.way == "http":
        url, token = http_url_of(around, options.url), token_of(around, options.token_file)
        return HttpSender(HttpOptions(url=url, token=token, batch_size=options.batch_size, give_up_s=patience_s))
    if options.way == "lorawan":
        return new_radio_sender(options, around)
    broker = broker_of(around)
    if options.way == "single":
        return SingleSender(broker, SingleOptions(give_up_s=patience_s))
    batches = BatchOptions(
        gateway=options.gateway, batch_size=options.batch_size, window=options.window, give_up_s=patience_s
    )
    return BatchSender(broker, batches)


def _pace(options: argparse.Namespace, first: datetime) -> Pace:
    if options.speed is not None:
        return ByTheirTimes(first, options.speed)
    return ByRate(options.rate) if options.rate else AtOnce()


def _verdict(ledger: Ledger) -> int:
    if ledger.complete():
        return DONE
    if ledger.dead:
        _say(f"{ledger.dead} readings were refused; the system keeps them with their reasons (dead letters)")
    if isinstance(ledger, RadioLedger) and ledger.given_up:
        _say(f"{ledger.given_up} frames were heard, but the gateway never acknowledged them")
    if ledger.unanswered:
        _say(f"{ledger.unanswered} readings are without an answer")
    return INCOMPLETE


_COMMANDS: dict[str, Callable[[argparse.Namespace, Surroundings], int]] = {
    "replay": _replay,
    "run": _run,
    "demo": _demo,
    "radio": _radio,
    "provision": _provision,
}


def _this_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
