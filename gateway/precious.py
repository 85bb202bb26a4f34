"""Which readings go last when the buffer is full: those that somebody will ask for first after the outage."""

from collections.abc import Sequence

from gateway.alarms.alarms import Alarms
from gateway.configuration import Rule
from streamgauge.reading import Reading


class Precious:
    """A reading is precious if it passes a level that a rule names, or if its device has an open alarm.

    It is asked before the reading is kept, so it rests on what costs nothing; scores and rises are known only afterwards.
    """

    def __init__(self, rules: Sequence[Rule], alarms: Alarms) -> None:
        self._lowest_m: dict[str, float] = {}
        for rule in rules:
            if rule.level_above_m is not None:
                present = self._lowest_m.get(rule.device, rule.level_above_m)
                self._lowest_m[rule.device] = min(present, rule.level_above_m)
        self._alarms = alarms
        self._revision = -1
        self._alarmed: frozenset[str] = frozenset()

    def __call__(self, reading: Reading) -> bool:
        """Whether it is."""
        if self._revision != self._alarms.revision:
            self._revision = self._alarms.revision
            self._alarmed = frozenset(raised.device for raised in self._alarms.open())
        if reading.device in self._alarmed:
            return True
        bound_m = self._lowest_m.get(reading.device)
        return bound_m is not None and reading.level_m is not None and reading.level_m > bound_m
