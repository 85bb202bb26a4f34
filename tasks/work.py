"""The body of an ingest task as arrays, and how it is divided."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from streamgauge.errors import DeadReason
from streamgauge.queue import Message, ingest_body
from streamgauge.reading import FLOAT_FIELDS, Reading, format_time, from_microseconds
from streamgauge.storage.dead_letters import DeadLetter
from streamgauge.wire import RawUplink


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Readings as columns of n values, in order of arrival, uplinks to be decoded, and what was refused at the door.

    Attributes:
        messages: the messages they came in.
        message: per reading the index of its message, int64[n].
        device: per reading the wire's device.
        time_us: microseconds since 1970, int64[n].
        values: per field that occurs float64[n], NaN where it is absent.
        seq: whole numbers or ``None``; ``None`` altogether where no reading has one.
        extra: by row, unlisted numeric fields.
        refused: dead letters that were made at the door.
        uplinks: network servers' messages, each with the index of its message here.
    """

    messages: Sequence[Message]
    message: NDArray[np.int64]
    device: Sequence[str]
    time_us: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    seq: Sequence[int | None] | None
    extra: Mapping[int, Mapping[str, float]]
    refused: Sequence[DeadLetter]
    uplinks: Sequence[tuple[int, RawUplink]] = ()

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Self:
        """Read the body that ``streamgauge.queue.ingest_body`` made."""
        messages = [Message(*fields) for fields in body["messages"]]
        columns = body["columns"]
        return cls(
            messages=messages,
            message=np.array(columns["message"], dtype=np.int64),
            device=columns["device"],
            time_us=np.array(columns["time_us"], dtype=np.int64),
            values={name: np.array(columns[name], dtype=np.float64) for name in FLOAT_FIELDS if name in columns},
            seq=columns.get("seq"),
            extra={int(row): values for row, values in body["extra"].items()},
            refused=[_refused(messages, *fields) for fields in body["dead"]],
            uplinks=[
                (index, RawUplink(network, base64.b64decode(message)))
                for index, network, message in body.get("uplinks", ())
            ],
        )

    def __len__(self) -> int:
        return len(self.device)

    def received_us(self) -> NDArray[np.int64]:
        """When each reading arrived, microseconds since 1970, int64[n]."""
        return np.array([message.received_us for message in self.messages], dtype=np.int64)[self.message]

    def take(self, rows: NDArray[np.int64]) -> Self:
        """The same work with some of its readings only, without uplinks and nothing refused."""
        chosen = rows.tolist()
        place = {row: index for index, row in enumerate(chosen)}
        return type(self)(
            messages=self.messages,
            message=self.message[rows],
            device=[self.device[row] for row in chosen],
            time_us=self.time_us[rows],
            values={name: column[rows] for name, column in self.values.items()},
            seq=None if self.seq is None else [self.seq[row] for row in chosen],
            extra={place[row]: values for row, values in self.extra.items() if row in place},
            refused=(),
        )

    def only_refused(self) -> Self:
        """The same work without its readings and uplinks."""
        return replace(self.take(np.empty(0, dtype=np.int64)), refused=self.refused)

    def only_uplinks(self, uplinks: Sequence[tuple[int, RawUplink]]) -> Self:
        """The same work with some of its uplinks only."""
        return replace(self.take(np.empty(0, dtype=np.int64)), uplinks=uplinks)

    def with_decoded(self, readings: Sequence[tuple[int, Reading]]) -> Self:
        """The same work with the readings that its uplinks held, each with the index of its message, in their place."""
        if not readings:
            return replace(self, uplinks=())
        decoded = type(self).from_body(ingest_body(self.messages, readings, ()))
        whole = self._followed_by(decoded) if len(self) else decoded
        return replace(whole.take(np.argsort(whole.message, kind="stable")), refused=self.refused)

    def _followed_by(self, other: Self) -> Self:
        rows = len(self)
        names = [name for name in FLOAT_FIELDS if name in self.values or name in other.values]
        seq = None
        if self.seq is not None or other.seq is not None:
            seq = [*(self.seq or [None] * rows), *(other.seq or [None] * len(other))]
        return replace(
            self,
            message=np.concatenate([self.message, other.message]),
            device=[*self.device, *other.device],
            time_us=np.concatenate([self.time_us, other.time_us]),
            values={name: np.concatenate([self._column(name), other._column(name)]) for name in names},
            seq=seq,
            extra={**self.extra, **{rows + row: values for row, values in other.extra.items()}},
        )

    def _column(self, name: str) -> NDArray[np.float64]:
        return self.values[name] if name in self.values else np.full(len(self), np.nan)

    def lose_uplink(self, place: int, reason: DeadReason, detail: str, device: str | None = None) -> "LostReading":
        """One of the uplinks as a dead letter that keeps the network server's message as it came.

        Args:
            place: which one.
            reason: why.
            detail: for a person.
            device: the registered device, if it is known.
        """
        index, uplink = self.uplinks[place]
        message = self.messages[index]
        letter = DeadLetter(
            topic=message.topic,
            source=message.source,
            reason=reason,
            detail=detail,
            payload=uplink.message,
            readings=1,
            received_at=from_microseconds(message.received_us),
            device=device,
        )
        return LostReading(index, letter)

    def lose(self, row: int, reason: DeadReason, detail: str) -> "LostReading":
        """One of the readings as a dead letter, written as the wire writes it."""
        message = self.messages[int(self.message[row])]
        reading: dict[str, Any] = {
            "device": self.device[row],
            "time": format_time(from_microseconds(int(self.time_us[row]))),
        }
        reading |= {name: column[row].item() for name, column in self.values.items() if not np.isnan(column[row])}
        if self.seq is not None and self.seq[row] is not None:
            reading["seq"] = self.seq[row]
        reading |= self.extra.get(row, {})
        letter = DeadLetter(
            topic=message.topic,
            source=message.source,
            reason=reason,
            detail=detail,
            payload=orjson.dumps(reading),
            readings=1,
            received_at=from_microseconds(message.received_us),
            device=self.device[row],
        )
        return LostReading(int(self.message[row]), letter)


@dataclass(frozen=True, slots=True)
class LostReading:
    """A reading or uplink that became a dead letter in the worker; the index of its message is for the answer to the sender."""

    message: int
    letter: DeadLetter


def _refused(
    messages: Sequence[Message], index: int, reason: str, detail: str, payload: str, readings: int
) -> DeadLetter:
    message = messages[index]
    return DeadLetter(
        topic=message.topic,
        source=message.source,
        reason=DeadReason(reason),
        detail=detail,
        payload=base64.b64decode(payload),
        readings=readings,
        received_at=from_microseconds(message.received_us),
    )
