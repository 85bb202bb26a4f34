"""Scenario files: TOML, validated completely; every mistake is named with its place before anything is sent."""

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from simulator.chance import seed_of
from simulator.errors import InputFault
from simulator.scenario import FLOOD, Expectation, Scenario, Station
from simulator.sensor import SIZE_UNIT, Fault, FaultKind, Sensor
from simulator.site import (
    CONSTITUENTS,
    Catchment,
    ListedRain,
    PumpedTank,
    Rain,
    Runoff,
    SeededRain,
    Storm,
    Tide,
    TideTerm,
    Water,
)
from simulator.spans import parse_duration, to_us
from streamgauge.reading import DEVICE_NAME, to_microseconds

SHIPPED = Path(__file__).parent / "scenarios"
_MOST_READINGS = 2_000_000
_ZERO = timedelta()


def find_scenario(name: str) -> Path:
    """The file that is meant: a path, or the name of a scenario that is shipped.

    Raises:
        InputFault: there is none; the shipped ones are named.
    """
    shipped = SHIPPED / f"{name}.toml"
    if re.fullmatch(r"[a-z0-9-]+", name) and shipped.is_file():
        return shipped
    if Path(name).is_file():
        return Path(name)
    names = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.toml")))
    raise InputFault("The scenario cannot be found", [f"{name!r} is neither a file nor one of {names}"])


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        InputFault: naming every mistake.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputFault(f"The scenario {path} cannot be read", [str(error)]) from error
    problems: list[str] = []
    scenario = _scenario(path.stem, _Table("", tree, problems))
    if problems:
        raise InputFault(f"The scenario {path} cannot be used", problems)
    return scenario


class _Table:
    """One TOML table: values are taken out of it, mistakes are written down, what is left over is a mistake too."""

    def __init__(self, where: str, content: Mapping[str, Any], problems: list[str]) -> None:
        self._where = where
        self._left = dict(content)
        self._problems = problems

    def wrong(self, key: str, sentence: str) -> None:
        self._problems.append(f"{self._where}{key}: {sentence}")

    def number(
        self, key: str, default: float | None = None, *, low: float = -math.inf, high: float = math.inf
    ) -> float:
        value = self._left.pop(key, default)
        if value is None:
            self.wrong(key, "is missing")
        elif type(value) not in {int, float} or not math.isfinite(value) or not low <= value <= high:
            self.wrong(key, f"must be a number from {low:g} to {high:g}, not {value!r}")
        else:
            return float(value)
        return 1.0

    def whole(self, key: str, default: int | None = None, *, low: int, high: int) -> int:
        value = self._left.get(key, default)
        if value is not None and type(value) is not int:
            self._left.pop(key)
            self.wrong(key, f"must be a whole number from {low} to {high}, not {value!r}")
            return low
        number = self.number(key, default, low=low, high=high)
        return int(number)

    def duration(self, key: str, default: str | None = None, *, above: timedelta | None = _ZERO) -> timedelta:
        value = self._left.pop(key, default)
        if value is None:
            self.wrong(key, "is missing")
            return timedelta(hours=1)
        try:
            span = parse_duration(value if isinstance(value, str) else repr(value))
        except ValueError as error:
            self.wrong(key, str(error))
            return timedelta(hours=1)
        if above is not None and span <= above:
            self.wrong(key, f"must be longer than {above}")
        return span

    def moment(self, key: str) -> datetime:
        value = self._left.pop(key, None)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        self.wrong(key, f"must be a time with an offset (2026-01-01T00:00:00Z), not {value!r}")
        return datetime(2026, 1, 1, tzinfo=UTC)

    def text(self, key: str, fits: Callable[[str], object], rule: str, default: str | None = None) -> str:
        value = self._left.pop(key, default)
        if isinstance(value, str) and fits(value):
            return value
        self.wrong(key, f"must be {rule}, not {value!r}" if value is not None else f"is missing ({rule})")
        return "?"

    def table(self, key: str, *, required: bool = False) -> "_Table":
        value = self._left.pop(key, None if required else {})
        if not isinstance(value, dict):
            self.wrong(key, "is missing" if value is None else "must be a table")
            return _Table(f"{self._where}{key}.", {}, [])
        return _Table(f"{self._where}{key}.", value, self._problems)

    def tables(self, key: str, *, required: bool = False) -> list["_Table"]:
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.wrong(key, f"must be written as [[{key}]] tables")
            return []
        if required and not value:
            self.wrong(key, f"at least one [[{key}]] must be there")
        return [_Table(f"{self._where}{key}[{n}].", item, self._problems) for n, item in enumerate(value, 1)]

    def has(self, key: str) -> bool:
        return key in self._left

    def end(self) -> None:
        for key in self._left:
            self.wrong(key, "is not known here")


