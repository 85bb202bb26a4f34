"""What the LoRaWAN network server makes of one reception: exactly one of these."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.entries import CounterState
from streamgauge.lorawan.gwmp import Reception
from streamgauge.lorawan.mac_commands import Request


class Refusal(StrEnum):
    """Why a frame is not taken; each value is a metric's label too."""

    BAD_CRC = "bad_crc"
    NOT_LORAWAN = "not_lorawan"
    PROPRIETARY = "proprietary"
    WRONG_DIRECTION = "wrong_direction"
    UNKNOWN_DEV_ADDR = "unknown_dev_addr"
    BAD_MIC = "bad_mic"
    REPLAYED_COUNTER = "replayed_counter"
    OLD_COUNTER = "old_counter"
    UNKNOWN_DEV_EUI = "unknown_dev_eui"
    WRONG_JOIN_EUI = "wrong_join_eui"
    JOIN_BAD_MIC = "join_bad_mic"
    REPLAYED_DEV_NONCE = "replayed_dev_nonce"
    SESSIONS_UNAVAILABLE = "sessions_unavailable"


@dataclass(frozen=True, slots=True)
class Answer:
    """A downlink that a device waits for; ``Network.make_downlink`` makes it, once everything has been committed.

    Attributes:
        device: whose.
        session: under which session; it must be the device's still when the downlink is made.
        uplink: the frame that is answered, as on the air.
        join_accept: the frame to be sent; None: a data frame, made when it is sent.
        acknowledges: the uplink was a confirmed one.
        requests: MAC commands of the uplink that are answered.
    """

    device: str
    session: str
    uplink: bytes
    join_accept: bytes | None = None
    acknowledges: bool = False
    requests: tuple[Request, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """A device's frame with an application's payload.

    Attributes:
        device: the device's name.
        session: the session it was sent in.
        reception: as it was heard first.
        f_port: 1 to 223.
        f_cnt: the full 32-bit counter.
        payload: in the clear; it may be empty.
        counter: to be committed together with what the payload becomes.
        missed: counters between this frame and the newest before it: frames that were never heard.
        late: another frame with a higher counter came before.
        restarted: the device has begun its counter anew, which it is allowed to (``relax_counter``).
        answer: the device waits for a downlink.
    """

    device: str
    session: str
    reception: Reception
    f_port: int
    f_cnt: int
    payload: bytes
    counter: CounterState
    missed: int = 0
    late: bool = False
    restarted: bool = False
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MacOnly:
    """A genuine frame without an application's payload: no FPort, FPort 0, or one above 223. Never a reading; its counter is
    committed and its answer sent all the same. Attributes as of ``Uplink``.
    """

    device: str
    session: str
    reception: Reception
    f_port: int | None
    f_cnt: int
    counter: CounterState
    missed: int = 0
    late: bool = False
    restarted: bool = False
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAccepted:
    """A join whose session has been committed; the answer holds the join-accept."""

    device: str
    session: str
    dev_addr: bytes
    reception: Reception
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A frame that is not taken.

    Attributes:
        reason: a metric's label.
        detail: in words, for an installer.
        reception: as it was heard.
        device: its name, as far as it is known; with ``BAD_MIC`` it is only who the frame says it is from.
        answer: a device repeats a confirmed frame that is stored already, as it did not hear the acknowledgement.
    """

    reason: Refusal
    detail: str
    reception: Reception
    device: str | None = None
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """The same bytes once more, within seconds: another packet forwarder heard the frame too, a forwarder repeats its datagram,
    or the device sends a confirmed frame again.

    Whoever holds back an acknowledgement for this datagram must hold it until ``first`` has been committed.

    Attributes:
        first: what the first copy was.
        reception: of this copy.
        is_better: it was heard more strongly than every copy before.
        sent_again: the device sent it again; otherwise it was heard twice.
        answer: it was, and the device waits for a downlink.
    """

    first: "Uplink | MacOnly | JoinAccepted | Refused"
    reception: Reception
    is_better: bool
    sent_again: bool = False
    answer: Answer | None = None

    @property
    def device(self) -> str | None:
        """The device's name, as far as it is known."""
        return self.first.device


First = Uplink | MacOnly | JoinAccepted | Refused
Heard = First | Repeat


def outcome(heard: Heard) -> str:
    """The label of ``streamgauge_gateway_frames_total`` for what was heard."""
    match heard:
        case Uplink():
            return "uplink"
        case MacOnly():
            return "mac_only"
        case JoinAccepted():
            return "join_accepted"
        case Repeat(sent_again=True):
            return "sent_again"
        case Repeat():
            return "copy"
        case Refused(reason=reason):
            return reason.value
