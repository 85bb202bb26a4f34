"""Water that moves: tides, runoff after rain, a tank under pumps. Every kind is a pure function of time.

All times are arrays of microseconds since 1970-01-01T00:00:00Z.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from simulator.chance import FloatArray, IntArray, exponential, seed_of, uniform

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US

_UNIX_EPOCH_JULIAN_DAY = 2_440_587.5
_J2000_JULIAN_DAY = 2_451_545.0
_DAYS_PER_CENTURY = 36_525.0


class Water(Protocol):
    """What can be measured of the water at a place."""

    def measure(self, time_us: IntArray, interval_us: int) -> Mapping[str, FloatArray]:
        """The truth at these times under wire names, always with ``level_m``; sums (rain) cover the interval that
        ends at each time.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Constituent:
    """One harmonic constituent of the tide.

    Its argument is a sum of the mean sun's hour angle T, the moon's mean longitude s and the sun's mean longitude h
    (P. Schureman: Manual of Harmonic Analysis and Prediction of Tides, U.S. Coast and Geodetic Survey, Special
    Publication 98, 1958, table 2).
    """

    speed_deg_per_h: float
    times_hour_angle: int
    times_moon: int
    times_sun: int
    constant_deg: float


CONSTITUENTS: Mapping[str, Constituent] = {
    "M2": Constituent(speed_deg_per_h=28.984_104_2, times_hour_angle=2, times_moon=-2, times_sun=2, constant_deg=0.0),
    "S2": Constituent(speed_deg_per_h=30.0, times_hour_angle=2, times_moon=0, times_sun=0, constant_deg=0.0),
    "K1": Constituent(speed_deg_per_h=15.041_068_6, times_hour_angle=1, times_moon=0, times_sun=1, constant_deg=-90.0),
    "O1": Constituent(speed_deg_per_h=13.943_035_6, times_hour_angle=1, times_moon=-2, times_sun=1, constant_deg=90.0),
}
"""The four largest constituents; speeds as NOAA's Center for Operational Oceanographic Products and Services
publishes them.
"""


