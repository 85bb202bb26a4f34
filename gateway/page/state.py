"""What the installer's page must be told of the gateway itself."""

from dataclasses import dataclass
from datetime import datetime

from gateway.alarms.message import Raised


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """The session with the cloud's broker.

    Attributes:
        connected: it is up.
        since: since when it is as it is, aware UTC; None: it has never been up.
        last_error: why it was lost or could not be made.
        last_stored_at: when the cloud last confirmed readings.
    """

    connected: bool
    since: datetime | None = None
    last_error: str | None = None
    last_stored_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderState:
    """A packet forwarder that has reported, or that is allowed to.

    Attributes:
        eui: its EUI, hexadecimal.
        last_seen: when it last sent any datagram, aware UTC.
        frames: how many frames it handed on.
        rssi_dbm: of the last of them.
    """

    eui: str
    last_seen: datetime | None = None
    frames: int = 0
    rssi_dbm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayState:
    """The gateway, as one looks at it. Sizes in bytes, ages in seconds.

    Attributes:
        name: of the gateway.
        version: of the program.
        started_at: aware UTC.
        link: to the cloud.
        buffered: readings that wait for the cloud's ``stored``.
        oldest_s: how long the oldest of them has waited.
        buffer_bytes: size of the buffer's files.
        buffer_max_bytes: at which readings are given up.
        dropped: readings that were given up since the start.
        buffer_trouble: why the buffer cannot be written now; None: it can.
        damaged_files: buffer files that were set aside.
        clock_ok: nothing speaks against the system's clock.
        clock_step_at: when it last jumped, aware UTC.
        clock_step_s: by how much; negative: back.
        hears_radio: packet forwarders are listened to.
        forwarders: those that have reported.
        devices: names of the configured sensors.
        alarms: local alarms that are open.
    """

    name: str
    version: str
    started_at: datetime
    link: LinkState
    buffered: int = 0
    oldest_s: float | None = None
    buffer_bytes: int = 0
    buffer_max_bytes: int = 0
    dropped: int = 0
    buffer_trouble: str | None = None
    damaged_files: int = 0
    clock_ok: bool = True
    clock_step_at: datetime | None = None
    clock_step_s: float | None = None
    hears_radio: bool = True
    forwarders: tuple[ForwarderState, ...] = ()
    devices: tuple[str, ...] = ()
    alarms: tuple[Raised, ...] = ()
