"""What a station's own history says of it, whichever model judges it: limits of its checks, and how its sensors go together.

Like a calibration it holds from one time on and is never changed afterwards (``tasks.learn`` makes it). A reading is judged with
what was valid at its time, so that re-scoring finds what was used when it came. What an operator sets for a station goes before
what was learnt, and that before the defaults.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamgauge.quality.parameters import StationParameters, parameters_per_row
from streamgauge.quality.series import IntArray
from streamgauge.quality.station import usable_settings
from streamgauge.scoring.multisensor import MultisensorProfile

TOGETHER = ({"attenuated_s", "attenuated_range_m"}, {"flat_restless_share", "flat_moving_share"})
"""Limits that mean something only beside each other: where an operator sets one, none of them is taken from what was learnt."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What was learnt at one time.

    Attributes:
        quality: limits of the checks, as ``quality.learn.learn_parameters`` gives them; empty for none.
        profile: what is ordinary for the device's sensors together; ``None`` for a device with one sensor.
    """

    quality: Mapping[str, Any] = field(default_factory=dict)
    profile: MultisensorProfile | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it; ``read_learnt_body`` reads the same again."""
        return {"quality": dict(self.quality), "multisensor": self.profile and self.profile.to_json()}


def read_learnt_body(body: object) -> tuple[Learnt, dict[str, str]]:
    """Read what was stored; a part that cannot be used is left out.

    Returns:
        What can be used, and per part that cannot what is wrong with it.
    """
    if not isinstance(body, Mapping):
        return Learnt(), {"body": "what was learnt must be a JSON object"}
    quality, problems = usable_settings(body.get("quality"))
    profile = None
    if body.get("multisensor") is not None:
        try:
            profile = MultisensorProfile.from_json(body["multisensor"])
        except ValueError as error:
            problems["multisensor"] = str(error)
    return Learnt(quality.parameters, profile), problems


Valid = tuple[int, Learnt]
"""Since when (microseconds since 1970), and what."""

_LAST_US = 2**63 - 1


class LearntByTime:
    """What was valid when, by station.

    Args:
        rows: station, since when (microseconds since 1970), and what was learnt; in any order.
    """

    def __init__(self, rows: Iterable[tuple[int, int, Learnt]] = ()) -> None:
        found: dict[int, list[Valid]] = {}
        for station, since_us, learnt in rows:
            found.setdefault(station, []).append((since_us, learnt))
        self._by_station = {station: sorted(valid, key=_since) for station, valid in found.items()}
        self.with_sensors = frozenset(
            station for station, valid in self._by_station.items() if any(learnt.profile for _, learnt in valid)
        )
        """The stations that have a profile of their sensors at some time."""

    def at(self, station: int, time_us: int) -> Learnt:
        """What is valid for a station at a time."""
        valid = self._by_station.get(station, [])
        place = bisect_right(valid, time_us, key=_since)
        return valid[place - 1][1] if place else NOTHING

    def periods(self, station: int) -> Iterator[tuple[int, int, Learnt]]:
        """From when, until when (excluded), what; where nothing is valid there is no period."""
        valid = self._by_station.get(station, [])
        ends = [since_us for since_us, _ in valid[1:]] + [_LAST_US]
        for (since_us, learnt), until_us in zip(valid, ends[: len(valid)], strict=True):
            yield since_us, until_us, learnt

    def parameters(
        self, station: IntArray, time_us: IntArray, chosen: Mapping[int, Mapping[str, Any]]
    ) -> StationParameters:
        """The limits of every row.

        Args:
            station: the station of each row, int64[n].
            time_us: microseconds since 1970, int64[n].
            chosen: per station what an operator has set; it goes before what was learnt.

        Raises:
            ValueError: what an operator has set cannot be used.
        """
        present = [number for number in self._by_station if any(one.quality for _, one in self._by_station[number])]
        if not present:
            return parameters_per_row(station, chosen)
        # Each station's time up to what was learnt first, and from each of that on, counts as a station of its own.
        part = station.copy()
        settings: dict[int, Mapping[str, Any]] = dict(chosen)
        free = int(max(station.max(initial=0), *present, *chosen, 0)) + 1
        for number in present:
            for since_us, until_us, learnt in self.periods(number):
                if learnt.quality:
                    part[(station == number) & (time_us >= since_us) & (time_us < until_us)] = free
                    settings[free] = merged(learnt.quality, chosen.get(number, {}))
                    free += 1
        return parameters_per_row(part, settings)


def merged(learnt: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What was learnt, with what an operator has set in its place."""
    replaced = {name for names in TOGETHER if names & chosen.keys() for name in names}
    return {name: value for name, value in learnt.items() if name not in replaced} | dict(chosen)


def _since(valid: Valid) -> int:
    return valid[0]


NOTHING = Learnt()
NOTHING_LEARNT = LearntByTime()
"""For stations of which nothing has been learnt."""
