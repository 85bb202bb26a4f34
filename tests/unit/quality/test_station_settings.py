"""What may be set for a station's checks: everything wrong is named at once, and nothing wrong stops readings."""

import logging

import pytest

from streamgauge.quality.station import StationQuality, read_station_quality, sound_station_quality


def test_all_that_can_be_set() -> None:
    settings = {
        "rate_suspect_m_per_h": 12,
        "climatology": {"DJF": [0.1, 2.5]},
        "neighbours": ["upper-mill", "upper-mill", "weir"],
        "barometer": "mast",
        "pressure": "probe",
        "upstream": ["weir"],
        "rainfall": "mast",
        "spike_fail_m": None,
    }
    quality = read_station_quality(settings)
    assert quality == StationQuality(
        parameters={"rate_suspect_m_per_h": 12, "climatology": {"DJF": [0.1, 2.5]}},
        neighbours=("upper-mill", "weir"),
        barometer="mast",
        probe_pressure=True,
        upstream=("weir",),
        rainfall="mast",
    )
    assert quality.has_companions
    assert not read_station_quality(None).has_companions


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ([], "JSON object"),
        ({"flat_tolerance_m": 0}, "flat_tolerance_m"),
        ({"spike_m": 1}, "spike_m"),
        ({"spike_fail_m": "much"}, "spike_fail_m"),
        ({"spike_fail_m": True}, "spike_fail_m"),
        ({"rate_suspect_m_per_h": 10**400}, "rate_suspect_m_per_h"),
        ({"climatology": {"13": [0, 1]}}, "13"),
        ({"climatology": {"1": [2, 1]}}, "climatology of 1"),
        ({"climatology": 3}, "climatology"),
        ({"neighbours": "weir"}, "neighbours"),
        ({"neighbours": ["a"] * 9}, "neighbours"),
        ({"barometer": "a/b"}, "barometer"),
        ({"pressure": "air"}, "pressure"),
        ({"gross_min_m": 3, "gross_max_m": 1}, "gross_min_m"),
    ],
)
def test_what_cannot_be_used_is_named(settings, named) -> None:
    with pytest.raises(ValueError, match=named):
        read_station_quality(settings)


def test_several_faults_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"flat_line_s.*barometer"):
        read_station_quality({"flat_line_s": -1, "barometer": ""})


def test_readings_go_on_with_what_is_sound(caplog) -> None:
    with caplog.at_level(logging.ERROR):
        quality = sound_station_quality({"flat_line_s": -1, "spike_fail_m": 0.8}, "weir")
    assert quality.parameters == {"spike_fail_m": 0.8}
    assert caplog.records[0].device == "weir"
    assert "flat_line_s" in caplog.records[0].problems
