from pathlib import Path

import pytest

from simulator.addresses import broker_of, http_url_of, look_around, token_of
from simulator.errors import InputFault, Refused
from simulator.mqtt_link import Broker
from streamgauge.errors import SettingsError


def home(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "urls.env").write_text(text, encoding="utf-8")
    return {"STREAMGAUGE_HOME": str(tmp_path)}


def test_addresses_come_from_the_running_system_where_the_environment_is_silent(tmp_path: Path) -> None:
    text = (
        "# written by make up\nSTREAMGAUGE_MQTT_URL=mqtt://u:p%20q@127.0.0.1:1884\n"
        "STREAMGAUGE_DATABASE_URL=postgresql://x@y/z\nSTREAMGAUGE_HTTP_URL='http://h:1'\n"
    )
    around = look_around({**home(tmp_path, text), "STREAMGAUGE_HTTP_URL": "http://mine:2"})
    assert around.taken == ("STREAMGAUGE_MQTT_URL",)
    assert http_url_of(around, None) == "http://mine:2"
    assert http_url_of(around, "http://given") == "http://given"
    broker = broker_of(around)
    assert (broker.host, broker.port, broker.username, broker.password) == ("127.0.0.1", 1884, "u", "p q")
    assert "p q" not in repr(broker) + str(broker)


def test_a_secret_in_a_file_counts_as_set(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("mqtts://broker.example\n", encoding="utf-8")
    around = look_around(
        {**home(tmp_path, "STREAMGAUGE_MQTT_URL=mqtt://a:1\n"), "STREAMGAUGE_MQTT_URL_FILE": str(secret)}
    )
    assert around.taken == ()
    assert str(broker_of(around)) == "mqtts://broker.example:8883"


def test_nothing_to_go_by_is_said(tmp_path: Path) -> None:
    around = look_around({"STREAMGAUGE_HOME": str(tmp_path)})
    with pytest.raises(SettingsError, match="STREAMGAUGE_MQTT_URL is required"):
        broker_of(around)
    with pytest.raises(InputFault, match="make up"):
        http_url_of(around, None)


def test_tokens(tmp_path: Path) -> None:
    around = look_around({"STREAMGAUGE_HOME": str(tmp_path), "STREAMGAUGE_API_TOKEN": "from-env"})
    assert token_of(around, None) == "from-env"
    file = tmp_path / "token"
    file.write_text("from-file\n", encoding="utf-8")
    assert token_of(around, file) == "from-file"
    file.write_text("two words", encoding="utf-8")
    with pytest.raises(InputFault):
        token_of(around, file)
    with pytest.raises(InputFault):
        token_of(around, tmp_path / "none")


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(Refused):
        Broker.from_url("http://host")
