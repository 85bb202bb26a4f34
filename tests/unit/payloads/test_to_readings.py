"""From samples to readings."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from streamgauge.payloads import registry
from streamgauge.payloads.base import Decoded, Sample
from streamgauge.payloads.installation import Installation
from streamgauge.payloads.to_readings import Hearing, TimeLimits, to_readings
from streamgauge.reading import Reading

HEARD_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = TimeLimits(HEARD_AT - timedelta(days=30), HEARD_AT + timedelta(minutes=5))
HEARING = Hearing(
    device="weir",
    heard_at=HEARD_AT,
    rssi_dbm=-101.0,
    snr_db=4.5,
    seq=7,
    extra={"rssi_dbm.eui-2": -110.0, "gateways": 2.0},
)
ULTRASONIC = registry.find("decentlab_dl_mbx")
PROBE = registry.find("decentlab_dl_ctd10")
STANDS = Installation(sensor_height_m=5.0)


def decoded(*samples: Sample) -> Decoded:
    return Decoded(samples=samples, frame={})


def only(readings: list[Reading]) -> Reading:
    (reading,) = readings
    return reading


def test_a_live_distance_becomes_a_level_with_the_radios_numbers() -> None:
    readings, problems = to_readings(
        decoded(Sample(values={"distance_m": 1.5, "battery_v": 3.1})), ULTRASONIC, STANDS, HEARING, LIMITS
    )
    assert problems == []
    assert only(readings) == Reading(
        device="weir",
        time=HEARD_AT,
        level_m=3.5,
        battery_v=3.1,
        rssi_dbm=-101.0,
        snr_db=4.5,
        seq=7,
        extra={"distance_m": 1.5, "rssi_dbm.eui-2": -110.0, "gateways": 2.0},
    )


def test_a_status_frame_gives_nothing() -> None:
    assert to_readings(decoded(), ULTRASONIC, STANDS, HEARING, LIMITS) == ([], [])


def test_a_distance_that_is_no_level_is_no_reading_and_says_why() -> None:
    readings, problems = to_readings(
        decoded(Sample(values={"distance_m": 1.5})), ULTRASONIC, Installation(), HEARING, LIMITS
    )
    assert readings == []
    assert "sensor_height_m" in problems[0]


def test_what_else_was_measured_is_a_reading_without_a_level() -> None:
    readings, problems = to_readings(
        decoded(Sample(values={"temperature_c": 4.0, "conductivity_us_cm": 100.0})),
        PROBE,
        Installation(),
        HEARING,
        LIMITS,
    )
    assert problems == []
    assert only(readings).level_m is None
    assert only(readings).temperature_c == 4.0
    assert only(readings).extra["conductivity_us_cm"] == 100.0


def test_a_tilted_sensors_distance_is_kept_but_is_no_level() -> None:
    values = {"distance_m": 1.5, "tilted": 1.0, "temperature_c": 4.0}
    readings, problems = to_readings(decoded(Sample(values=values)), ULTRASONIC, STANDS, HEARING, LIMITS)
    assert only(readings).level_m is None
    assert only(readings).extra["distance_m"] == 1.5
    assert "tilted" in problems[0]


def test_a_tilted_sensors_own_level_does_not_slip_through() -> None:
    codec = registry.find("cayenne_lpp")
    values = {"level_m": 1.5, "tilted": 1.0, "temperature_c": 4.0}
    readings, _ = to_readings(decoded(Sample(values=values)), codec, STANDS, HEARING, LIMITS)
    assert only(readings).level_m is None


def test_stored_history_has_its_own_times_and_not_todays_radio() -> None:
    samples = (
        Sample(values={"depth_m": 1.0}),
        Sample(values={"depth_m": 0.9}, age_s=600.0),
        Sample(values={"depth_m": 0.8}, time=HEARD_AT.astimezone(timezone(timedelta(hours=7))) - timedelta(hours=1)),
    )
    readings, problems = to_readings(decoded(*samples), PROBE, Installation(), HEARING, LIMITS)
    assert problems == []
    live, ten_minutes_ago, hour_ago = readings
    assert (live.time, live.level_m, live.seq, live.rssi_dbm) == (HEARD_AT, 1.0, 7, -101.0)
    assert (ten_minutes_ago.time, ten_minutes_ago.level_m) == (HEARD_AT - timedelta(minutes=10), 0.9)
    assert (hour_ago.time, hour_ago.level_m) == (HEARD_AT - timedelta(hours=1), 0.8)
    for stored in (ten_minutes_ago, hour_ago):
        assert (stored.seq, stored.rssi_dbm, stored.snr_db) == (None, None, None)
        assert stored.extra.keys() == {"depth_m"}
        assert stored.time.tzinfo is UTC


@pytest.mark.parametrize(
    "sample",
    [
        Sample(values={"depth_m": 1.0}, age_s=-1.0),
        Sample(values={"depth_m": 1.0}, age_s=float("nan")),
        Sample(values={"depth_m": 1.0}, age_s=1e18),
        Sample(values={"depth_m": 1.0}, age_s=31.0 * 86_400),
        Sample(values={"depth_m": 1.0}, time=datetime(2000, 1, 1, tzinfo=UTC)),
        Sample(values={"depth_m": 1.0}, time=HEARD_AT + timedelta(hours=1)),
        Sample(values={"depth_m": 1.0}, time=HEARD_AT.replace(tzinfo=None)),
    ],
)
def test_history_of_an_impossible_time_is_left_out_and_said(sample: Sample) -> None:
    readings, problems = to_readings(decoded(sample), PROBE, Installation(), HEARING, LIMITS)
    assert readings == []
    assert "time cannot be" in problems[0]


def test_a_frame_heard_at_an_impossible_time_gives_nothing() -> None:
    late = Hearing(device="weir", heard_at=HEARD_AT + timedelta(hours=1))
    readings, problems = to_readings(decoded(Sample(values={"depth_m": 1.0})), PROBE, Installation(), late, LIMITS)
    assert readings == []
    assert len(problems) == 1


def test_two_samples_of_one_instant_are_one_reading() -> None:
    samples = (
        Sample(values={"depth_m": 1.0}, time=HEARD_AT),
        Sample(values={"depth_m": 2.0, "temperature_c": 4.0}, age_s=0.0),
        Sample(values={"battery_v": 3.0}),
    )
    readings, _ = to_readings(decoded(*samples), PROBE, Installation(), HEARING, LIMITS)
    reading = only(readings)
    assert (reading.level_m, reading.temperature_c, reading.battery_v) == (1.0, 4.0, 3.0)
    assert reading.seq == 7


def test_no_more_extra_values_than_the_wire_takes() -> None:
    values = {"depth_m": 1.0} | {f"digital_input_{channel}": 1.0 for channel in range(100)}
    readings, problems = to_readings(decoded(Sample(values=values)), PROBE, Installation(), HEARING, LIMITS)
    assert len(only(readings).extra) == 64
    assert "64" in problems[0]


def test_a_values_name_cannot_take_a_readings_own_fields() -> None:
    values = {"depth_m": 1.0, "time": 3.0, "device": 4.0, "seq": 5.0, "rssi_dbm": 6.0}
    quiet = Hearing(device="weir", heard_at=HEARD_AT)
    readings, _ = to_readings(decoded(Sample(values=values)), PROBE, Installation(), quiet, LIMITS)
    assert only(readings) == Reading(device="weir", time=HEARD_AT, level_m=1.0, extra={"depth_m": 1.0})


def test_a_radio_number_that_is_not_finite_is_left_out() -> None:
    hearing = Hearing(device="weir", heard_at=HEARD_AT, rssi_dbm=float("nan"), extra={"x": float("inf")})
    readings, _ = to_readings(decoded(Sample(values={"depth_m": 1.0})), PROBE, Installation(), hearing, LIMITS)
    assert only(readings).rssi_dbm is None
    assert only(readings).extra == {"depth_m": 1.0}
