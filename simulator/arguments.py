"""The command line's arguments; a bad one is refused with a sentence before anything is read or sent."""

import argparse
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from simulator.replay import parse_shift
from simulator.spans import parse_duration
from streamgauge.reading import DEVICE_NAME

T = TypeVar("T")

_MOST_STATIONS = 100_000
_MOST_IN_A_BATCH = 20_000
_MOST_SENSORS = 20_000

EXIT_CODES = """exit codes: 0 everything arrived; 1 something was refused or stayed without an answer; 2 bad input, settings
or credentials; 3 the other side is not there or fell silent; 130 interrupted"""


def new_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description="Water without hardware.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_replay(commands.add_parser("replay", help="send a recorded file", epilog=EXIT_CODES))
    _add_run(commands.add_parser("run", help="send the water of a scenario", epilog=EXIT_CODES))
    _add_demo(commands.add_parser("demo", help="send a history, then lively water for ever"))
    _add_radio(commands.add_parser("radio", help="a fleet of LoRaWAN sensors and their forwarders", epilog=EXIT_CODES))
    _add_provision(commands.add_parser("provision", help="make a fleet's keys and the gateway's configuration"))
    return parser


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="CSV, plain or gzip: a column time, and columns named as on the wire")
    parser.add_argument("--device", required=True, type=_device, help="the name under which the readings are sent")
    parser.add_argument("--stations", type=_whole(1, _MOST_STATIONS), default=1, help="send as N stations, NAME-001, …")
    parser.add_argument(
        "--stagger", type=_span(timedelta()), default=timedelta(), help="each station so much later than the one before"
    )
    _add_sending(parser)
    _add_air(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", help="a TOML file, or the name of a shipped scenario (calm-tide, flash-flood, …)")
    parser.add_argument("--truth-out", type=Path, help="write what is to be found, as JSON")
    _add_sending(parser)
    _add_air(parser)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gateway", type=_device, default="simulator", help="the gateway's name (default: %(default)s)"
    )
    parser.add_argument(
        "--history", type=_span(timedelta()), default=timedelta(hours=36), help="how much is sent first"
    )
    parser.add_argument(
        "--history-step", type=_span(timedelta(seconds=1)), default=timedelta(minutes=5), help="how far apart it is"
    )
    parser.add_argument(
        "--every", type=_span(timedelta(milliseconds=100)), default=timedelta(seconds=2), help="a live reading so often"
    )
    _add_radio_place(parser)


