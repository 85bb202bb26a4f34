"""The way of what is heard, on one screen: hear, decode, stamp, keep; once kept: answer, acknowledge.

Nothing upstream is told "done" before the buffer has committed: a frame's readings and its counter in one transaction, then
PUSH_ACK and the device's downlink; likewise 201 over HTTP and the acknowledgement over MQTT.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.buffer.keeper import Keeper
from gateway.devices import Device
from gateway.entries import CounterState, Entry, Parcel
from gateway.ip_readings import read_payload
from gateway.journal import Journal, Way
from gateway.notes import note_of_frame, note_of_message, note_of_stranger
from gateway.radio.decode import NOTHING, Content, decode_uplink
from gateway.radio.frame_time import time_of
from gateway.radio.heard import Answer, Heard, MacOnly, Repeat, Uplink, outcome
from gateway.radio.network import Network
from gateway.radio.recent import RecentReadings
from gateway.refused import RefusedPayloads
from streamgauge.gateway_metrics import FRAMES, NO_ROOM, READINGS_ACCEPTED
from streamgauge.lorawan.gwmp import Reception
from streamgauge.reading import Reading, from_microseconds
from streamgauge.wire import Limits, Rejected

log = logging.getLogger("streamgauge.gateway.pipeline")

ROOM_WAIT_S = 0.01
FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the pipeline stands on.

    Attributes:
        devices: the sensors, by name.
        network: the LoRaWAN network server.
        keeper: writes the buffer.
        journal: remembers what was heard, for the page.
        refused: keeps payloads that could not become readings.
        send_downlink: sends what a device waits for.
        is_precious: which readings go last when the buffer is full.
        limits: which times and sizes are accepted.
        now_us: our clock.
    """

    devices: Mapping[str, Device]
    network: Network
    keeper: Keeper
    journal: Journal
    refused: RefusedPayloads
    send_downlink: Callable[[Answer], None]
    is_precious: Callable[[Reading], bool]
    limits: Limits
    now_us: Callable[[], int]


