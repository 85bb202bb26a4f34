from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputFault
from simulator.fleet import SensorCard
from simulator.instrument import Instrument, usual_installation
from streamgauge.payloads import registry
from streamgauge.reading import Reading

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
PARAMETERS = {
    "decentlab_dl_pr21": {"Pmin": 0.0, "Pmax": 1.0},
    "decentlab_dl_pr26": {"Pmin": 0.0, "Pmax": 0.3},
    "decentlab_dl_pr36": {"kp": 16_384.0},
    "cayenne_lpp": {"level_channel": 1.0, "distance_channel": 2.0},
}


def card(model: str, **changes: object) -> SensorCard:
    parameters = PARAMETERS.get(model, {})
    fields = {"parameters": parameters, "installation": usual_installation(model, parameters), **changes}
    return SensorCard(name="a", model=model, dev_eui=bytes(8), activation="otaa", **fields)  # type: ignore[arg-type]


MODELS = [model for model in (*registry.models(), "streamgauge_demo") if model != "cayenne_lpp"]
INSTRUMENTS = {model: Instrument(card(model)) for model in MODELS}


def measured(level_m: float, **others: float) -> Reading:
    return Reading(device="a", time=NOW, level_m=level_m, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", MODELS)
@given(share=st.floats(0.0, 1.0))
def test_what_a_gateway_makes_of_a_frame_is_the_level_within_the_resolution(model: str, share: float) -> None:
    instrument = INSTRUMENTS[model]
    low_m, high_m = instrument.levels_m
    level_m = low_m + share * (high_m - low_m)
    found = instrument.expected(instrument.payload(measured(level_m)), NOW, 7)
    assert found.level_m is not None
    assert abs(found.level_m - level_m) <= instrument.resolution_m * 0.51 + 1e-9
    assert (found.device, found.time, found.seq) == ("a", NOW, 7)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("level_m", [-1e6, 1e6])
def test_beyond_its_range_a_sensor_tells_the_ranges_end(model: str, level_m: float) -> None:
    instrument = INSTRUMENTS[model]
    end_m = min(max(level_m, instrument.levels_m[0]), instrument.levels_m[1])
    found = instrument.expected(instrument.payload(measured(level_m)), NOW)
    assert found.level_m == pytest.approx(end_m, abs=instrument.resolution_m)


def test_steps_are_those_of_the_frame() -> None:
    steps = {model: round(instrument.resolution_m * 1_000, 3) for model, instrument in INSTRUMENTS.items()}
    assert steps["decentlab_dl_mbx"] == steps["streamgauge_demo"] == 1.0
    assert steps["milesight_em500_swl"] == 10.0
    assert 0.05 < steps["decentlab_dl_pr26"] < 0.2  # 0.3 bar in 32,768 steps
    assert 90 < steps["milesight_em500_pp"] < 110  # whole kilopascals


def test_frames_take_along_what_the_model_carries() -> None:
    instrument = INSTRUMENTS["streamgauge_demo"]
    found = instrument.expected(
        instrument.payload(measured(1.0, flow_m3_s=2.5, rainfall_mm=0.4, temperature_c=9.25, battery_v=3.1)), NOW
    )
    assert (found.flow_m3_s, found.rainfall_mm, found.temperature_c, found.battery_v) == (2.5, 0.4, 9.25, 3.1)


def test_what_cannot_measure_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InputFault, match="sensor_height_m"):
        Instrument(card("decentlab_dl_mbx", installation={}))
    with pytest.raises(InputFault, match="no codec"):
        Instrument(SensorCard(name="a", model="unheard_of", dev_eui=bytes(8), activation="otaa"))
    with pytest.raises(InputFault, match="Pmin"):
        Instrument(SensorCard(name="a", model="decentlab_dl_pr26", dev_eui=bytes(8), activation="otaa"))
    with pytest.raises(InputFault, match="no level"):
        INSTRUMENTS["decentlab_dl_mbx"].payload(Reading(device="a", time=NOW, temperature_c=1.0))
