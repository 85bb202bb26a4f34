"""Every error that Streamgauge raises on purpose, as one tree.

Each class is *permanent* (repeating does not help: the thing goes to the dead letters with its reason) or *transient*
(the same call may go through later: retry with backoff and jitter).

    StreamgaugeError
    ├── PermanentError
    │   ├── InvalidMessage       an MQTT or HTTP message as a whole
    │   │   └── InvalidReading   one reading in a message that is otherwise well-formed
    │   ├── SettingsError        configuration; every bad key in one message
    │   └── ModelArtefactError   a model file that is damaged or does not fit this program
    └── TransientError
        ├── NotCommittedInTime   the commit of a reading was not heard of in time
        └── QueueUnavailable     the task queue or its notices cannot be reached
"""

from collections.abc import Sequence
from enum import StrEnum


class DeadReason(StrEnum):
    """Why something is kept as a dead letter; each value is a metric's label too, and thus never free text."""

    UNKNOWN_TOPIC = "unknown_topic"
    MESSAGE_TOO_LARGE = "message_too_large"
    NOT_JSON = "not_json"
    NOT_A_READING = "not_a_reading"
    NOT_A_BATCH = "not_a_batch"
    EMPTY_BATCH = "empty_batch"
    BATCH_TOO_LONG = "batch_too_long"
    BAD_DEVICE = "bad_device"
    DEVICE_MISMATCH = "device_mismatch"
    BAD_TIME = "bad_time"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    BAD_NUMBER = "bad_number"
    NO_QUANTITY = "no_quantity"
    TOO_MANY_FIELDS = "too_many_fields"
    DAMAGED_GZIP = "damaged_gzip"
    NOT_AN_UPLINK = "not_an_uplink"
    ENCRYPTED_PAYLOAD = "encrypted_payload"
    UNKNOWN_CODEC = "unknown_codec"
    UNDECODABLE_PAYLOAD = "undecodable_payload"
    UNKNOWN_DEVICE = "unknown_device"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    PROCESSING_FAILED = "processing_failed"


class StreamgaugeError(Exception):
    """The root of the tree."""


class PermanentError(StreamgaugeError):
    """Repeating the call does not help."""


class TransientError(StreamgaugeError):
    """The same call may go through later."""


class InvalidMessage(PermanentError):
    """A message that cannot become readings.

    Args:
        reason: the machine-readable reason, which is also a metric's label.
        detail: what was wrong and where, for a person.
    """

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class InvalidReading(InvalidMessage):
    """One reading that breaks the wire format; its neighbours in the same message may be sound."""


class SettingsError(PermanentError):
    """Configuration that a part cannot start with.

    Args:
        problems: one sentence per bad key, each naming the key and what to do.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("Settings cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = tuple(problems)


class ModelArtefactError(PermanentError):
    """A model file that is damaged, incomplete or made for another program."""


class NotCommittedInTime(TransientError):
    """The commit of readings was not heard of within the time allowed; repeating them is harmless."""


class QueueUnavailable(TransientError):
    """The task queue, or the stream of its notices, cannot be reached."""