def _add_sending(parser: argparse.ArgumentParser) -> None:
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--rate",
        type=_rate,
        default=0.0,
        help="readings per second, all stations together; max or 0: no limit (default)",
    )
    pace.add_argument("--speed", type=_positive, help="so many times as fast as they were measured")
    parser.add_argument(
        "--shift", type=_refusing(parse_shift), default="none",
        help="none | now (the latest falls now) | start-now | a duration (3d; --shift=-3d) | a moment for the first",
    )  # fmt: skip
    parser.add_argument(
        "--as", dest="way", choices=("batches", "single", "http", "lorawan"), default="batches",
        help="default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=_whole(1, _MOST_IN_A_BATCH), default=50, help="default: %(default)s")
    parser.add_argument("--window", type=_whole(1, 10_000), default=64, help="most unanswered batches (%(default)s)")
    parser.add_argument(
        "--gateway", type=_device, default="simulator", help="the gateway's name (default: %(default)s)"
    )
    parser.add_argument("--limit", type=_whole(1, 10**12), help="send only so many readings")
    parser.add_argument("--url", help="for http: the server (default: STREAMGAUGE_HTTP_URL)")
    parser.add_argument("--token-file", type=Path, help="for http: holds the token (default: STREAMGAUGE_API_TOKEN)")
    _add_give_up(parser)


def _add_radio(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", help="a scenario's or a recorded file's levels; without: gentle swings")
    parser.add_argument("--devices", type=_whole(1, _MOST_SENSORS), help="so many sensors of the fleet (default: all)")
    parser.add_argument(
        "--every", type=_span(timedelta(milliseconds=1)), default=timedelta(minutes=1),
        help="each sensor sends so often (default: 1m)",
    )  # fmt: skip
    parser.add_argument("--rate", type=_rate, help="instead: frames per second of the whole fleet; max: no limit")
    parser.add_argument("--duration", type=_span(timedelta(seconds=1)), help="for so long (default: until interrupted)")
    parser.add_argument("--limit", type=_whole(1, 10**12), help="only so many frames")
    parser.add_argument("--truth-out", dest="frames_out", type=Path, help="write each frame's fate, as JSON lines")
    parser.add_argument("--provision-out", type=Path, help="make --devices sensors in this folder first, and use them")
    _add_making(parser)
    _add_radio_place(parser)
    _add_quality(parser)
    _add_give_up(parser)


def _add_provision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder of gateway.toml and fleet.json")
    parser.add_argument("--demo", action="store_true", help="the sensors of the demo; all but --out is ignored")
    parser.add_argument("--devices", type=_whole(1, _MOST_SENSORS), default=1, help="how many (default: %(default)s)")
    _add_making(parser)


def _add_making(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sensors that are made")
    group.add_argument("--model", action="append", help="codec's name; several take turns (default: decentlab_dl_mbx)")
    group.add_argument("--name", type=_device, default="sensor", help="NAME, or NAME-001 … (default: %(default)s)")
    group.add_argument("--param", type=_assignment, action="append", default=[], help="NAME=VALUE of the codec")
    group.add_argument(
        "--installation", type=_assignment, action="append", default=[], help="NAME=VALUE, such as sensor_height_m=6"
    )
    group.add_argument("--activation", choices=("otaa", "abp"), default="otaa", help="default: %(default)s")
    group.add_argument("--forwarders", type=_whole(1, 16), default=2, help="how many hear them (default: %(default)s)")


def _add_air(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames-out", type=Path, help="for lorawan: write each frame's fate, as JSON lines")
    _add_radio_place(parser)
    _add_quality(parser)


def _add_radio_place(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("LoRaWAN")
    group.add_argument("--udp", metavar="HOST:PORT", help="the gateway (default: STREAMGAUGE_GATEWAY_UDP)")
    group.add_argument("--fleet", type=Path, help="folder of fleet.json (default: .streamgauge/gateway)")


def _add_quality(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how good the radio is")
    for name, what in (
        ("loss", "a forwarder does not hear a frame, or a sensor an answer"),
        ("repeat", "a forwarder reports a frame twice"),
        ("reorder", "a frame is overtaken by later ones"),
        ("udp-loss", "a datagram between forwarder and gateway is lost"),
    ):
        group.add_argument(f"--{name}", type=_chance, default=0.0, help=f"chance that {what}")
    group.add_argument(
        "--delay", type=_span(timedelta()), default=timedelta(), help="frames reach forwarders at random within this"
    )
    group.add_argument("--seed", type=_whole(0, 2**31 - 1), default=1, help="of all chance (default: %(default)s)")
    group.add_argument("--no-repeat", action="store_true", help="forwarders send each datagram once, as plain ones do")
    group.add_argument(
        "--repeat-after", type=_span(timedelta()), default=timedelta(seconds=1),
        help="a forwarder waits so long for an answer, then ever longer up to four times that (default: 1s)",
    )  # fmt: skip
    group.add_argument(
        "--no-gps", action="store_true", help="forwarders do not know the time; the gateway's clock decides"
    )
    group.add_argument(
        "--confirm-every", type=_whole(0, 10**6), default=0, help="every so many frames one asks for an answer"
    )
    group.add_argument(
        "--quick-joins", action="store_true", help="answers need no receive window: no five seconds' wait"
    )
    group.add_argument("--joins-per-second", type=_positive, default=200.0, help="sensors switched on (%(default)g)")
    group.add_argument(
        "--unanswered", type=_whole(1, 10**6), default=4_000, help="most frames on their way (%(default)s)"
    )
    group.add_argument(
        "--unanswered-each", type=_whole(0, 10**6), default=24,
        help="a sensor gets so far ahead of its oldest unanswered frame, and no further; 0: no bound (%(default)s)",
    )  # fmt: skip


def _add_give_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--give-up", type=_span(timedelta()), default=timedelta(minutes=2),
        help="end after so long without any answer; 0s never (default: 2m)",
    )  # fmt: skip


def _device(text: str) -> str:
    if not DEVICE_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} must be 1 to 64 of A-Z a-z 0-9 . _ : -")
    return text


def _rate(text: str) -> float:
    return 0.0 if text in {"max", "0"} else _positive(text)


def _chance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a chance from 0 to less than 1")
    return value


def _assignment(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (name and equals and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=NUMBER")
    return name, value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return value


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _span(shortest: timedelta) -> Callable[[str], timedelta]:
    def parse(text: str) -> timedelta:
        span = _refusing(parse_duration)(text)
        if span < shortest:
            raise argparse.ArgumentTypeError(f"{text!r} must not be shorter than {shortest.total_seconds():g} s")
        return span

    return parse


def _refusing(parse: Callable[[str], T]) -> Callable[[str], T]:
    def refuse(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return refuse