class Pipeline:
    """Takes what the receivers hear to the keeper. Frames come from one thread, messages of sensors with IP from any."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._recent = RecentReadings()
        self._stopping = False

    def stop(self) -> None:
        """Wait for room no more; call it before the receivers are stopped."""
        self._stopping = True

    def take_frames(self, receptions: Sequence[Reception], done: Callable[[], None]) -> None:
        """Take the frames of one datagram. If there is no room nothing of them is looked at, and ``done`` is never called.

        Args:
            receptions: as the forwarder heard them.
            done: called, from another thread, once all that they hold is committed.
        """
        if self._stopping:
            return  # A frame that was heard and not kept would spoil the counters of those behind it.
        if not self._around.keeper.has_room():
            NO_ROOM.labels("udp").inc()
            return
        entries: list[Entry] = []
        counters: list[CounterState] = []
        answers: list[Answer] = []
        for reception in receptions:
            now_us = self._around.now_us()
            heard = self._hear(reception)
            counters += self._counter(heard)
            answers += [heard.answer] if heard.answer is not None else []
            try:
                content = self._decode(heard, now_us)
                entries += self._stamp(content.readings, now_us)
                self._note(heard, content, now_us)
            except Exception as error:  # Its counter is taken, and the frames beside it are not to blame.
                log.exception("a frame could not be handled", extra={"device": heard.device})
                self._keep_failed(heard, error)
        self._keep(Parcel(entries, counters, partial(self._finish, answers, done)))

    def take_message(
        self, device: Device, payload: bytes, way: Way, done: Callable[[], None]
    ) -> tuple[list[Reading], list[Rejected]] | None:
        """Take one message of a sensor with IP.

        Args:
            device: whose it is.
            payload: the wire's JSON.
            way: how it came.
            done: as in ``take_frames``.

        Returns:
            The readings that were taken and what was refused; None if there is no room.
        """
        if not self._around.keeper.has_room():
            NO_ROOM.labels(way).inc()
            return None
        now_us = self._around.now_us()
        readings, rejected = read_payload(payload, device, self._around.limits, from_microseconds(now_us))
        for item in rejected:
            self._around.refused.keep(
                source=way, device=device.name, reason=str(item.reason), detail=item.detail, payload=item.payload
            )
        if not self._around.keeper.submit(Parcel(self._stamp(readings, now_us), (), done)):
            NO_ROOM.labels(way).inc()  # Others were faster. It is sent again, and waiting would hold its thread.
            return None
        READINGS_ACCEPTED.labels(way).inc(len(readings))
        self._around.journal.record(note_of_message(device, way, readings, rejected, len(payload), now_us))
        return readings, rejected

    def take_published(self, name: str, payload: bytes, done: Callable[[], None]) -> bool:
        """Take what came over the broker on site; what an unknown device says is noted and passed over."""
        device = self._around.devices.get(name)
        if device is not None:
            return self.take_message(device, payload, "mqtt", done) is not None
        self._around.journal.record(note_of_stranger(name, "mqtt", len(payload), self._around.now_us()))
        self._around.refused.keep(
            source="mqtt", device=name[:64], reason="unknown_device", detail="not in gateway.toml", payload=payload
        )
        done()
        return True

    def _hear(self, reception: Reception) -> Heard:
        heard = self._around.network.hear(reception)
        FRAMES.labels(outcome(heard)).inc()
        return heard

    def _decode(self, heard: Heard, now_us: int) -> Content:
        if isinstance(heard, Repeat):
            self._improve(heard)
        if not isinstance(heard, Uplink):
            return NOTHING
        heard_at, _ = time_of(heard.reception, now_us)
        content = decode_uplink(heard, self._around.devices[heard.device], heard_at, self._around.limits)
        if content.refusal is not None:
            self._around.refused.keep(
                source="udp",
                device=heard.device,
                reason=content.refusal,
                detail="; ".join(content.problems),
                payload=heard.payload,
            )
        self._recent.remember(heard, content.readings)
        return content

    def _keep_failed(self, heard: Heard, error: Exception) -> None:
        if isinstance(heard, Uplink):
            self._around.refused.keep(
                source="udp", device=heard.device, reason=FAILED, detail=repr(error), payload=heard.payload
            )

    def _stamp(self, readings: Sequence[Reading], now_us: int) -> list[Entry]:
        return [Entry(reading, now_us, self._around.is_precious(reading)) for reading in readings]

    @staticmethod
    def _counter(heard: Heard) -> list[CounterState]:
        return [heard.counter] if isinstance(heard, Uplink | MacOnly) else []

    def _improve(self, repeat: Repeat) -> None:
        """Another forwarder heard the frame better: its signal counts, while the reading is still here."""
        if not repeat.is_better or not isinstance(repeat.first, Uplink):
            return
        heard = repeat.reception
        for device, time_us in self._recent.live_reading_of(repeat.first):
            self._around.keeper.improve(device, time_us, heard.rssi_dbm, heard.snr_db)

    def _note(self, heard: Heard, content: Content, now_us: int) -> None:
        self._around.journal.record(note_of_frame(heard, content, from_microseconds(now_us)))

    def _keep(self, parcel: Parcel) -> None:
        """Hand frames over. What was heard waits for room: its counter is taken, and would be refused a second time."""
        while not self._around.keeper.submit(parcel):
            if self._stopping:
                return  # Nobody was told that it is kept, and what is committed knows nothing of its counter.
            time.sleep(ROOM_WAIT_S)
        READINGS_ACCEPTED.labels("udp").inc(len(parcel.entries))

    def _finish(self, answers: Sequence[Answer], done: Callable[[], None]) -> None:
        done()
        for answer in answers:
            self._around.send_downlink(answer)
