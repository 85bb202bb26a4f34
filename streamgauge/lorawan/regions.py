"""Where a network answers: receive window 1 of each region, and what a join-accept tells of windows and channels.

Source: LoRaWAN Regional Parameters 1.0.3 rev A (2018), section 2 of each region ("receive windows", "data rate", "JoinAccept
CFList"). RX1DROffset is 0 throughout. Regions are of two kinds: in EU868, AS923 and IN865 the answer comes on the uplink's
channel at its data rate; in US915 and AU915 on one of eight wide channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

JOIN_ACCEPT_DELAY_S: Final = 5
"""JOIN_ACCEPT_DELAY1, the same everywhere."""

RECEIVE_DELAY_S: Final = 1
"""RECEIVE_DELAY1 where the network does not choose another."""

_NARROW_CHANNELS: Final = 64
_WIDE_CHANNELS: Final = 8
_WIDE_STEP_HZ: Final = 1_600_000
_NARROW_STEP_HZ: Final = 200_000
_DOWNLINK_FIRST_HZ: Final = 923_300_000
_DOWNLINK_STEP_HZ: Final = 600_000
_CHANNEL_MASK_LIST: Final = 1

_TO_WIDE: Final = MappingProxyType(
    {f"SF{spreading}BW125": f"SF{spreading}BW500" for spreading in range(7, 13)} | {"SF8BW500": "SF7BW500"}
)
"""Uplink to downlink data rate at RX1DROffset 0: tables "US902-928 Downlink RX1 data rate mapping" and "AU915-928 …"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One region's answering rules.

    Attributes:
        name: as LoRaWAN calls it, in short.
        rx2_data_rate: RX2's default data rate, which a join-accept must repeat.
        first_narrow_hz: centre of uplink channel 0, if channels are fixed; else None.
        first_wide_hz: centre of uplink channel 64, likewise.
        data_rates: the answer's data rate where it is not the uplink's.
    """

    name: str
    rx2_data_rate: int
    first_narrow_hz: int | None = None
    first_wide_hz: int | None = None
    data_rates: Mapping[str, str] = field(default_factory=dict)

    def answer_on(self, frequency_hz: int, data_rate: str | int) -> tuple[int, str | int]:
        """Frequency in hertz and data rate of RX1 after an uplink.

        Raises:
            ValueError: the uplink was on none of the region's channels or data rates.
        """
        if self.first_narrow_hz is None:
            return frequency_hz, self.data_rates.get(str(data_rate), data_rate)
        channel = self._channel_of(frequency_hz, wide=str(data_rate).endswith("BW500"))
        answer_rate = self.data_rates.get(str(data_rate))
        if channel is None or answer_rate is None:
            raise ValueError(
                f"{frequency_hz / 1e6} MHz at {data_rate} is no uplink of {self.name}; is the region right?"
            )
        return _DOWNLINK_FIRST_HZ + channel % _WIDE_CHANNELS * _DOWNLINK_STEP_HZ, answer_rate

    def _channel_of(self, frequency_hz: int, *, wide: bool) -> int | None:
        first_hz, step_hz, count = (
            (self.first_wide_hz, _WIDE_STEP_HZ, _WIDE_CHANNELS)
            if wide
            else (self.first_narrow_hz, _NARROW_STEP_HZ, _NARROW_CHANNELS)
        )
        assert first_hz is not None
        number, rest_hz = divmod(frequency_hz - first_hz, step_hz)
        if rest_hz or not 0 <= number < count:
            return None
        return number + _NARROW_CHANNELS if wide else number


_REGIONS: Final = (
    Region(name="EU868", rx2_data_rate=0),
    # Downlinks stop at DR5, whatever the uplink's (2.7.7).
    Region(name="AS923", rx2_data_rate=2, data_rates=MappingProxyType({"SF7BW250": "SF7BW125"})),
    Region(name="IN865", rx2_data_rate=2),
    Region(
        name="US915",
        rx2_data_rate=8,
        first_narrow_hz=902_300_000,
        first_wide_hz=903_000_000,
        data_rates=_TO_WIDE,
    ),
    Region(
        name="AU915",
        rx2_data_rate=8,
        first_narrow_hz=915_200_000,
        first_wide_hz=915_900_000,
        data_rates=_TO_WIDE,
    ),
)

REGIONS: Final[Mapping[str, Region]] = MappingProxyType({region.name: region for region in _REGIONS})
"""The regions that are known, by name."""


def sub_band_cf_list(sub_band: int) -> bytes:
    """The CFList that confines a US915 or AU915 device to the eight narrow channels and the wide one of a sub-band.

    A packet forwarder with eight channels hears one uplink in nine of a device that hops over all of them.

    Args:
        sub_band: 1 to 8; the second is channels 8 to 15 and 65.

    Raises:
        ValueError: there is no such sub-band.
    """
    if not 1 <= sub_band <= _WIDE_CHANNELS:
        raise ValueError(f"sub-bands are 1 to {_WIDE_CHANNELS}, not {sub_band}")
    narrow = 0xFF << _WIDE_CHANNELS * (sub_band - 1)
    wide = 1 << sub_band - 1
    return narrow.to_bytes(8, "little") + wide.to_bytes(2, "little") + bytes(5) + bytes((_CHANNEL_MASK_LIST,))