def _scenario(name: str, table: _Table) -> Scenario:
    seed = table.whole("seed", low=0, high=2**31 - 1)
    start, duration, step = table.moment("start"), table.duration("duration"), table.duration("step")
    title = table.text("title", bool, "a sentence")
    stations = tuple(_station(item, seed, start, step) for item in table.tables("station", required=True))
    names = [station.name for station in stations]
    for repeated in sorted({name for name in names if names.count(name) > 1}):
        table.wrong("station", f"the name {repeated!r} is there twice")
    if step > _ZERO and duration / step * max(len(stations), 1) > _MOST_READINGS:
        table.wrong("step", f"more than {_MOST_READINGS} readings; shorten the duration or lengthen the step")
    expectations = tuple(_expectation(item, set(names), start, step) for item in table.tables("expect"))
    table.end()
    return Scenario(
        name=name, title=title, seed=seed, start=start, duration=duration, step_us=to_us(step),
        stations=stations, expectations=expectations,
    )  # fmt: skip


def _station(table: _Table, seed: int, start: datetime, step: timedelta) -> Station:
    name = table.text("name", DEVICE_NAME.fullmatch, "1 to 64 of A-Z a-z 0-9 . _ : -")
    own_seed = seed_of(seed, name)
    kind = table.text("water", _WATERS.__contains__, f"one of {', '.join(_WATERS)}")
    still: Water = Tide(mean_m=0.0, terms=())
    water = _WATERS[kind](table.table(kind, required=True), own_seed, start) if kind in _WATERS else still
    sensor_table = table.table("sensor")
    sensor = Sensor(
        seed=own_seed,
        noise_m=sensor_table.number("noise_m", 0.001, low=0, high=10),
        resolution_m=sensor_table.number("resolution_m", 0.001, low=0, high=1),
        drift_m_per_day=sensor_table.number("drift_m_per_day", 0.0, low=-10, high=10),
        installed_us=to_microseconds(start),
    )
    sensor_table.end()
    faults = tuple(_fault(item, start, step) for item in table.tables("fault"))
    table.end()
    return Station(name=name, water=water, sensor=sensor, faults=faults)


def _fault(table: _Table, start: datetime, step: timedelta) -> Fault:
    kinds = [str(kind) for kind in FaultKind]
    text = table.text("kind", kinds.__contains__, f"one of {', '.join(kinds)}")
    kind = FaultKind(text) if text in kinds else FaultKind.DROPOUT
    start_us, end_us = _interval(table, text, start, step)
    unit = SIZE_UNIT.get(kind)
    size = 0.0 if unit is None else table.number(unit, low=-1e6, high=1e6)
    table.end()
    return Fault(kind=kind, start_us=start_us, end_us=end_us, size=size)


def _expectation(table: _Table, stations: set[str], start: datetime, step: timedelta) -> Expectation:
    kinds = [str(kind) for kind in FaultKind] + [FLOOD]
    station = table.text("station", stations.__contains__, "the name of a station of this scenario")
    kind = table.text("kind", kinds.__contains__, f"one of {', '.join(kinds)}")
    start_us, end_us = _interval(table, kind, start, step)
    peak_m = table.number("peak_m", low=-1e3, high=1e4) if kind == FLOOD else None
    table.end()
    return Expectation(station=station, kind=kind, start_us=start_us, end_us=end_us, peak_m=peak_m)


