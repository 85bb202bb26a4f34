"""Milesight's channels: what a distance, a fault, an alarm, a tilt and stored history become, and what never becomes a level."""

from datetime import UTC, datetime

import pytest

from streamgauge.payloads import registry
from streamgauge.payloads.base import PayloadRefused
from streamgauge.payloads.installation import Installation, level_of
from streamgauge.payloads.to_readings import Hearing, TimeLimits, to_readings

MODELS = [model for model in registry.models() if model.startswith("milesight_")]
LIMITS = TimeLimits(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
STANDS = Installation(sensor_height_m=5.0)


def hearing() -> Hearing:
    return Hearing(device="pump-1", heard_at=datetime(2026, 3, 1, 12, tzinfo=UTC), rssi_dbm=-97.0, seq=7)


@pytest.mark.parametrize("model", MODELS)
def test_any_port_of_applications_is_accepted(model: str) -> None:
    codec = registry.find(model)
    for f_port in (1, 85, 223):
        assert codec.decode(b"\x01\x75\x64", f_port, {}).frame == {"battery_percent": 100.0}
    for f_port in (-1, 0, 224):
        with pytest.raises(PayloadRefused):
            codec.decode(b"\x01\x75\x64", f_port, {})


@pytest.mark.parametrize("model", MODELS)
def test_the_default_parameters_leave_the_models_range_as_it_is(model: str) -> None:
    codec = registry.find(model)
    defaults = {parameter.name: parameter.default for parameter in codec.parameters if parameter.default is not None}
    assert defaults.keys() == {parameter.name for parameter in codec.parameters}
    water = {"distance": "distance_m", "depth": "depth_m", "pressure": "pressure_kpa"}[codec.measures]
    for end in codec.ranges[water]:
        encoded = codec.encode({water: end}, defaults)
        assert codec.decode(encoded, 85, defaults).samples[0].values == {water: end}


@pytest.mark.parametrize("model", MODELS)
def test_a_frame_without_its_water_value_is_not_encoded(model: str) -> None:
    with pytest.raises(ValueError, match="must carry"):
        registry.find(model).encode({"battery_percent": 50.0}, {})


@pytest.mark.parametrize(
    ("model", "channel"),
    [
        ("milesight_em500_swl", "0377"),
        ("milesight_em500_udl", "0382"),
        ("milesight_em500_pp", "037b"),
        ("milesight_em310_udl", "0382"),
        ("milesight_em400_mud", "0482"),
        ("milesight_em400_udl", "0482"),
    ],
)
@pytest.mark.parametrize("mark", ["ffff", "fdff"])
def test_a_fault_is_never_a_number(model: str, channel: str, mark: str) -> None:
    decoded = registry.find(model).decode(bytes.fromhex(channel + mark), 85, {})
    assert decoded.samples == ()
    assert len(decoded.problems) == 1


def test_a_probes_parameters_narrow_the_range() -> None:
    codec = registry.find("milesight_em500_udl")
    narrowed = {"blind_zone_m": 0.5, "range_m": 5.0}
    near, there, far = (codec.encode({"distance_m": distance_m}, {}) for distance_m in (0.499, 0.5, 5.001))
    assert codec.decode(there, 85, narrowed).samples[0].values == {"distance_m": 0.5}
    for frame in (near, far):
        assert codec.decode(frame, 85, narrowed).samples == ()
    with pytest.raises(ValueError):
        codec.encode({"distance_m": 0.499}, narrowed)
    with pytest.raises(PayloadRefused, match="range_m"):
        codec.decode(there, 85, {"range_m": float("nan")})


def test_a_tilted_sensors_distance_is_kept_and_is_no_level() -> None:
    codec = registry.find("milesight_em310_udl")
    tilted = codec.decode(bytes.fromhex("01755c03824408040001"), 85, {}).samples[0].values
    level_m, reason = level_of(tilted, codec.measures, STANDS)
    assert tilted["distance_m"] == 2.116
    assert level_m is None
    assert reason is not None
    upright = codec.decode(bytes.fromhex("01755c03824408040000"), 85, {}).samples[0].values
    assert level_of(upright, codec.measures, STANDS)[0] == pytest.approx(2.884)


def test_stored_history_becomes_readings_at_its_own_times_without_this_frames_radio() -> None:
    codec = registry.find("milesight_em500_swl")
    decoded = codec.decode(bytes.fromhex("03770f00 20ce9e7446630a00 20ce1e7746630c00"), 85, {})
    readings, problems = to_readings(decoded, codec, Installation(), hearing(), LIMITS)
    assert problems == []
    assert [(reading.time.year, reading.level_m, reading.rssi_dbm, reading.seq) for reading in readings] == [
        (2026, 0.15, -97.0, 7),
        (2022, 0.1, None, None),
        (2022, 0.12, None, None),
    ]


def test_history_of_a_device_that_has_no_time_is_no_reading() -> None:
    codec = registry.find("milesight_em500_swl")
    decoded = codec.decode(bytes.fromhex("20ce000000000a00"), 85, {})
    readings, problems = to_readings(decoded, codec, Installation(), hearing(), LIMITS)
    assert readings == []
    assert len(problems) == 1


def test_a_status_frame_gives_no_reading() -> None:
    codec = registry.find("milesight_em400_udl")
    decoded = codec.decode(bytes.fromhex("ff0bffff0101ff166329c42903640033ff090100ff0a0101ff0f00017564"), 85, {})
    assert to_readings(decoded, codec, STANDS, hearing(), LIMITS) == ([], [])


def test_a_confirmed_key_is_told_as_confirmed_and_not_shown() -> None:
    key = "5572404c696e6b4c"
    decoded = registry.find("milesight_em500_udl").decode(bytes.fromhex(f"ff35{key} fe03b004"), 85, {})
    assert decoded.frame == {"settings_confirmed": "35 03"}


@pytest.mark.parametrize("model", MODELS)
def test_a_frame_cut_anywhere_keeps_only_what_was_complete(model: str) -> None:
    codec = registry.find(model)
    values = {name: high for name, (_, high) in codec.ranges.items()}
    whole = codec.encode(values, {})
    for length in range(len(whole)):
        try:
            decoded = codec.decode(whole[:length], 85, {})
        except PayloadRefused:
            assert length < 3
            continue
        found = {**decoded.frame, **(decoded.samples[0].values if decoded.samples else {})}
        assert found.items() <= values.items()


def test_a_position_that_nobody_knows_is_told() -> None:
    decoded = registry.find("milesight_em400_mud").decode(bytes.fromhex("04824408 050007"), 85, {})
    assert decoded.samples[0].values == {"distance_m": 2.116}
    assert "tilted 7" in decoded.problems[0]


@pytest.mark.parametrize(
    ("model", "frame"),
    [("milesight_em310_udl", "01755c 03824408 040001"), ("milesight_em400_mud", "01755c 03670101 04824408 050001")],
)
@pytest.mark.parametrize("missing", [1, 2])
def test_a_tilted_sensors_frame_cut_off_within_the_tilt_gives_no_distance(model: str, frame: str, missing: int) -> None:
    decoded = registry.find(model).decode(bytes.fromhex(frame)[:-missing], 85, {})
    assert not any("distance_m" in sample.values for sample in decoded.samples)
    assert "tilted was cut off" in decoded.problems[-1]
