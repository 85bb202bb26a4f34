"""How the gateway is, for its page: gathered from the parts when somebody looks."""

from pathlib import Path

import streamgauge
from gateway.alarms.alarms import Alarms
from gateway.buffer.buffer import Buffer
from gateway.buffer.keeper import Keeper
from gateway.clock import Clock
from gateway.configuration import Configuration
from gateway.handover.publish import Publisher
from gateway.page.state import ForwarderState, GatewayState
from gateway.radio.frame_time import OURS_IS_SET_FROM
from gateway.radio.receive_udp import UdpReceiver
from streamgauge.errors import TransientError
from streamgauge.reading import from_microseconds
from streamgauge.settings import GatewaySettings
from streamgauge.units import MICROSECONDS_PER_SECOND


class StateOf:
    """Tells how a gateway is; threads may share it."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        configuration: Configuration,
        buffer: Buffer,
        keeper: Keeper,
        publisher: Publisher,
        clock: Clock,
        alarms: Alarms,
        receiver: UdpReceiver | None,
    ) -> None:
        self._settings = settings
        self._configuration = configuration
        self._buffer = buffer
        self._keeper = keeper
        self._publisher = publisher
        self._clock = clock
        self._alarms = alarms
        self._receiver = receiver
        self._started_at = from_microseconds(clock.now_us())

    def __call__(self) -> GatewayState:
        """How it is now."""
        now_us = self._clock.now_us()
        step = self._clock.last_step
        return GatewayState(
            name=self._settings.name,
            version=streamgauge.__version__,
            started_at=self._started_at,
            link=self._publisher.link_state(),
            buffered=self._buffer.count,
            oldest_s=self._oldest_s(now_us),
            buffer_bytes=self._buffer.size_bytes(),
            buffer_max_bytes=self._settings.buffer_max_bytes,
            dropped=self._buffer.dropped,
            buffer_trouble=self._keeper.trouble,
            damaged_files=_damaged_files(self._settings.directory),
            clock_ok=from_microseconds(now_us) >= OURS_IS_SET_FROM,
            clock_step_at=None if step is None else from_microseconds(step.at_us),
            clock_step_s=None if step is None else step.by_s,
            hears_radio=self._receiver is not None,
            forwarders=self._forwarders(now_us),
            devices=tuple(sorted(self._configuration.devices)),
            alarms=tuple(self._alarms.open()),
        )

    def _forwarders(self, now_us: int) -> tuple[ForwarderState, ...]:
        """Those that have reported, and those that should have."""
        seen = {} if self._receiver is None else {one.eui: one for one in self._receiver.forwarders()}
        found = [
            ForwarderState(
                eui=one.eui.hex().upper(),
                last_seen=from_microseconds(now_us - int(one.silent_s * MICROSECONDS_PER_SECOND)),
                frames=one.frames,
                rssi_dbm=one.rssi_dbm,
            )
            for one in seen.values()
        ]
        missing = sorted(self._configuration.forwarders - seen.keys())
        return (*found, *(ForwarderState(eui=eui.hex().upper()) for eui in missing))

    def _oldest_s(self, now_us: int) -> float | None:
        try:
            oldest_us = self._buffer.oldest_gateway_time_us()
        except TransientError:
            return None
        return None if oldest_us is None else max(0.0, (now_us - oldest_us) / MICROSECONDS_PER_SECOND)


def _damaged_files(directory: Path) -> int:
    """Files that were set aside; their journals (-wal, -shm) belong to them and are not counted."""
    return sum(not path.name.endswith(("-wal", "-shm")) for path in directory.glob("*.damaged-*"))
