"""The uplink is down when the broker is away, and when the cloud behind it confirms nothing any more."""

from datetime import UTC, datetime, timedelta

from gateway.page.state import LinkState
from gateway.uplink import SILENT_S, UplinkWatch

START = datetime(2026, 11, 21, tzinfo=UTC)


class Cloud:
    def __init__(self) -> None:
        self.state = LinkState(connected=True, last_stored_at=START)
        self.waiting, self.now_s = 0, 100.0

    def watch(self) -> UplinkWatch:
        return UplinkWatch(lambda: self.state, lambda: self.waiting, lambda: self.now_s)


def test_without_a_connection_it_is_down() -> None:
    cloud = Cloud()
    watch = cloud.watch()
    assert not watch.is_down()
    cloud.state = LinkState(connected=False, last_stored_at=START)
    assert watch.is_down()


def test_a_cloud_that_takes_and_never_confirms_is_down_after_a_while_and_back_with_its_first_word() -> None:
    cloud = Cloud()
    watch = cloud.watch()
    cloud.waiting = 10
    cloud.now_s += SILENT_S - 1
    assert not watch.is_down()
    cloud.now_s += 1
    assert watch.is_down()
    cloud.state = LinkState(connected=True, last_stored_at=START + timedelta(hours=1))
    assert not watch.is_down()


def test_a_quiet_night_without_readings_is_no_outage() -> None:
    cloud = Cloud()
    watch = cloud.watch()
    for _ in range(5):
        cloud.now_s += SILENT_S
        assert not watch.is_down()
    cloud.waiting = 1
    assert not watch.is_down()
