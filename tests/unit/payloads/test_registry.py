"""How models are found by name."""

import subprocess
import sys

import pytest

from streamgauge.errors import PermanentError
from streamgauge.payloads import registry
from streamgauge.payloads.base import Parameter, parameter_problems, settle_parameters
from streamgauge.payloads.parameters import complete


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("decentlab_dl_mbx", "decentlab_dl_mbx"),
        ("decentlab/dl-mbx", "decentlab_dl_mbx"),
        (" Decentlab DL-MBX ", "decentlab_dl_mbx"),
        ("milesight-iot/em500-swl", "milesight_em500_swl"),
        ("milesight/EM500-SWL", "milesight_em500_swl"),
        ("generic/cayenne-lpp", "cayenne_lpp"),
        ("dragino/ldds45", "dragino_ldds45"),
        ("DL-MBX", "decentlab_dl_mbx"),
        ("em500-swl", "milesight_em500_swl"),
        ("EM500SWL", "milesight_em500_swl"),
        ("LDDS45", "dragino_ldds45"),
        ("CayenneLPP", "cayenne_lpp"),
    ],
)
def test_a_model_is_found_however_it_is_spelled(spelling: str, model: str) -> None:
    assert registry.find(spelling).model == model


@pytest.mark.parametrize("model", registry.models())
def test_every_registered_model_has_its_codec(model: str) -> None:
    assert registry.find(model) is registry.find(model.upper().replace("_", "-"))


def test_an_unknown_model_is_refused_with_near_names() -> None:
    with pytest.raises(registry.UnknownModel, match="decentlab_dl_mbx") as refusal:
        registry.find("decentlab/dl-mbz")
    assert isinstance(refusal.value, PermanentError)
    assert refusal.value.model == "decentlab/dl-mbz"


def test_a_model_like_no_other_is_refused_with_all_names() -> None:
    with pytest.raises(registry.UnknownModel, match="milesight_em500_swl"):
        registry.find("")


def test_no_codec_is_imported_before_it_is_asked_for() -> None:
    program = (
        "import sys; from streamgauge.payloads import registry; registry.models();"
        "assert not [name for name in sys.modules if name.endswith('.codec')];"
        "registry.find('decentlab_dl_mbx');"
        "assert [name for name in sys.modules if name.endswith('.codec')] == ['streamgauge.payloads.decentlab_dl_mbx.codec']"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


PROBE = (
    Parameter(name="Pmin", unit="bar", doc="lower end", low=-1.0, high=10.0),
    Parameter(name="Pmax", unit="bar", doc="upper end", low=0.05, high=300.0),
    Parameter(name="channel", unit="", doc="which", low=0, high=255, optional=True, whole=True),
    Parameter(name="unit_m", unit="m", doc="scale", default=1.0, low=0.001, high=10.0),
)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"Pmin": 0.0}, "Pmax is missing: upper end"),
        ({"Pmin": -2.0, "Pmax": 1.0}, "Pmin is -2.0, but must lie in -1 to 10 bar"),
        ({"Pmin": float("nan"), "Pmax": 1.0}, "Pmin is nan"),
        ({"Pmin": 1.0, "Pmax": 1.0}, "Pmax must be greater than Pmin"),
        ({"Pmin": 0.0, "Pmax": 1.0, "channel": 1.5}, "channel is 1.5, but must be a whole number"),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_wrong(given: dict[str, float], problem: str) -> None:
    assert [found for found in parameter_problems(PROBE, given) if problem in found]
    with pytest.raises(ValueError, match=problem.split(":", maxsplit=1)[0].split(",", maxsplit=1)[0]):
        settle_parameters(PROBE, given)


def test_a_parameter_that_is_given_twice_is_named() -> None:
    values, problems = complete({"Pmin": 0.0, "pmin": 1.0, "Pmax": 2.0}, PROBE)
    assert not values
    assert "Pmin is given twice" in problems[0]


def test_an_unknown_parameter_is_named_with_those_that_there_are() -> None:
    problems = parameter_problems(PROBE, {"Pmin": 0.0, "Pmax": 1.0, "kp": 8192})
    assert problems == ["kp is no parameter here (there are: Pmin, Pmax, channel, unit_m)"]


def test_good_parameters_are_settled_with_their_defaults() -> None:
    assert parameter_problems(PROBE, {"Pmin": 0, "Pmax": 1}) == []
    assert settle_parameters(PROBE, {"Pmin": 0, "Pmax": 1}) == {"Pmin": 0, "Pmax": 1, "unit_m": 1.0}
