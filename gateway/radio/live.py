"""Sessions in use, as the network server holds them in memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from gateway.devices import Device
from gateway.radio.sessions import Session
from streamgauge.lorawan.counters import Window
from streamgauge.lorawan.crypto import SessionKeys


@dataclass(slots=True)
class Live:
    """A session in use.

    Attributes:
        id: under which its counters are kept.
        device: the device's name.
        may_restart: the device may begin its counter anew (``relax_counter``).
        dev_addr: 4 bytes as printed.
        keys: the session's.
        window: which counters were taken; None: nothing is known of them.
        waiting: no frame of it was ever heard.
        ends_s: its device has a newer session: monotonic time until which frames of this one may be under way; None: it has not.
        taken: of a device that may begin anew, its last frames by counter: MIC, and when they were heard (monotonic).
    """

    id: str
    device: str
    may_restart: bool
    dev_addr: bytes
    keys: SessionKeys
    window: Window | None
    waiting: bool
    ends_s: float | None = None
    taken: dict[int, tuple[bytes, float]] = field(default_factory=dict)


def joined(device: Device, session: Session) -> Live:
    """The session of a device that has joined."""
    return Live(session.id, device.name, False, session.dev_addr, session.keys, None, waiting=not session.proven)


def personalised(devices: Iterable[Device]) -> Iterable[Live]:
    """The sessions of those devices that are activated by personalisation."""
    for device in devices:
        if device.activation == "abp" and device.dev_addr and device.nwk_s_key and device.app_s_key:
            keys = SessionKeys(device.nwk_s_key, device.app_s_key)
            session_id = personal_session_id(device.dev_addr, keys)
            yield Live(session_id, device.name, device.relax_counter, device.dev_addr, keys, None, waiting=False)


def personal_session_id(dev_addr: bytes, keys: SessionKeys) -> str:
    """The session of a personalised device; new keys make a new one, whose counter begins anew."""
    return f"abp-{dev_addr.hex()}-{sha256(keys.nwk_s_key + keys.app_s_key).hexdigest()[:8]}"
