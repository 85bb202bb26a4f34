"""Promises that every codec keeps, whatever the values and whatever the bytes."""

import math
import struct
from collections.abc import Mapping

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from streamgauge.payloads import registry
from streamgauge.payloads.base import BATTERY_NAMES, Codec, Decoded, Parameter, PayloadRefused, parameter_problems
from streamgauge.payloads.cayenne_lpp._types import TYPES, UNIX_TIME
from tests.property.hammer_payloads import (
    Example,
    all_examples,
    check,
    examples_of,
    hammer,
    limits_of,
    usable_parameters,
)

MODELS = registry.models()
HALF_A_STEP = 0.5 + 1e-6
FRAMES_PER_MODEL = 3_000

LID_IN_ORDER = (
    "distance_minimum_m",
    "distance_p10_m",
    "distance_p25_m",
    "distance_m",
    "distance_p75_m",
    "distance_p90_m",
    "distance_maximum_m",
)


def parameter_value(parameter: Parameter) -> st.SearchStrategy[float | None]:
    """Any value that is accepted; its default or its absence too, where it may be absent."""
    given_value: st.SearchStrategy[float | None]
    if parameter.whole:
        given_value = st.integers(int(parameter.low), int(parameter.high)).map(float)
    else:
        given_value = st.floats(parameter.low, parameter.high)
    may_be_absent = parameter.optional or parameter.default is not None
    return st.none() | given_value if may_be_absent else given_value


@st.composite
def device_parameters(draw: st.DrawFn, codec: Codec) -> Mapping[str, float]:
    drawn = {parameter.name: draw(parameter_value(parameter)) for parameter in codec.parameters}
    parameters = {name: value for name, value in drawn.items() if value is not None}
    if parameters.get("Pmin", -math.inf) >= parameters.get("Pmax", math.inf):
        parameters["Pmax"] = parameters["Pmin"] + 0.3
    if parameter_problems(codec.parameters, parameters):
        reject()
    return parameters


def within(limits: tuple[float, float]) -> st.SearchStrategy[float]:
    low, high = limits
    if low > high:
        reject()
    return st.just(low) | st.just(high) | st.floats(low, high)


@st.composite
def lpp_values(draw: st.DrawFn) -> dict[str, float]:
    """Some items on some channels, each with all of its numbers."""
    kinds = st.sampled_from([kind for kind in TYPES if kind != UNIX_TIME])
    items = draw(st.lists(st.tuples(st.integers(0, 255), kinds), min_size=1, max_size=8, unique=True))
    return {field.name(channel): draw(within(field.valid)) for channel, kind in items for field in TYPES[kind]}


@st.composite
def live_values(draw: st.DrawFn, codec: Codec, parameters: Mapping[str, float]) -> dict[str, float]:
    """All values that a live frame of this model with these parameters can carry."""
    if codec.model == "cayenne_lpp":
        return draw(lpp_values())
    limits = limits_of(codec, parameters)
    names = [name for name in codec.ranges if not (name == "temperature_c" and parameters.get("ds18b20") == 0.0)]
    values = {name: draw(within(limits[name])) for name in names}
    if "tilted" in values:
        values["tilted"] = float(draw(st.booleans()))
    if codec.model == "decentlab_dl_lid":
        ordered = sorted(values[name] for name in LID_IN_ORDER)
        values |= dict(zip(LID_IN_ORDER, ordered, strict=True))
        for name in ("distance_average_m", "distance_mode_m"):
            values[name] = min(max(values[name], ordered[0]), ordered[-1])
    return values


def step_of(codec: Codec, name: str, parameters: Mapping[str, float]) -> float:
    """The step in which this device's frames carry a value; never more than what the codec states."""
    step = codec.resolutions[name]
    if name == "pressure_kpa" and "Pmax" in parameters:
        return min(step, (parameters["Pmax"] - parameters["Pmin"]) / 32_768 * 100.0)
    if name == "pressure_kpa" and "kp" in parameters:
        return min(step, 100.0 / parameters["kp"])
    return step


