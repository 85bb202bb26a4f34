"""What ``add-device`` accepts, and what it says of what it does not."""

import argparse

import pytest

from app.registration import NotRegistered, add_arguments, settle
from streamgauge.storage.devices import Registration

WEIR = Registration(
    name="weir", dev_eui="70B3D57BA000012F", model="decentlab_dl_pr26", parameters={"Pmin": 0.0, "Pmax": 1.0}
)


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["weir", *arguments])


def settled(known: Registration, *arguments: str) -> Registration:
    return settle(known, options(*arguments))


def test_a_sensor_with_everything() -> None:
    assert settled(
        Registration(name="weir"),
        *("--dev-eui", "70-b3-d5-7b-a0-00-01-2f", "--model", "decentlab/dl-pr26"),
        *("--parameter", "pmin=0", "--parameter", "Pmax=1", "--installation", "sensor_height_m=-0.25"),
    ) == Registration(
        name="weir",
        dev_eui="70B3D57BA000012F",
        model="decentlab_dl_pr26",
        parameters={"Pmin": 0.0, "Pmax": 1.0},
        installation={"sensor_height_m": -0.25},
    )


def test_parameters_are_kept_as_they_are_declared_however_they_are_spelled() -> None:
    registered = settled(WEIR, "--parameter", "p_max=5", "--installation", "Sensor-Height-m=1")
    assert registered.parameters == {"Pmin": 0.0, "Pmax": 5.0}
    assert registered.installation == {"sensor_height_m": 1.0}


def test_a_device_that_speaks_for_itself_needs_a_name_only() -> None:
    assert settled(Registration(name="weir")) == Registration(name="weir")


def test_an_update_changes_what_is_given_and_takes_away_what_is_emptied() -> None:
    changed = settled(WEIR, "--parameter", "Pmax=5", "--installation", "offset_m=0.02")
    assert (changed.parameters, changed.installation) == ({"Pmin": 0.0, "Pmax": 5.0}, {"offset_m": 0.02})
    assert settled(changed, "--installation", "offset_m=").installation == {}
    assert (changed.model, changed.dev_eui) == (WEIR.model, WEIR.dev_eui)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dev-eui", "70B3D57BA000012"], "16 hexadecimal digits"),
        (["--model", "decentlab_dl_mbz"], "decentlab_dl_mbx"),
        (["--model", "decentlab_dl_mbx"], "Pm"),  # Its parameters are not those of the model before.
        (["--parameter", "Pmax=much"], "Pmax=much: the value must be a number"),
        (["--parameter", "Pmax=nan"], "must be a number"),
        (["--parameter", "Pmax=1e9"], "must lie in"),
        (["--parameter", "Pmax="], "Pmax is missing"),
        (["--parameter", "depth=1"], "depth"),
        (["--installation", "sensor_height_m=1e6"], "sensor_height_m .*must lie in"),
        (["--installation", "height=1"], "height"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], words: str) -> None:
    with pytest.raises(NotRegistered, match=words):
        settled(WEIR, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--dev-eui", "70B3D57BA000012F"], "needs --model"), (["--parameter", "Pmax=1"], "belong to a model")],
)
def test_a_dev_eui_and_parameters_need_a_model(arguments: list[str], words: str) -> None:
    with pytest.raises(NotRegistered, match=words):
        settled(Registration(name="weir"), *arguments)


def test_a_name_that_the_wire_cannot_carry_is_refused() -> None:
    with pytest.raises(NotRegistered, match="1–64"):
        settled(Registration(name="Oker/Brücke"))


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(NotRegistered) as caught:
        settled(WEIR, "--parameter", "Pmax=much", "--installation", "height=1")
    assert "Pmax" in str(caught.value)
    assert "height" in str(caught.value)


def test_what_is_set_for_the_checks_is_kept_changed_and_taken_away() -> None:
    known = settled(WEIR, "--quality", '{"rate_suspect_m_per_h": 12, "neighbours": ["mill"]}')
    assert known.quality == {"rate_suspect_m_per_h": 12, "neighbours": ["mill"]}
    assert settled(known).quality == known.quality
    assert settled(known, "--quality", '{"neighbours": null, "spike_fail_m": 1}').quality == {
        "rate_suspect_m_per_h": 12,
        "spike_fail_m": 1,
    }


@pytest.mark.parametrize("quality", ["{", "3", '{"spike_m": 1}', '{"flat_tolerance_m": 0, "barometer": 4}'])
def test_what_the_checks_cannot_use_is_refused(quality: str) -> None:
    with pytest.raises(NotRegistered, match="--quality"):
        settled(WEIR, "--quality", quality)
