"""Dragino's fixed frames: each field in its place, and no distance where the manual says that there is none."""

import pytest

from streamgauge.payloads import registry
from streamgauge.payloads.base import PayloadRefused

MODELS = ["dragino_ldds45", "dragino_llds12"]
VALUES = {"distance_m": 2.5, "battery_v": 3.55, "temperature_c": -7.3}


@pytest.mark.parametrize("model", MODELS)
def test_a_frame_is_read_as_it_was_written(model: str) -> None:
    codec = registry.find(model)
    decoded = codec.decode(codec.encode(VALUES, {}), 2, {})
    assert decoded.samples[0].values == VALUES
    assert decoded.problems == ()


@pytest.mark.parametrize("model", MODELS)
def test_without_a_probe_there_is_no_temperature_either_way(model: str) -> None:
    codec = registry.find(model)
    without = {name: value for name, value in VALUES.items() if name != "temperature_c"}
    encoded = codec.encode(without, {"ds18b20": 0.0})
    assert codec.decode(encoded, 2, {"ds18b20": 0.0}).samples[0].values == without
    assert codec.decode(encoded, 2, {}).samples[0].values == {**without, "temperature_c": 0.0}
    with pytest.raises(ValueError, match="temperature_c"):
        codec.encode(VALUES, {"ds18b20": 0.0})


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("missing", VALUES)
def test_a_fixed_frame_needs_all_of_its_values(model: str, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        registry.find(model).encode({name: value for name, value in VALUES.items() if name != missing}, {})


@pytest.mark.parametrize("model", MODELS)
def test_every_other_length_and_port_is_refused(model: str) -> None:
    codec = registry.find(model)
    whole = codec.encode(VALUES, {})
    for f_port in (0, 1, 3, 4, 85, 224):
        with pytest.raises(PayloadRefused, match=f"FPort {f_port}"):
            codec.decode(whole, f_port, {})
    for length in range(20):
        if length != len(whole):
            with pytest.raises(PayloadRefused, match="bytes"):
                codec.decode((whole + b"\x00" * 12)[:length], 2, {})
        if length != 7:
            with pytest.raises(PayloadRefused, match="status"):
                codec.decode(b"\x01" * length, 5, {})


@pytest.mark.parametrize("strength", [0, 99, 100, 65_535])
def test_an_echo_that_is_not_to_be_trusted_gives_no_distance(strength: int) -> None:
    codec = registry.find("dragino_llds12")
    frame = bytearray(codec.encode(VALUES, {}))
    frame[6:8] = strength.to_bytes(2, "big")
    decoded = codec.decode(bytes(frame), 2, {})
    assert "distance_m" not in decoded.samples[0].values
    assert decoded.frame["signal_strength"] == strength
    assert f"signal strength {strength}" in decoded.problems[0]


@pytest.mark.parametrize("distance_mm", [0, 20, 29, 4_501, 65_535])
def test_a_distance_that_the_ultrasonic_sensor_cannot_see_is_none(distance_mm: int) -> None:
    codec = registry.find("dragino_ldds45")
    frame = bytearray(codec.encode(VALUES, {}))
    frame[2:4] = distance_mm.to_bytes(2, "big")
    decoded = codec.decode(bytes(frame), 2, {})
    assert "distance_m" not in decoded.samples[0].values
    assert len(decoded.problems) == 1


def test_a_status_with_an_impossible_battery_keeps_the_rest() -> None:
    decoded = registry.find("dragino_ldds45").decode(bytes.fromhex("16010307ff0000"), 5, {})
    assert decoded.frame == {
        "sensor_model": 22,
        "firmware_version": "1.0.3",
        "frequency_band": "AS923",
        "sub_band": 255,
    }
    assert "battery_v 0" in decoded.problems[0]


@pytest.mark.parametrize(("model", "place"), [("dragino_ldds45", 4), ("dragino_ldds45", 7), ("dragino_llds12", 8)])
def test_a_flag_that_is_neither_0_nor_1_is_another_models(model: str, place: int) -> None:
    codec = registry.find(model)
    frame = bytearray(codec.encode(VALUES, {}))
    frame[place] = 2
    with pytest.raises(PayloadRefused, match="another model's"):
        codec.decode(bytes(frame), 2, {})
