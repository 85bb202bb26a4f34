"""``python -m gateway decode`` says what a payload holds, under the wire's names, or why it is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "vectors" / "sensor_payloads.json").read_text())["vectors"]
OURS = {
    "distance": ("distance_m", 0.001),
    "water_depth": ("depth_m", 0.001),
    "temperature": ("temperature_c", 1.0),
    "battery_voltage": ("battery_v", 1.0),
    "battery": ("battery_percent", 1.0),
    "Bat": ("battery_v", 1.0),
}


def decode(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    status = main(["decode", *arguments])
    printed = capsys.readouterr()
    return status, json.loads(printed.out) if printed.out else printed.err


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["device"])
def test_published_payloads(capsys: pytest.CaptureFixture[str], vector: Any) -> None:
    parameters = [word for name, value in vector["parameters"].items() for word in ("--param", f"{name}={value}")]
    status, shown = decode(
        capsys, "--model", vector["device"], "--fport", str(vector["fport"]), "--hex", vector["bytes_hex"], *parameters
    )
    assert status == 0
    for name, value in vector["expected"].items():
        if name in OURS and not isinstance(value, str):
            ours, scale = OURS[name]
            assert shown[ours] == pytest.approx(value * scale, abs=1e-9)


def test_the_installation_gives_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    payload = ("--model", "decentlab_dl_mbx", "--fport", "1", "--hex", "02 01 2f 00 03 04 d2 00 01 0b b1")
    _, without = decode(capsys, *payload)
    assert "level_m" not in without
    assert "sensor_height_m" in without["problems"][0]
    _, shown = decode(capsys, *payload, "--param", "sensor_height_m=3", "--param", "offset_m=0.1")
    assert shown["level_m"] == pytest.approx(3 - 1.234 + 0.1)


@pytest.mark.parametrize(
    "spelled",
    [
        "02012F000304D200010BB1",
        "0x02012f000304d200010bb1",
        "0X02012f000304d200010bb1",
        "02:01:2f:00:03:04:d2:00:01:0b:b1",
        "0x02 0x01 0x2f 0x00 0x03 0x04 0xd2 0x00 0x01 0x0b 0xb1",
        "[0x02, 0x01, 0x2f, 0x00, 0x03, 0x04, 0xd2, 0x00, 0x01, 0x0b, 0xb1]",
        "02-01-2f-00-03\n04-d2-00-01-0b-b1\n",
    ],
)
def test_a_payload_may_be_copied_as_logs_and_manuals_write_it(capsys: pytest.CaptureFixture[str], spelled: str) -> None:
    _, shown = decode(capsys, "--model", "DL-MBX", "--hex", spelled)
    assert shown["distance_m"] == pytest.approx(1.234)


@pytest.mark.parametrize(
    "spelled", [("SENSOR_HEIGHT_M=3", "pmin=0", "PMAX=1"), ("sensor-height-m=3", "P_min=0", "P-max=1")]
)
def test_parameters_may_be_spelled_freely(capsys: pytest.CaptureFixture[str], spelled: tuple[str, ...]) -> None:
    given = [word for item in spelled for word in ("--param", item)]
    _, shown = decode(capsys, "--model", "decentlab_dl_pr26", "--hex", "020167000346be60000c60", *given)
    assert shown["level_m"] == pytest.approx(3.53728, abs=1e-5)
    assert shown["temperature_c"] == 25.6


def test_a_status_frames_battery_stands_where_every_battery_stands(capsys: pytest.CaptureFixture[str]) -> None:
    _, shown = decode(capsys, "--model", "decentlab_dl_mbx", "--hex", "02012f00020bb1")
    assert shown["battery_v"] == pytest.approx(2.993)
    assert "battery_v" not in shown["frame"]
    assert "level_m" not in shown


def test_a_probe_without_its_range_is_told_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    status, words = decode(capsys, "--model", "decentlab_dl_pr26", "--hex", "02016700033e8060170c7f")
    assert status == 2
    assert "Pmax" in words


def test_what_is_no_such_payload_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = decode(capsys, "--model", "decentlab_dl_mbx", "--fport", "1", "--hex", "00")
    assert status == 1
    assert shown["refused"]
    assert "level_m" not in shown


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--model", "decentlab_dl_mbq", "--hex", "00"), "decentlab_dl_mbx"),
        (("--model", "cayenne_lpp", "--hex", "0"), "1 digits"),
        (("--model", "cayenne_lpp", "--hex", "100x12"), "'x' is no hexadecimal digit"),
        (("--model", "cayenne_lpp", "--hex", "AgEvAAME0gABC7E="), "base64"),
        (("--model", "cayenne_lpp", "--hex", "00", "--param", "offset_m=1", "--param", "OFFSET_M=2"), "given twice"),
        (("--model", "decentlab_dl_mbx", "--hex", "00", "--param", "sensor_height=3"), "sensor_height_m"),
        (("--model", "cayenne_lpp", "--hex", "00", "--param", "x"), "name=number"),
        (("--model", "cayenne_lpp", "--hex", "00", "--param", "x=1"), "x is no parameter"),
        (("--hex", "00"), "--model"),
        (("--layout", "none.toml", "--hex", "00"), "none.toml"),
    ],
)
def test_bad_arguments_say_what_to_type(capsys: pytest.CaptureFixture[str], arguments: Any, word: str) -> None:
    status, words = decode(capsys, *arguments)
    assert status == 2
    assert word in words


def test_every_model_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "decentlab_dl_pr26" in capsys.readouterr().out


def test_a_sealed_key_and_a_token_are_lines_of_the_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STREAMGAUGE_GATEWAY_KEY", "k" * 40)
    typed = tmp_path / "typed"
    typed.write_text("000102030405060708090a0b0c0d0e0f\n")
    with typed.open() as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        assert main(["seal", "--dev-eui", "70-B3-D5-7E-D0-00-00-01"]) == 0
    line = capsys.readouterr().out
    assert line.startswith('app_key = "sealed:v1:')
    assert "0102030405" not in line
    assert main(["token"]) == 0
    assert "token_sha256 = " in capsys.readouterr().out