def equilibrium_argument_deg(constituent: Constituent, time_us: IntArray) -> FloatArray:
    """The constituent's argument at Greenwich, in degrees (not reduced to 0…360).

    Mean longitudes from J. Meeus: Astronomical Algorithms, 2nd edition, 1998, chapters 25 and 47, without their
    quadratic terms. The 18.6-year nodal correction is left out: amplitudes are true within 4 % for M2 and 19 % for
    O1, which is enough for a simulator.
    """
    days = time_us / DAY_US
    century = (days + (_UNIX_EPOCH_JULIAN_DAY - _J2000_JULIAN_DAY)) / _DAYS_PER_CENTURY
    hour_angle = 360.0 * days + 180.0
    moon = 218.316_447_7 + 481_267.881_234_21 * century
    sun = 280.466_46 + 36_000.769_83 * century
    total = constituent.times_hour_angle * hour_angle + constituent.times_moon * moon + constituent.times_sun * sun
    return np.asarray(total + constituent.constant_deg, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class TideTerm:
    """How strongly (m), and how late behind Greenwich (degrees), a place follows one constituent."""

    name: str
    amplitude_m: float
    lag_deg: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tide:
    """A harbour: the sum of its constituents, and a seiche (the basin's own swing) where it has one."""

    mean_m: float
    terms: tuple[TideTerm, ...]
    seiche_amplitude_m: float = 0.0
    seiche_period_s: float = 600.0

    def measure(self, time_us: IntArray, interval_us: int) -> Mapping[str, FloatArray]:
        """The level in metres."""
        del interval_us
        level = np.full(time_us.shape, self.mean_m)
        for term in self.terms:
            argument = equilibrium_argument_deg(CONSTITUENTS[term.name], time_us) - term.lag_deg
            level += term.amplitude_m * np.cos(np.deg2rad(argument % 360.0))
        if self.seiche_amplitude_m:
            level += self.seiche_amplitude_m * np.sin(2.0 * np.pi * _phase(time_us, self.seiche_period_s))
        return {"level_m": level}


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpedTank:
    """A tank that a pump fills evenly to the upper switch and that users drain evenly to the lower one."""

    low_m: float
    high_m: float
    fill_s: float
    drain_s: float

    def measure(self, time_us: IntArray, interval_us: int) -> Mapping[str, FloatArray]:
        """The level in metres."""
        del interval_us
        period_s = self.fill_s + self.drain_s
        phase_s = _phase(time_us, period_s) * period_s
        fullness = np.where(phase_s < self.fill_s, phase_s / self.fill_s, (period_s - phase_s) / self.drain_s)
        return {"level_m": self.low_m + (self.high_m - self.low_m) * fullness}


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """Rain of even intensity over the whole catchment."""

    start_us: int
    duration_us: int
    rain_mm: float


class Rain(Protocol):
    """Where storms come from."""

    def storms(self, start_us: int, end_us: int) -> Sequence[Storm]:
        """Every storm that begins in the half-open interval."""


@dataclass(frozen=True, slots=True)
class ListedRain:
    """Storms that are written down."""

    listed: tuple[Storm, ...]

    def storms(self, start_us: int, end_us: int) -> Sequence[Storm]:
        """Every storm that begins in the half-open interval."""
        return [storm for storm in self.listed if start_us <= storm.start_us < end_us]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededRain:
    """Storms from a seed: one in each slot of time, at a random moment in it, of random depth and length (both
    exponential).
    """

    seed: int
    slot_us: int
    mean_rain_mm: float
    mean_duration_us: int

    def storms(self, start_us: int, end_us: int) -> Sequence[Storm]:
        """Every storm that begins in the half-open interval."""
        slots = np.arange(start_us // self.slot_us, -(-end_us // self.slot_us), dtype=np.int64)
        begin = slots * self.slot_us + (uniform(seed_of(self.seed, "start"), slots) * self.slot_us).astype(np.int64)
        rain = exponential(seed_of(self.seed, "rain"), slots, self.mean_rain_mm)
        # Rain shorter than a tenth of the mean would be a burst that no cloud holds.
        length = self.mean_duration_us * (0.1 + 0.9 * exponential(seed_of(self.seed, "length"), slots, 1.0))
        found = zip(begin.tolist(), length.astype(np.int64).tolist(), rain.tolist(), strict=True)
        return [Storm(start_us=b, duration_us=d, rain_mm=r) for b, d, r in found if start_us <= b < end_us]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catchment:
    """How a stream answers to rain.

    Effective rain (coefficient times depth) passes through ``reservoirs`` equal linear reservoirs of storage constant
    ``storage_s`` (J. E. Nash: The form of the instantaneous unit hydrograph, IASH Publication 45, 1957). Flow becomes
    level through the rating Q = rating_a · (level - zero_flow_m) ** rating_b (ISO 18320:2020, the power-law form).
    """

    area_km2: float
    runoff_coefficient: float
    reservoirs: int
    storage_s: float
    baseflow_m3_s: float
    rating_a: float
    rating_b: float
    zero_flow_m: float

    def stage_m(self, flow_m3_s: FloatArray) -> FloatArray:
        """The level in metres at which the rating gives this flow."""
        return np.asarray(self.zero_flow_m + (flow_m3_s / self.rating_a) ** (1.0 / self.rating_b), dtype=np.float64)

    def memory_us(self) -> int:
        """After so long a storm has left the stream (less than a millionth of its water is still on the way)."""
        return int((20.0 + 3.0 * self.reservoirs) * self.storage_s * SECOND_US)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runoff:
    """A stream: base flow, and what each storm sends down. Exact at any moment, as each storm's answer is known in
    closed form.
    """

    catchment: Catchment
    rain: Rain
    longest_storm_us: int = DAY_US

    def measure(self, time_us: IntArray, interval_us: int) -> Mapping[str, FloatArray]:
        """Level in metres, flow in m³/s, rain in mm since the reading before."""
        flow = np.full(time_us.shape, self.catchment.baseflow_m3_s)
        rain = np.zeros(time_us.shape)
        if time_us.size:
            memory_us = self.catchment.memory_us() + self.longest_storm_us + interval_us
            for storm in self.rain.storms(int(time_us.min()) - memory_us, int(time_us.max()) + 1):
                flow += _storm_flow_m3_s(self.catchment, storm, time_us)
                rain += _rain_mm(storm, time_us, interval_us)
        return {"level_m": self.catchment.stage_m(flow), "flow_m3_s": flow, "rainfall_mm": rain}


def _storm_flow_m3_s(catchment: Catchment, storm: Storm, time_us: IntArray) -> FloatArray:
    # Even rain over a duration is the difference of two S-curves (V. T. Chow, D. R. Maidment, L. W. Mays: Applied
    # Hydrology, 1988, chapter 7).
    volume_m3 = catchment.runoff_coefficient * storm.rain_mm * 1e-3 * catchment.area_km2 * 1e6
    inflow_m3_s = volume_m3 / (storm.duration_us / SECOND_US)
    since_start_s = (time_us - storm.start_us) / SECOND_US
    since_end_s = since_start_s - storm.duration_us / SECOND_US
    return inflow_m3_s * (_s_curve(catchment, since_start_s) - _s_curve(catchment, since_end_s))


def _s_curve(catchment: Catchment, elapsed_s: FloatArray) -> FloatArray:
    """Share of an everlasting, even inflow that has come out after this time: the gamma distribution of whole shape."""
    x = np.maximum(elapsed_s, 0.0) / catchment.storage_s
    term = np.exp(-x)
    still_stored = term.copy()
    for order in range(1, catchment.reservoirs):
        term = term * x / order
        still_stored += term
    return np.asarray(1.0 - still_stored, dtype=np.float64)


def _rain_mm(storm: Storm, time_us: IntArray, interval_us: int) -> FloatArray:
    begin = np.maximum(time_us - interval_us, storm.start_us)
    end = np.minimum(time_us, storm.start_us + storm.duration_us)
    return np.asarray(storm.rain_mm * np.maximum(end - begin, 0) / storm.duration_us, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class LoopedRecord:
    """A recorded stretch of water that begins anew when it ends, linear between its readings.

    Args:
        record_us: ascending times of the record; the first and the last level should be alike, so that the seam does
        not show. record_m: levels in metres.
    """

    record_us: IntArray
    record_m: FloatArray

    def measure(self, time_us: IntArray, interval_us: int) -> Mapping[str, FloatArray]:
        """The level in metres."""
        del interval_us
        first = int(self.record_us[0])
        within = (time_us - first) % (int(self.record_us[-1]) - first)
        return {"level_m": np.interp(within, self.record_us - first, self.record_m)}


def _phase(time_us: IntArray, period_s: float) -> FloatArray:
    """How far (0…1) a swing of this period has come."""
    period_us = int(period_s * SECOND_US)
    return np.asarray((time_us % period_us) / period_us, dtype=np.float64)