def live_values_in(decoded: Decoded) -> dict[str, float]:
    """The live sample's values, or of a frame without one the battery in ``frame``."""
    if decoded.samples:
        return dict(decoded.samples[0].values)
    return {name: float(value) for name, value in decoded.frame.items() if name in BATTERY_NAMES}


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=40)
@given(drawn=st.data())
def test_what_is_encoded_is_decoded_again_within_the_resolution(model: str, drawn: st.DataObject) -> None:
    codec = registry.find(model)
    parameters = drawn.draw(device_parameters(codec))
    values = drawn.draw(live_values(codec, parameters))
    decoded = codec.decode(codec.encode(values, parameters), codec.f_port, parameters)
    assert all(sample.is_live for sample in decoded.samples)
    found = live_values_in(decoded)
    limits = limits_of(codec, parameters)
    for name, value in values.items():
        step = step_of(codec, name, parameters)
        if name not in found:
            # The nearest step may lie just outside of a range whose end is between two steps.
            assert min(abs(value - end) for end in limits[name]) <= step, decoded.problems
            assert decoded.problems
        else:
            assert abs(found[name] - value) <= step * HALF_A_STEP + 1e-12 * abs(value), name


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=30)
@given(drawn=st.data())
def test_a_decoded_frame_is_encoded_to_the_same_values(model: str, drawn: st.DataObject) -> None:
    codec = registry.find(model)
    parameters = drawn.draw(device_parameters(codec))
    values = drawn.draw(live_values(codec, parameters))
    once = codec.decode(codec.encode(values, parameters), codec.f_port, parameters)
    found = live_values_in(once)
    try:
        again = codec.encode(found, parameters)
    except ValueError:
        assert once.problems, "a whole frame was decoded, and cannot be made again"
        return
    assert live_values_in(codec.decode(again, codec.f_port, parameters)) == pytest.approx(found, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("water", ["level", "distance", "depth"])
@given(drawn=st.data())
def test_a_water_value_goes_through_cayenne_lpp_on_its_channel(water: str, drawn: st.DataObject) -> None:
    codec = registry.find("cayenne_lpp")
    unit_m = drawn.draw(st.sampled_from([1.0, 0.1, 0.01, 0.001]))
    parameters = {f"{water}_channel": float(drawn.draw(st.integers(0, 255))), "unit_m": unit_m}
    name = f"{water}_m"
    value = drawn.draw(st.floats(0.0, 327.0 * unit_m))
    (sample,) = codec.decode(codec.encode({name: value}, parameters), codec.f_port, parameters).samples
    assert sample.values[name] == pytest.approx(value, abs=0.005 * unit_m * (1 + 1e-6))


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=60)
@given(payload=st.binary(max_size=64), f_port=st.integers(0, 255), choice=st.randoms(use_true_random=False))
def test_no_bytes_raise_or_leave_the_range(model: str, payload: bytes, f_port: int, choice: object) -> None:
    codec = registry.find(model)
    settings_of_examples = usable_parameters(codec)
    parameters = choice.choice(settings_of_examples)  # type: ignore[attr-defined]
    check(codec, payload, f_port, parameters)
    check(codec, payload, codec.f_port, parameters)


@pytest.mark.parametrize("model", MODELS)
def test_a_hammered_codec_holds(model: str) -> None:
    tally = hammer(registry.find(model), FRAMES_PER_MODEL, seed=1)
    assert tally.frames == FRAMES_PER_MODEL
    assert 0 < tally.refused < tally.frames
    assert tally.levels > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_frame_that_is_cut_anywhere_makes_nothing_new(model: str) -> None:
    """What is left of a frame gives no value that the whole frame does not give."""
    codec = registry.find(model)
    for example in [example for example in examples_of(model) if not example.refused]:
        whole = codec.decode(example.payload, example.f_port, example.parameters)
        if any("was cut off" in problem for problem in whole.problems):
            continue  # Its distance is left out for a byte that is there; cut before that byte, nothing tells of a tilt.
        known = {(name, value) for sample in whole.samples for name, value in sample.values.items()}
        for length in range(len(example.payload)):
            decoded, _ = check(codec, example.payload[:length], example.f_port, example.parameters)
            for sample in decoded.samples if decoded is not None else ():
                assert set(sample.values.items()) <= known, f"cut to {length} bytes: {example.payload.hex()}"


