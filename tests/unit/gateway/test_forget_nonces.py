"""``python -m gateway forget-nonces``: on a stopped gateway's file, and saying what it means."""

import fcntl
from pathlib import Path

import pytest
from lorawan_field import Field, Sensor, otaa_device

from gateway.__main__ import main
from gateway.radio.heard import JoinAccepted, Refused

DEV_EUI = "00-00-00-00-00-00-00-01"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {
        "GATEWAY_NAME": "weir-house",
        "GATEWAY_DIR": str(tmp_path),
        "GATEWAY_CONFIG_FILE": str(tmp_path / "gateway.toml"),
        "MQTT_URL": "mqtt://localhost",
    }.items():
        monkeypatch.setenv(f"STREAMGAUGE_{name}", value)
    (tmp_path / "buffer.lock").touch()
    return tmp_path


def test_a_device_that_lost_its_memory_may_join_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sensor = Sensor(otaa_device())
    field = Field(folder / "sessions.db", [sensor.device])
    field.join(sensor)
    request = Sensor(sensor.device).join_request()
    field.pass_time(60)
    assert isinstance(field.hear(request), Refused)
    field.store.close()
    assert main(["forget-nonces", "--dev-eui", DEV_EUI]) == 0
    printed = capsys.readouterr().out
    assert "1 used DevNonces are forgotten" in printed
    assert "play them back" in printed
    field.pass_time(60)
    field.start()
    assert isinstance(field.hear(request), JoinAccepted)


def test_a_running_gateways_file_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Field(folder / "sessions.db", []).store.close()
    with (folder / "buffer.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["forget-nonces", "--dev-eui", DEV_EUI]) == 1
    assert "stop it first" in capsys.readouterr().err


def test_what_cannot_be_done_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget-nonces", "--dev-eui", "12"]) == 2
    assert "16 hexadecimal digits" in capsys.readouterr().err
    assert main(["forget-nonces", "--dev-eui", DEV_EUI]) == 1
    assert "has this gateway ever run" in capsys.readouterr().err
    (folder / "buffer.lock").unlink()
    assert main(["forget-nonces", "--dev-eui", DEV_EUI]) == 1
