"""What became of a fleet's frames, counted."""

from dataclasses import asdict, dataclass, fields

from simulator.ledger import Ledger


@dataclass(slots=True)
class RadioLedger(Ledger):
    """The counts of a run over the air. A frame carries one reading.

    ``sent``: frames that left a sensor. ``acknowledged``: those of which a forwarder got a PUSH_ACK, which the gateway
    gives once it has kept them. ``lost_on_air``: no forwarder heard them, which is no fault of anybody's.
    ``given_up``: heard, but no PUSH_ACK came in time. ``not_joined``: readings for which the sensor had no session.
    ``receptions``: hearings by all forwarders. Downlinks: ``downlinks_refused`` came too late or too early for the
    forwarder, ``downlinks_unheard`` met no sensor that listened then and so, or no sensor that could open them.
    """

    stored: int | None = None
    acknowledged: int | None = 0
    lost_on_air: int = 0
    given_up: int = 0
    not_joined: int = 0
    receptions: int = 0
    receptions_repeated: int = 0
    joins_sent: int = 0
    joins_accepted: int = 0
    confirmed: int = 0
    confirmed_again: int = 0
    confirmed_acknowledged: int = 0
    datagrams: int = 0
    datagrams_repeated: int = 0
    datagrams_acknowledged: int = 0
    datagrams_lost: int = 0
    datagrams_unreadable: int = 0
    keepalives_answered: int = 0
    downlinks: int = 0
    downlinks_refused: int = 0
    downlinks_unheard: int = 0

    @property
    def expected(self) -> int:
        """Readings that are to be found: what some forwarder heard and did not give up."""
        return self.sent - self.lost_on_air - self.given_up

    def settled(self) -> int:
        """Frames whose fate is known."""
        return (self.acknowledged or 0) + self.lost_on_air + self.given_up

    def complete(self) -> bool:
        """Whether everything that a forwarder heard was kept by the gateway."""
        all_sent = self.to_send is None or self.sent == self.to_send
        return all_sent and self.unanswered == 0 and self.given_up == 0

    def as_dict(self) -> dict[str, object]:
        """The ledger as JSON-able values."""
        counts = asdict(self)
        own = {spec.name: counts[spec.name] for spec in fields(self) if spec.name not in _OF_ALL}
        common = Ledger.as_dict(self)
        kept = {name: common[name] for name in ("sent", "acknowledged", "unanswered", "seconds", "readings_per_s")}
        return {**kept, **own, "expected": self.expected, "complete": self.complete()}


_OF_ALL = frozenset(spec.name for spec in fields(Ledger))