def same_frame_family(model: str) -> str:
    """Models whose frames cannot be told apart by their bytes, as their READMEs say."""
    if model in {"decentlab_dl_pr21", "decentlab_dl_pr26", "decentlab_dl_pr36"}:
        return "two words of pressure"
    return "milesight channels" if model.startswith("milesight") else model


@pytest.mark.parametrize("model", MODELS)
def test_another_models_frame_raises_nothing_and_stays_in_range(model: str) -> None:
    codec = registry.find(model)
    for parameters in usable_parameters(codec):
        for example in all_examples():
            check(codec, example.payload, example.f_port, parameters)
            check(codec, example.payload, codec.f_port, parameters)


@pytest.mark.parametrize("model", [model for model in MODELS if model != "cayenne_lpp"])
def test_another_familys_frame_is_no_level(model: str) -> None:
    """Only frames that are the same byte for byte may pass for another model's; Cayenne LPP has no model at all."""
    codec = registry.find(model)
    mistaken = []
    others = [found for found in all_examples() if same_frame_family(found.model) != same_frame_family(model)]
    for example in [found for found in others if not found.refused]:
        for parameters in usable_parameters(codec):
            _, levels = check(codec, example.payload, example.f_port, parameters)
            if levels:
                mistaken.append((example.model, example.payload.hex(), dict(parameters), levels))
    assert mistaken == []


def not_usable(codec: Codec) -> list[dict[str, float]]:
    required = [p.name for p in codec.parameters if p.default is None and not p.optional]
    beyond = [{**usable_parameters(codec)[0], p.name: p.high + 1.0} for p in codec.parameters]
    return beyond + ([{}] if required else []) + [{**given_, next(iter(given_)): math.nan} for given_ in beyond]


@pytest.mark.parametrize("model", MODELS)
def test_parameters_that_cannot_be_are_a_refusal_and_not_an_error(model: str) -> None:
    codec = registry.find(model)
    live = next(example for example in examples_of(model) if not example.refused)
    for parameters in not_usable(codec):
        assert parameter_problems(codec.parameters, parameters)
        with pytest.raises(PayloadRefused):
            codec.decode(live.payload, live.f_port, parameters)


@pytest.mark.parametrize("model", MODELS)
def test_values_that_a_frame_cannot_carry_are_refused(model: str) -> None:
    codec = registry.find(model)
    parameters = usable_parameters(codec)[0]
    with pytest.raises(ValueError, match="no_such_value_m"):
        codec.encode({"no_such_value_m": 1.0}, parameters)
    for name in list(codec.ranges)[:12]:
        for value in (codec.ranges[name][1] + 1.0, math.nan, math.inf):
            with pytest.raises(ValueError, match=name):
                codec.encode({name: value}, parameters)
    with pytest.raises(ValueError):
        codec.encode({}, parameters)


@pytest.mark.parametrize("model", [model for model in MODELS if model.startswith("decentlab")])
@given(flags=st.integers(0, 0xFFFF), words=st.lists(st.integers(0, 0xFFFF), max_size=14), tail=st.binary(max_size=1))
def test_decentlab_frames_hold_exactly_what_their_flags_announce(
    model: str, flags: int, words: list[int], tail: bytes
) -> None:
    codec = registry.find(model)
    payload = struct.pack(">BHH", 2, 77, flags) + struct.pack(f">{len(words)}H", *words) + tail
    decoded, _ = check(codec, payload, 1, usable_parameters(codec)[0])
    if flags & ~0b11:
        assert decoded is None
    elif decoded is not None and not decoded.problems:
        assert tail == b""
        assert decoded.frame["device_id"] == 77


def test_an_example_is_an_example() -> None:
    assert {example.model for example in all_examples()} == set(MODELS)
    assert all(isinstance(example, Example) for example in all_examples())