def _interval(table: _Table, kind: str, start: datetime, step: timedelta) -> tuple[int, int]:
    """A spike has ``at`` and lasts one step, everything else has ``from`` and ``to``; all count from the scenario's
    start.
    """
    if kind == FaultKind.SPIKE:
        begin = table.duration("at", above=None)
        end = begin + step
    else:
        begin, end = table.duration("from", above=None), table.duration("to", above=None)
        if end <= begin:
            table.wrong("to", "must lie after from")
    if begin < _ZERO:
        table.wrong("at" if kind == FaultKind.SPIKE else "from", "must not lie before the scenario's start")
    return to_microseconds(start) + to_us(begin), to_microseconds(start) + to_us(end)


def _tide(table: _Table, _seed: int, _start: datetime) -> Water:
    terms = []
    for name in CONSTITUENTS:
        if table.has(name):
            part = table.table(name)
            amplitude_m = part.number("amplitude_m", low=0, high=20)
            lag_deg = part.number("lag_deg", 0.0, low=-360, high=360)
            terms.append(TideTerm(name=name, amplitude_m=amplitude_m, lag_deg=lag_deg))
            part.end()
    tide = Tide(
        mean_m=table.number("mean_m", low=-100, high=10_000),
        terms=tuple(terms),
        seiche_amplitude_m=table.number("seiche_amplitude_m", 0.0, low=0, high=5),
        seiche_period_s=table.number("seiche_period_s", 600.0, low=1, high=86_400),
    )
    if not terms:
        table.wrong("", f"at least one of the constituents {', '.join(CONSTITUENTS)} must be there")
    table.end()
    return tide


def _tank(table: _Table, _seed: int, _start: datetime) -> Water:
    tank = PumpedTank(
        low_m=table.number("low_m", low=-100, high=10_000),
        high_m=table.number("high_m", low=-100, high=10_000),
        fill_s=table.number("fill_s", low=1, high=1e7),
        drain_s=table.number("drain_s", low=1, high=1e7),
    )
    if tank.high_m < tank.low_m:
        table.wrong("high_m", "must not lie below low_m")
    table.end()
    return tank


def _runoff(table: _Table, seed: int, start: datetime) -> Water:
    catchment = Catchment(
        area_km2=table.number("area_km2", low=1e-4, high=1e6),
        runoff_coefficient=table.number("runoff_coefficient", 0.5, low=0, high=1),
        reservoirs=table.whole("reservoirs", 2, low=1, high=20),
        storage_s=table.number("storage_s", low=1, high=1e7),
        baseflow_m3_s=table.number("baseflow_m3_s", low=0, high=1e6),
        rating_a=table.number("rating_a", low=1e-6, high=1e6),
        rating_b=table.number("rating_b", 1.6, low=0.5, high=5),
        zero_flow_m=table.number("zero_flow_m", 0.0, low=-100, high=10_000),
    )
    listed = tuple(_storm(item, start) for item in table.tables("storm"))
    rain = _seeded_rain(table.table("rain"), seed) if table.has("rain") else None
    if rain is None and not listed:
        table.wrong("storm", "without rain nothing moves: [[storm]] tables or a [rain] table must be there")
    if rain is not None and listed:
        table.wrong("storm", "either [[storm]] tables or a [rain] table, not both")
    table.end()
    return Runoff(catchment=catchment, rain=rain or ListedRain(listed))


def _storm(table: _Table, start: datetime) -> Storm:
    storm = Storm(
        start_us=to_microseconds(start) + to_us(table.duration("at", above=None)),
        duration_us=to_us(table.duration("duration")),
        rain_mm=table.number("rain_mm", low=0, high=2_000),
    )
    table.end()
    return storm


def _seeded_rain(table: _Table, seed: int) -> Rain:
    rain = SeededRain(
        seed=seed,
        slot_us=to_us(table.duration("one_storm_every")),
        mean_rain_mm=table.number("mean_rain_mm", low=0, high=500),
        mean_duration_us=to_us(table.duration("mean_duration")),
    )
    table.end()
    return rain


_WATERS: Mapping[str, Callable[[_Table, int, datetime], Water]] = {"tide": _tide, "runoff": _runoff, "tank": _tank}
