"""The pipeline where room runs out or a clock is wrong: nothing is lost without a trace, nobody waits for ever."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.devices import Device
from gateway.entries import Parcel
from gateway.journal import Journal
from gateway.pipeline import Pipeline, Surroundings
from gateway.radio.network import Network
from gateway.radio.sessions import SessionStore
from gateway.refused import RefusedPayloads
from streamgauge.lorawan.gwmp import Reception
from streamgauge.payloads.installation import Installation
from streamgauge.payloads.registry import find
from streamgauge.reading import Reading
from streamgauge.wire import Limits
from tests.unit.gateway.lorawan_field import EAST, GATEWAY_KEY, abp_device, abp_frame

NOW_US = 1_795_000_000_000_000
BRIDGE = abp_device(codec=find("decentlab_dl_mbx"), installation=Installation(sensor_height_m=6.0))
QUAY = Device(name="quay", codec=None, parameters={}, installation=Installation(), activation="ip")
PAYLOAD = bytes.fromhex("02012f000304d200010bb1")


class Keeper:
    """Takes parcels while it has room; whether it says so beforehand is another question, as others may be faster."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.seems_free = self.is_free = True

    def has_room(self) -> bool:
        return self.seems_free

    def submit(self, parcel: Parcel) -> bool:
        if self.is_free:
            self.parcels.append(parcel)
        return self.is_free


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def now() -> list[int]:
    return [NOW_US]


@pytest.fixture
def pipeline(keeper: Keeper, now: list[int], tmp_path: Path) -> Pipeline:
    return Pipeline(
        Surroundings(
            devices={"bridge": BRIDGE, "quay": QUAY},
            network=Network([BRIDGE, QUAY], SessionStore(tmp_path / "sessions.db", GATEWAY_KEY), {}),
            keeper=keeper,  # type: ignore[arg-type]
            journal=Journal(),
            refused=RefusedPayloads(tmp_path),
            send_downlink=lambda _: None,
            is_precious=fails_for_the_seventh,
            limits=Limits(65_536, 1_000, datetime(2000, 1, 1, tzinfo=UTC), timedelta(minutes=10)),
            now_us=lambda: now[0],
        )
    )


def fails_for_the_seventh(reading: Reading) -> bool:
    """A part that fails for one reading."""
    if reading.seq == 7:
        raise RuntimeError("a fault in the program")
    return False


def receptions(*counters: int, payload: bytes = PAYLOAD) -> Sequence[Reception]:
    return [Reception(phy=abp_frame(BRIDGE, f_cnt, payload), forwarder=EAST, rssi_dbm=-80.0) for f_cnt in counters]


def within(seconds: float, call: Callable[[], object]) -> list[object]:
    """What the call returns, or nothing if it is not back in time."""
    returned: list[object] = []
    thread = threading.Thread(target=lambda: returned.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    return returned


def test_a_message_for_which_others_took_the_room_is_not_taken_and_holds_nobody(
    pipeline: Pipeline, keeper: Keeper, tmp_path: Path
) -> None:
    keeper.is_free = False
    payload = b'[{"level_m":1},{"level_m":"much"}]'
    assert within(2.0, lambda: pipeline.take_message(QUAY, payload, "http", lambda: None)) == [None]
    keeper.is_free = True
    taken = pipeline.take_message(QUAY, payload, "http", lambda: None)
    assert taken is not None
    assert [len(part) for part in taken] == [1, 1]
    assert '"bad_number"' in (tmp_path / "refused.log").read_text()


def test_what_is_heard_while_stopping_leaves_no_counter_without_its_reading(pipeline: Pipeline, keeper: Keeper) -> None:
    keeper.is_free = False
    waiting = threading.Thread(target=lambda: pipeline.take_frames(receptions(0), lambda: None), daemon=True)
    waiting.start()
    pipeline.stop()
    waiting.join(5)
    assert not waiting.is_alive()
    keeper.is_free = True
    pipeline.take_frames(receptions(1), lambda: None)
    counters = [counter for parcel in keeper.parcels for counter in parcel.counters]
    assert not any(counter.window >> (counter.newest - 0) & 1 for counter in counters), "frame 0 was never kept"


def test_what_cannot_be_stamped_by_a_clock_that_was_never_set_is_kept_with_its_bytes(
    pipeline: Pipeline, keeper: Keeper, now: list[int], tmp_path: Path
) -> None:
    now[0] = 86_400_000_000
    pipeline.take_frames(receptions(0), lambda: None)
    assert [len(parcel.entries) for parcel in keeper.parcels] == [0]
    refused = (tmp_path / "refused.log").read_text()
    assert PAYLOAD.hex() in refused
    assert '"time_out_of_range"' in refused


def test_a_frame_that_the_program_fails_at_takes_none_beside_it_along_and_is_kept_with_its_bytes(
    pipeline: Pipeline, keeper: Keeper, tmp_path: Path
) -> None:
    pipeline.take_frames(receptions(6, 7, 8), lambda: None)
    (parcel,) = keeper.parcels
    assert [entry.reading.seq for entry in parcel.entries] == [6, 8]
    assert parcel.counters[-1].newest == 8
    assert PAYLOAD.hex() in (tmp_path / "refused.log").read_text()
