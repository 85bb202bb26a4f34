"""A small LoRaWAN 1.0.x network server: what a frame heard is, and what its device is told.

It knows devices, sessions and counters, and no socket. ``hear`` belongs to one thread; ``make_downlink`` may be
called by others. Sections are those of the LoRaWAN Specification 1.0.3.
"""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.devices import Device
from gateway.entries import CounterState
from gateway.radio.answers import Answers, Downlink, answer_to
from gateway.radio.copies import Copies
from gateway.radio.heard import Answer, First, Heard, JoinAccepted, MacOnly, Refusal, Refused, Repeat, Uplink
from gateway.radio.live import Live, joined, personalised
from gateway.radio.sessions import NonceUsed, Session, SessionStore, SessionsUnavailable
from streamgauge.lorawan import counters, crypto, frames
from streamgauge.lorawan.counters import Verdict, Window
from streamgauge.lorawan.frames import DataFrame, FrameFault, FrameRefused, JoinAccept, JoinRequest
from streamgauge.lorawan.gwmp import Crc, Reception
from streamgauge.lorawan.regions import RECEIVE_DELAY_S, REGIONS, Region

log = logging.getLogger("streamgauge.gateway.network")

NET_ID: Final = 0
"""The NetID of private and experimental networks (LoRaWAN Backend Interfaces 1.0, annex): DevAddr begins with 7 zero bits."""

SENT_AGAIN_S: Final = 300.0
"""The same bytes within this time are the same frame, also of a device that may begin anew: forwarders repeat frames."""

OVERTAKEN_S: Final = 60.0
"""How long frames of a device's last session are taken after the first of its new one: forwarders' networks reorder them."""

_DEV_ADDR_BITS: Final = 25
_APP_NONCES_SINCE: Final = datetime(2020, 1, 1, tzinfo=UTC)


