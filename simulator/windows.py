"""When and how sensors listen after they have sent: two short windows, known to the microsecond (LoRaWAN 1.0.3, 3.3)."""

from collections import deque
from dataclasses import dataclass

from simulator.forwarder import Channel
from simulator.radio_sensor import RadioSensor
from streamgauge.lorawan.gwmp import Transmission

RX2_AFTER_RX1_S = 1.0
RX2_FREQUENCY_HZ = 869_525_000
KEPT_S = 20.0
_CLOCK_WRAP = 1 << 32

EU868_CHANNELS_HZ = (
    868_100_000,
    868_300_000,
    868_500_000,
    867_100_000,
    867_300_000,
    867_500_000,
    867_700_000,
    867_900_000,
)
"""Channels of a usual network in Europe's 863 to 870 MHz band; every device has the first three, and joins on them."""
JOIN_CHANNELS = 3
EU868_DATA_RATES = ("SF12BW125", "SF11BW125", "SF10BW125", "SF9BW125", "SF8BW125", "SF7BW125")
"""DR0 to DR5. Both tables, and RX2's frequency, are those of LoRaWAN Regional Parameters RP002-1.0.3, section 2.4."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A window of one sensor, and how it listens."""

    sensor: RadioSensor
    frequency_hz: int
    data_rate: str


class Windows:
    """The windows in which sensors listen to one forwarder, by its concentrator's clock."""

    def __init__(self) -> None:
        self._windows: dict[int, Listening] = {}
        self._by_age: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        return len(self._windows)

    def open(self, sensor: RadioSensor, channel: Channel, tmst_us: int, now_s: float) -> int:
        """Let a sensor that has just sent listen; returns when its frame ended for this forwarder, which is the given time
        or just after it: two frames never end in the same microsecond.

        Args:
            sensor: who listens.
            channel: on which it sent.
            tmst_us: the concentrator's clock.
            now_s: the caller's clock.
        """
        rx1_us, offset, rx2_rate = round(sensor.rx1_s * 1e6), sensor.rx1_rate_offset, sensor.rx2_data_rate
        while (tmst_us + rx1_us) % _CLOCK_WRAP in self._windows:
            tmst_us = (tmst_us + 1) % _CLOCK_WRAP
        rate = EU868_DATA_RATES[max(EU868_DATA_RATES.index(channel.data_rate) - offset, 0)]
        first, second = (tmst_us + rx1_us) % _CLOCK_WRAP, (tmst_us + rx1_us + 1_000_000) % _CLOCK_WRAP
        self._windows[first] = Listening(sensor, channel.frequency_hz, rate)
        self._windows.setdefault(second, Listening(sensor, RX2_FREQUENCY_HZ, EU868_DATA_RATES[rx2_rate]))
        self._by_age += ((now_s, first), (now_s, second))
        return tmst_us

    def listener(self, transmission: Transmission) -> RadioSensor | None:
        """The sensor whose window this downlink meets in time, frequency, data rate and polarisation."""
        if transmission.tmst_us is None or not transmission.inverted:
            return None
        window = self._windows.get(transmission.tmst_us)
        if window is None or (window.frequency_hz, window.data_rate) != (
            transmission.frequency_hz,
            transmission.data_rate,
        ):
            return None
        return window.sensor

    def forget_old(self, now_s: float) -> None:
        """Forget windows that are long past."""
        while self._by_age and self._by_age[0][0] < now_s - KEPT_S:
            self._windows.pop(self._by_age.popleft()[1], None)
