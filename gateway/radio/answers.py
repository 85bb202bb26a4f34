"""What a device is told in its first receive window: join-accepts, acknowledgements, answers to its MAC commands.

Sections are those of the LoRaWAN Specification 1.0.3.
"""

from dataclasses import dataclass
from typing import Final

from gateway.radio.copies import Transmission as Heard
from gateway.radio.frame_time import gps_time_of
from gateway.radio.heard import Answer
from gateway.radio.live import Live
from gateway.radio.sessions import SessionStore, SessionsUnavailable
from streamgauge.errors import TransientError
from streamgauge.lorawan import frames, mac_commands
from streamgauge.lorawan.frames import DataFrame
from streamgauge.lorawan.gwmp import Transmission
from streamgauge.lorawan.mac_commands import Request
from streamgauge.lorawan.regions import JOIN_ACCEPT_DELAY_S, Region

LEAD_S: Final = 0.1
"""What a packet forwarder needs before a window opens, at the least; what comes later it refuses (``TOO_LATE``)."""

_CLOCK_US: Final = 1 << 32


class CannotAnswer(TransientError):
    """A downlink that cannot be made; the device goes on as if it had not been heard, and says so again if it minds."""


class TooLate(CannotAnswer):
    """The device's receive window would have closed before the packet forwarder could use the frame."""


@dataclass(frozen=True, slots=True)
class Downlink:
    """A frame to be sent, and the EUI of the packet forwarder that is to send it."""

    forwarder: bytes
    transmission: Transmission


def answer_to(frame: DataFrame, live: Live, f_cnt: int) -> Answer | None:
    """What the device waits for after this genuine frame, if it waits for anything."""
    if live.ends_s is not None:
        return None  # It has forgotten these keys.
    commands = frames.decrypt(frame, live.keys, f_cnt) if frame.f_port == frames.MAC_PORT else frame.f_opts
    requests = mac_commands.requests_of(commands)
    # An adaptive device that gets no downlink for long slows down to its slowest data rate (§4.3.1.1).
    if not frame.confirmed and not frame.adr_ack_req and not requests:
        return None
    return Answer(live.device, live.id, frame.phy, acknowledges=frame.confirmed, requests=requests)


@dataclass(frozen=True, slots=True)
class Answers:
    """Makes downlinks. ``rx1_delay_s`` is RECEIVE_DELAY1 in seconds; the caller takes turns."""

    store: SessionStore
    region: Region
    power_dbm: int
    rx1_delay_s: int

    def make(self, answer: Answer, heard: Heard | None, live: Live | None, now_s: float) -> Downlink:
        """The frame, and who is to send it.

        Args:
            answer: what is to be answered.
            heard: who has heard the uplink; None: that was too long ago to be remembered.
            live: the session, if it is still in use.
            now_s: monotonic time.

        Raises:
            CannotAnswer: nothing can be sent, and why.
            TooLate: no longer.
        """
        if live is None or live.ends_s is not None:
            raise CannotAnswer(f"session {answer.session} of {answer.device} is over")
        delay_s = self.rx1_delay_s if answer.join_accept is None else JOIN_ACCEPT_DELAY_S
        if heard is None or now_s - heard.began_s > delay_s - LEAD_S:
            age = "too long" if heard is None else f"{now_s - heard.began_s:.1f} s"
            raise TooLate(f"{answer.device} was heard {age} ago and listens {delay_s} s after it")
        reception = heard.answer_from
        tmst_us, frequency_hz, data_rate = reception.tmst_us, reception.frequency_hz, reception.data_rate
        if tmst_us is None or frequency_hz is None or data_rate is None:
            raise CannotAnswer(
                f"{reception.forwarder.hex().upper()} does not tell tmst, freq and datr of what it hears"
            )
        try:
            frequency_hz, data_rate = self.region.answer_on(frequency_hz, data_rate)
        except ValueError as error:
            raise CannotAnswer(str(error)) from error
        phy = answer.join_accept or self._data(answer, heard, live)
        return Downlink(
            reception.forwarder,
            Transmission(
                phy=phy,
                frequency_hz=frequency_hz,
                data_rate=data_rate,
                tmst_us=(tmst_us + delay_s * 1_000_000) % _CLOCK_US,
                power_dbm=self.power_dbm,
            ),
        )

    def _data(self, answer: Answer, heard: Heard, live: Live) -> bytes:
        f_opts = b"".join(_command(request, heard) for request in answer.requests)
        try:
            f_cnt = self.store.next_down_counter(live.id)
        except SessionsUnavailable as error:
            raise CannotAnswer(str(error)) from error
        return frames.make_downlink(live.keys, live.dev_addr, f_cnt, ack=answer.acknowledges, f_opts=f_opts)


def _command(request: Request, heard: Heard) -> bytes:
    """The answer to one request; empty if it cannot be given."""
    match request:
        case Request.LINK_CHECK:
            margin_db = mac_commands.link_margin_db(heard.snr_db, heard.answer_from.data_rate)
            return mac_commands.make_link_check_answer(margin_db, len(heard.clocks_us))
        case Request.DEVICE_TIME:
            since_gps_epoch = gps_time_of(heard.gps_ms, heard.heard_at)
            return b"" if since_gps_epoch is None else mac_commands.make_device_time_answer(since_gps_epoch)
