"""What happens to a frame between a sensor's antenna and the forwarders: who hears it, how well, when, and how often.

Everything is drawn from one seed, in the order in which frames are sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

_NEAR_RSSI_DBM, _FAR_RSSI_DBM = -60.0, -118.0
_NOISE_FLOOR_DBM = -117.0
_BEST_SNR_DB = 11.0
_OVERTAKEN_S = (0.05, 0.5)
"""How much later a reception that is overtaken arrives: long enough that later frames of the same sensor pass it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AirOptions:
    """How bad the air is.

    Args:
        loss: chance that a forwarder does not hear a frame (each for itself), and that a sensor does not hear an answer.
        repeat: chance that a forwarder reports what it has heard a second time.
        reorder: chance that a reception is held up so that later ones overtake it.
        delay_s: each reception reaches the forwarder's output at random within this time.
        seed: of all chance.
    """

    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    delay_s: float = 0.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Reception:
    """One forwarder's hearing of one transmission.

    Args:
        forwarder: its index.
        delay_s: after the transmission.
        rssi_dbm: signal strength, a whole number.
        snr_db: signal to noise, tenths.
        times: how often it is reported.
    """

    forwarder: int
    delay_s: float
    rssi_dbm: int
    snr_db: float
    times: int


class Air:
    """The air between sensors and forwarders.

    Args:
        options: how bad it is.
        forwarders: how many there are.
    """

    def __init__(self, options: AirOptions, forwarders: int) -> None:
        self._options = options
        self._forwarders = range(forwarders)
        self._places = Random(options.seed)
        self._chance = Random(options.seed + 1)

    def place(self) -> Sequence[float]:
        """Where a new sensor stands: its mean signal strength at each forwarder, in dBm."""
        return [self._places.uniform(_FAR_RSSI_DBM, _NEAR_RSSI_DBM) for _ in self._forwarders]

    def carry(self, mean_rssi_dbm: Sequence[float]) -> list[Reception]:
        """Who hears one transmission; nobody, if it is lost."""
        options, chance = self._options, self._chance.random
        heard = []
        for forwarder in self._forwarders:
            if options.loss and chance() < options.loss:
                continue
            delay_s = options.delay_s * chance() if options.delay_s else 0.0
            if options.reorder and chance() < options.reorder:
                delay_s += self._chance.uniform(*_OVERTAKEN_S)
            rssi_dbm = mean_rssi_dbm[forwarder] + 6.0 * (chance() - 0.5)
            snr_db = min(rssi_dbm - _NOISE_FLOOR_DBM, _BEST_SNR_DB)
            times = 2 if options.repeat and chance() < options.repeat else 1
            heard.append(Reception(forwarder, delay_s, round(rssi_dbm), round(snr_db, 1), times))
        return heard

    def answer_is_heard(self) -> bool:
        """Whether a sensor hears a frame that a forwarder sends to it."""
        return not self._options.loss or self._chance.random() >= self._options.loss
