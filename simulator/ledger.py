"""What became of the readings, counted: printed as JSON at the end of every run."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """Counts of one run. Readings unless a name says otherwise.

    ``sent``: readings that left, each counted once. ``stored`` and ``dead``: what the other side answered after its
    commit (``stored`` stays None for single MQTT readings: nobody answers those). ``acknowledged``: by the broker
    alone. ``resent``: readings that left again. ``unanswered``: readings handed over of which nothing was heard.
    """

    sent: int = 0
    stored: int | None = 0
    dead: int = 0
    acknowledged: int | None = None
    resent: int = 0
    unanswered: int = 0
    messages: int = 0
    messages_resent: int = 0
    answers_repeated: int = 0
    answers_unknown: int = 0
    answers_unreadable: int = 0
    reconnections: int = 0
    to_send: int | None = None
    started_s: float = field(default_factory=time.monotonic)

    def settled(self) -> int:
        """Readings whose fate is known: stored, dead, or acknowledged where no more is promised."""
        return self.acknowledged if self.acknowledged is not None else (self.stored or 0) + self.dead

    def complete(self) -> bool:
        """Whether all that was to be sent has arrived, as far as this way of sending can know."""
        all_sent = self.to_send is None or self.sent == self.to_send
        return all_sent and self.unanswered == 0 and self.dead == 0

    def as_dict(self) -> dict[str, object]:
        """The ledger as JSON-able values; seconds since the start and the mean rate included."""
        seconds = time.monotonic() - self.started_s
        return {
            "sent": self.sent,
            "stored": self.stored,
            "dead": self.dead,
            "acknowledged": self.acknowledged,
            "resent": self.resent,
            "unanswered": self.unanswered,
            "messages": self.messages,
            "messages_resent": self.messages_resent,
            "answers_repeated": self.answers_repeated,
            "answers_unknown": self.answers_unknown,
            "answers_unreadable": self.answers_unreadable,
            "reconnections": self.reconnections,
            "seconds": round(seconds, 3),
            "readings_per_s": round(self.settled() / seconds, 1) if seconds > 0 else 0.0,
            "complete": self.complete(),
        }
