"""Payloads of real sensors and what their makers or the device catalogue publish for them."""

import json
from pathlib import Path
from typing import Any

import pytest

from streamgauge.payloads import registry

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "vectors" / "sensor_payloads.json").read_text("utf-8")
)["vectors"]

OURS: dict[str, dict[str, tuple[str, float]]] = {
    "decentlab_dl_mbx": {"distance": ("distance_m", 0.001)},
    "decentlab_dl_ctd10": {
        "water_depth": ("depth_m", 0.001),
        "temperature": ("temperature_c", 1.0),
        "electrical_conductivity": ("conductivity_us_cm", 1.0),
        "freezing_flag": ("freezing", 1.0),
    },
    "decentlab_dl_lid": {
        "distance_average": ("distance_average_m", 0.001),
        "distance_minimum": ("distance_minimum_m", 0.001),
        "distance_maximum": ("distance_maximum_m", 0.001),
        "distance_median": ("distance_m", 0.001),
        "distance_10th_percentile": ("distance_p10_m", 0.001),
        "distance_25th_percentile": ("distance_p25_m", 0.001),
        "distance_75th_percentile": ("distance_p75_m", 0.001),
        "distance_90th_percentile": ("distance_p90_m", 0.001),
        "distance_most_frequent_value": ("distance_mode_m", 0.001),
        "total_acquisition_time": ("total_acquisition_time_ms", 1.0),
    },
    "decentlab_dl_pr26": {"pressure": ("pressure_kpa", 100.0), "temperature": ("temperature_c", 1.0)},
    "decentlab_dl_pr36": {"pressure": ("pressure_kpa", 100.0), "temperature": ("temperature_c", 1.0)},
    "milesight_em500_swl": {"level": ("depth_m", 0.01)},
    "milesight_em500_udl": {"distance": ("distance_m", 0.001)},
    "milesight_em500_pp": {"pressure": ("pressure_kpa", 1.0)},
    "milesight_em310_udl": {"distance": ("distance_m", 0.001), "tilt": ("tilted", 1.0)},
    "dragino_ldds45": {
        "Bat": ("battery_v", 1.0),
        "Distance": ("distance_m", 0.001),
        "Interrupt_flag": ("interrupt", 1.0),
        "Sensor_flag": ("sensor_found", 1.0),
        "TempC_DS18B20": ("temperature_c", 1.0),
    },
    "cayenne_lpp": {"temperature_3": ("temperature_3_c", 1.0), "temperature_5": ("temperature_5_c", 1.0)},
}
"""Per model: the source's name → ours, and one of the source's units in ours."""

EVERYWHERE = {"battery_voltage": ("battery_v", 1.0), "battery": ("battery_percent", 1.0)}


def as_number(published: object) -> float:
    """A published value, which may be a number inside a text, or the word that stands for 1."""
    if published == "tilt":
        return 1.0
    return float(str(published).split()[0])


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{vector['device']} {vector['bytes_hex']}" for vector in VECTORS])
def test_a_published_payload_decodes_to_what_is_published(vector: dict[str, Any]) -> None:
    codec = registry.find(vector["device"])
    decoded = codec.decode(bytes.fromhex(vector["bytes_hex"]), vector["fport"], vector["parameters"])
    (sample,) = decoded.samples
    found = {**decoded.frame, **sample.values}
    for name, published in vector["expected"].items():
        ours, unit = {**EVERYWHERE, **OURS[codec.model]}.get(name, (name, 1.0))
        assert float(found[ours]) == pytest.approx(as_number(published) * unit, rel=1e-9, abs=1e-9), name
    assert decoded.problems == ()


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{vector['device']} {vector['bytes_hex']}" for vector in VECTORS])
def test_a_published_payload_is_made_again_from_its_values(vector: dict[str, Any]) -> None:
    codec = registry.find(vector["device"])
    payload = bytes.fromhex(vector["bytes_hex"])
    (sample,) = codec.decode(payload, vector["fport"], vector["parameters"]).samples
    again = codec.encode(sample.values, vector["parameters"])
    (repeated,) = codec.decode(again, codec.f_port, vector["parameters"]).samples
    assert dict(repeated.values) == pytest.approx(dict(sample.values), rel=1e-12)
    assert len(again) == len(payload)