class Network:
    """The network server of one gateway.

    Args:
        devices: all sensors; those that have IP are passed over.
        store: sessions made by joins.
        counter_states: committed counters by session.
        region: where downlinks go.
        power_dbm: with which they are sent.
        rx1_delay_s: RECEIVE_DELAY1 in seconds, 1 to 15; told to devices that join, preset in personalised ones.
        cf_list: channels that a joining device is told to use; empty or 16 bytes (§6.2.5).
        monotonic_s: a clock that only grows.
        utc_now: the time of day.
        random_bits: unforeseeable whole numbers of so many bits.

    Raises:
        SessionsUnavailable: the stored sessions cannot be read.
    """

    def __init__(
        self,
        devices: Iterable[Device],
        store: SessionStore,
        counter_states: Mapping[str, CounterState],
        *,
        region: Region = REGIONS["EU868"],
        power_dbm: int = 14,
        rx1_delay_s: int = RECEIVE_DELAY_S,
        cf_list: bytes = b"",
        monotonic_s: Callable[[], float] = time.monotonic,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._store = store
        self._region = region
        self._answers = Answers(store, region, power_dbm, rx1_delay_s)
        self._rx1_delay_s = rx1_delay_s
        self._cf_list = cf_list
        self._monotonic_s = monotonic_s
        self._utc_now = utc_now
        self._random_bits = random_bits
        self._lock = threading.Lock()
        self._copies = Copies()
        self._by_dev_addr: dict[bytes, list[Live]] = {}
        self._by_id: dict[str, Live] = {}
        self._ending: deque[Live] = deque()
        listed = list(devices)
        self._joining = {device.dev_eui: device for device in listed if device.activation == "otaa" and device.dev_eui}
        for live in (*personalised(listed), *self._joined()):
            state = counter_states.get(live.id)
            live.window = None if state is None else Window(state.newest, state.window)
            self._enter(live)

    def _joined(self) -> Iterable[Live]:
        for session in self._store.load():
            device = self._joining.get(session.dev_eui)
            if device is not None:
                yield joined(device, session)

    def _enter(self, live: Live) -> None:
        self._by_dev_addr.setdefault(live.dev_addr, []).append(live)
        self._by_id[live.id] = live

    def _leave(self, session_id: str) -> None:
        live = self._by_id.pop(session_id, None)
        if live is None:
            return
        others = [other for other in self._by_dev_addr[live.dev_addr] if other is not live]
        if others:
            self._by_dev_addr[live.dev_addr] = others
        else:
            del self._by_dev_addr[live.dev_addr]

    def hear(self, reception: Reception) -> Heard:
        """What this reception is. Never raises for what was received."""
        if reception.crc is Crc.FAILED:
            return Refused(reason=Refusal.BAD_CRC, detail="the radio's checksum failed", reception=reception)
        now_s, heard_at = self._monotonic_s(), self._utc_now()
        with self._lock:
            transmission = self._copies.find(reception.phy, now_s)
            if transmission is None:
                first = self._hear_first(reception)
                if not (isinstance(first, Refused) and first.reason is Refusal.SESSIONS_UNAVAILABLE):
                    self._copies.remember(first, now_s, heard_at)
                return first
            sent_again = self._copies.sent_again(transmission, reception, now_s, heard_at)
            answer = transmission.first.answer if not isinstance(transmission.first, JoinAccepted) else None
            return Repeat(
                first=transmission.first,
                reception=reception,
                is_better=self._copies.is_louder(transmission, reception),
                sent_again=sent_again,
                answer=answer if sent_again else None,
            )

    def _hear_first(self, reception: Reception) -> First:
        try:
            frame = frames.parse(reception.phy)
        except FrameRefused as refused:
            reason = Refusal.PROPRIETARY if refused.reason is FrameFault.PROPRIETARY else Refusal.NOT_LORAWAN
            return Refused(reason=reason, detail=refused.detail, reception=reception)
        if isinstance(frame, JoinRequest):
            return self._join(frame, reception)
        if isinstance(frame, DataFrame) and frame.direction == crypto.UPLINK:
            return self._data(frame, reception)
        return Refused(
            reason=Refusal.WRONG_DIRECTION,
            detail="a network's frame, not a device's; is another near?",
            reception=reception,
        )

    def _data(self, frame: DataFrame, reception: Reception) -> First:
        self._end_sessions()
        near = self._by_dev_addr.get(frame.dev_addr, [])
        if not near:
            detail = f"no device has DevAddr {frame.dev_addr.hex().upper()}; another network's, or it must join again"
            return Refused(reason=Refusal.UNKNOWN_DEV_ADDR, detail=detail, reception=reception)
        for live in near:
            for f_cnt in counters.candidates(live.window, frame.f_cnt_low):
                if frames.mic_fits(frame, live.keys.nwk_s_key, f_cnt):
                    return self._proven(frame, reception, live, f_cnt)
        return Refused(
            reason=Refusal.BAD_MIC,
            detail=f"DevAddr {frame.dev_addr.hex().upper()} is known, but the network session key does not fit",
            reception=reception,
            device=near[0].device if len({live.device for live in near}) == 1 else None,
        )

    def _proven(self, frame: DataFrame, reception: Reception, live: Live, f_cnt: int) -> First:
        """A frame whose MIC fits: it is its device's; whether it is taken is its counter's question."""
        before = live.window
        verdict = counters.judge(before, f_cnt)
        restarted = live.may_restart and not verdict.is_taken and not self._is_sent_again(live, frame, f_cnt)
        if before is not None and not verdict.is_taken and not restarted:
            return _refuse_counter(frame, reception, live, f_cnt, before)
        live.window = Window(f_cnt, 1) if restarted else counters.take(before, f_cnt)
        if live.may_restart:
            self._remember(live, frame, f_cnt)
        if live.waiting and live.ends_s is None:
            self._settle(live)
        counter = CounterState(live.id, live.window.newest, live.window.bits)
        missed = f_cnt - before.newest - 1 if before is not None and f_cnt > before.newest else 0
        late, answer = verdict is Verdict.LATE, answer_to(frame, live, f_cnt)
        if frame.f_port is None or not frames.MAC_PORT < frame.f_port <= frames.LAST_APPLICATION_PORT:
            return MacOnly(
                device=live.device,
                session=live.id,
                reception=reception,
                f_port=frame.f_port,
                f_cnt=f_cnt,
                counter=counter,
                missed=missed,
                late=late,
                restarted=restarted,
                answer=answer,
            )
        return Uplink(
            device=live.device,
            session=live.id,
            reception=reception,
            f_port=frame.f_port,
            f_cnt=f_cnt,
            payload=frames.decrypt(frame, live.keys, f_cnt),
            counter=counter,
            missed=missed,
            late=late,
            restarted=restarted,
            answer=answer,
        )

    def _is_sent_again(self, live: Live, frame: DataFrame, f_cnt: int) -> bool:
        """Whether a frame with a counter that was taken is that very frame, rather than one of a device that began anew."""
        if (known := live.taken.get(f_cnt)) is None:  # Not heard since the start; the newest one may have been before.
            return live.window is not None and f_cnt == live.window.newest
        mic, heard_s = known
        return mic == frame.mic and self._monotonic_s() - heard_s <= SENT_AGAIN_S

    def _remember(self, live: Live, frame: DataFrame, f_cnt: int) -> None:
        live.taken.pop(f_cnt, None)
        live.taken[f_cnt] = frame.mic, self._monotonic_s()
        if len(live.taken) > counters.WINDOW_BITS:
            del live.taken[next(iter(live.taken))]

    def _settle(self, live: Live) -> None:
        """The device uses its new session: those before are over (§6.2.5), but for frames that were overtaken."""
        for other in [other for other in self._by_id.values() if other.device == live.device and other is not live]:
            if other.ends_s is not None:
                continue
            if other.window is None and other.waiting:
                self._leave(other.id)  # No frame of it was ever heard.
            else:
                other.ends_s = self._monotonic_s() + OVERTAKEN_S
                self._ending.append(other)
        try:
            self._store.prove(live.id)
            live.waiting = False
        except SessionsUnavailable as error:
            # Until that can be written, a restart would listen to the earlier sessions too: no harm, and the next frame tries.
            log.warning("a session could not be settled", extra={"device": live.device, "detail": str(error)})

    def _end_sessions(self) -> None:
        while self._ending and (ends_s := self._ending[0].ends_s) is not None and ends_s <= self._monotonic_s():
            self._leave(self._ending.popleft().id)

    def _join(self, request: JoinRequest, reception: Reception) -> First:
        device = self._joining.get(request.dev_eui)
        if device is None or device.app_key is None:
            detail = f"no device has DevEUI {request.dev_eui.hex().upper()}"
            return Refused(reason=Refusal.UNKNOWN_DEV_EUI, detail=detail, reception=reception)
        if device.join_eui is not None and device.join_eui != request.join_eui:
            detail = (
                f"it asks for JoinEUI {request.join_eui.hex().upper()}, {device.join_eui.hex().upper()} is expected"
            )
            return Refused(reason=Refusal.WRONG_JOIN_EUI, detail=detail, reception=reception, device=device.name)
        if not frames.join_mic_fits(request, device.app_key):
            detail = f"the AppKey of {request.dev_eui.hex().upper()} does not fit"
            return Refused(reason=Refusal.JOIN_BAD_MIC, detail=detail, reception=reception, device=device.name)
        try:
            return self._accept(device, device.app_key, request, reception)
        except NonceUsed as used:
            reason, detail = Refusal.REPLAYED_DEV_NONCE, str(used)
        except SessionsUnavailable as error:
            log.warning("a join could not be kept", extra={"device": device.name, "detail": str(error)})
            reason, detail = Refusal.SESSIONS_UNAVAILABLE, str(error)
        return Refused(reason=reason, detail=detail, reception=reception, device=device.name)

    def _accept(self, device: Device, app_key: bytes, request: JoinRequest, reception: Reception) -> JoinAccepted:
        app_nonce = self._next_app_nonce(request.dev_eui)
        session = Session(
            id=f"otaa-{self._random_bits(64):016x}",
            dev_eui=request.dev_eui,
            dev_addr=self._free_dev_addr(),
            keys=crypto.derive_session_keys(app_key, app_nonce, NET_ID, request.dev_nonce),
            app_nonce=app_nonce,
            created=self._utc_now(),
        )
        accept = JoinAccept(
            app_nonce=app_nonce,
            net_id=NET_ID,
            dev_addr=session.dev_addr,
            dl_settings=self._region.rx2_data_rate,
            rx_delay_s=self._rx1_delay_s,
            cf_list=self._cf_list,
        )
        phy = frames.make_join_accept(app_key, accept)
        for superseded in self._store.add(session, request.dev_nonce, app_key):
            self._leave(superseded)
        self._enter(joined(device, session))
        answer = Answer(device.name, session.id, request.phy, join_accept=phy)
        return JoinAccepted(
            device=device.name, session=session.id, dev_addr=session.dev_addr, reception=reception, answer=answer
        )

    def _next_app_nonce(self, dev_eui: bytes) -> int:
        """Devices of 1.0.4 want it to grow, even if the store was lost: so it is never below the minutes since 2020."""
        minutes = int((self._utc_now() - _APP_NONCES_SINCE).total_seconds() // 60)
        newest = self._store.newest_app_nonce(dev_eui)
        following = 1 if newest is None else newest + 1
        return max(following, min(max(minutes, 1), 1 << 23)) % (1 << 24)

    def _free_dev_addr(self) -> bytes:
        while True:
            dev_addr = self._random_bits(_DEV_ADDR_BITS).to_bytes(4, "big")
            if any(dev_addr) and dev_addr not in self._by_dev_addr:
                return dev_addr

    def make_downlink(self, answer: Answer) -> Downlink:
        """The answer, for the packet forwarder that has heard the device best so far. Every call makes another frame.

        Raises:
            CannotAnswer: nothing can be sent, and why.
            TooLate: no longer: its receive window is over, or almost.
        """
        with self._lock:
            now_s = self._monotonic_s()
            heard = self._copies.find(answer.uplink, now_s)
            return self._answers.make(answer, heard, self._by_id.get(answer.session), now_s)


def _refuse_counter(frame: DataFrame, reception: Reception, live: Live, f_cnt: int, window: Window) -> Refused:
    repeated = counters.judge(window, f_cnt) is Verdict.REPEATED
    seen = "was heard before" if repeated else f"is {window.newest - f_cnt} behind"
    return Refused(
        reason=Refusal.REPLAYED_COUNTER if repeated else Refusal.OLD_COUNTER,
        detail=f"counter {f_cnt} {seen}, the newest is {window.newest}: a replay, or the device began its counter anew",
        reception=reception,
        device=live.device,
        answer=answer_to(frame, live, f_cnt) if frame.confirmed and f_cnt == window.newest else None,
    )
