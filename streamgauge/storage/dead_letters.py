"""Dead letters: what could not become a reading, kept with its bytes and its reason. Bad input never vanishes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from streamgauge.errors import DeadReason


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One thing that could not become a reading. ``readings`` says how many it stood for."""

    topic: str
    source: str
    reason: DeadReason
    detail: str
    payload: bytes
    readings: int
    received_at: datetime
    device: str | None = None


MAX_DETAIL_CHARACTERS = 2_000
"""A longer detail is cut: some errors quote all that they were given."""

_WRITE = text("""
INSERT INTO dead_letters (topic, source, reason, detail, device, payload, readings, fingerprint, received_at, last_received_at)
VALUES (:topic, :source, :reason, :detail, :device, :payload, :readings, :fingerprint, :received_at, :received_at)
ON CONFLICT (fingerprint) DO UPDATE SET
    replay_state = CASE WHEN EXCLUDED.last_received_at > dead_letters.last_received_at
        THEN NULLIF(NULLIF(dead_letters.replay_state, 'replayed'), 'refused') ELSE dead_letters.replay_state END,
    times_seen = dead_letters.times_seen + (EXCLUDED.last_received_at > dead_letters.last_received_at)::integer,
    last_received_at = GREATEST(dead_letters.last_received_at, EXCLUDED.last_received_at)
""")


def fingerprint(letter: DeadLetter) -> bytes:
    """What makes two dead letters the same one: SHA-256 of reason, topic and payload."""
    digest = hashlib.sha256()
    for part in (letter.reason.encode(), letter.topic.encode("utf-8", "backslashreplace"), letter.payload):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _storable(words: str) -> str:
    """The text with what Postgres's ``text`` cannot hold (NUL, lone surrogates) written as escapes: nothing may keep a dead
    letter from being kept.
    """
    return words.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def write_dead_letters(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Keep them; one that is there already is counted, not kept twice (deliveries repeat, and devices repeat mistakes).

    One that had been replayed and arrives anew is open again: it is to be seen.
    """
    rows = [
        {
            "topic": _storable(letter.topic),
            "source": letter.source,
            "reason": str(letter.reason),
            "detail": _storable(letter.detail)[:MAX_DETAIL_CHARACTERS],
            "device": letter.device,
            "payload": letter.payload,
            "readings": letter.readings,
            "fingerprint": fingerprint(letter),
            "received_at": letter.received_at,
        }
        for letter in letters
    ]
    # One order for all writers: two tasks with the same letters cannot wait for each other.
    for row in sorted(rows, key=lambda row: row["fingerprint"]):  # type: ignore[arg-type, return-value]
        connection.execute(_WRITE, row)
