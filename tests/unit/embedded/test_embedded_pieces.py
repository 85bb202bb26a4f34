"""Ports, settings, the home folder, generated secrets: the small pieces of the embedded stack."""

import json
import os
import socket
import stat
import tomllib
from pathlib import Path

import pytest

from embedded.account import reaches, server_folder
from embedded.errors import CannotStart
from embedded.firsts import keep_login, load_secrets
from embedded.gateway_file import EMPTY
from embedded.gateway_file import main as write_gateway_file
from embedded.home import Home, Lock, publish, read_published, write_private
from embedded.parts import Place, product
from embedded.ports import ANY_PORTS, LOOPBACK, any_free, is_free, is_free_for_datagrams, preferred_or_next
from embedded.processes import Account
from embedded.programs import plain_environment
from embedded.settings import load
from streamgauge.errors import SettingsError


@pytest.fixture
def taken_port():
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_port_with_a_listener_is_not_free(taken_port):
    assert not is_free(taken_port)


def test_the_next_port_is_taken_when_the_preferred_one_is_not_free(taken_port):
    assert preferred_or_next(taken_port) > taken_port


def test_a_port_that_is_taken_for_datagrams_is_free_for_connections_only():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((LOOPBACK, 0))
        port = receiver.getsockname()[1]
        assert not is_free_for_datagrams(port)
        assert preferred_or_next(port, fits=is_free_for_datagrams) > port


def test_a_port_promised_to_another_part_is_not_given_again():
    first = any_free()
    assert preferred_or_next(first, taken={first}) != first


def test_no_free_port_is_said_plainly(taken_port):
    with pytest.raises(CannotStart, match=str(taken_port)):
        preferred_or_next(taken_port, tries=1)


def test_random_ports_stay_below_the_ephemeral_range():
    # Otherwise a client's own end may take the port of a server that is being restarted.
    assert any_free() in ANY_PORTS
    assert ANY_PORTS.stop <= 32_768


def test_settings_have_defaults_and_an_absolute_home():
    settings = load({})
    assert settings.home == Path(".streamgauge").absolute()
    assert (settings.http_port, settings.broker_kind, settings.database_url) == (8000, "auto", None)
    assert (settings.gateway_udp_port, settings.gateway_http_port, settings.gateway_key) == (1700, 8070, None)


def test_every_bad_setting_is_named_in_one_error():
    environ = {
        "STREAMGAUGE_HTTP_PORT": "99999",
        "STREAMGAUGE_EMBEDDED_BROKER": "carrier pigeon",
        "STREAMGAUGE_DATABASE_URL": "mysql://root:hunter2@db/x",
        "STREAMGAUGE_SECRET_KEY_FILE": "/nonexistent/key",
    }
    with pytest.raises(SettingsError) as caught:
        load(environ)
    assert len(caught.value.problems) == 4
    assert all(any(name.removesuffix("_FILE") in problem for problem in caught.value.problems) for name in environ)
    assert "hunter2" not in str(caught.value)


def test_a_setting_is_read_from_a_mounted_file(tmp_path):
    secret = tmp_path / "url"
    secret.write_text("redis://:pw@cache:6379/0\n")
    assert load({"STREAMGAUGE_REDIS_URL_FILE": str(secret)}).redis_url == "redis://:pw@cache:6379/0"


def test_addresses_never_show_in_a_representation():
    assert "hunter2" not in repr(load({"STREAMGAUGE_MQTT_URL": "mqtt://u:hunter2@broker"}))


def test_the_home_folder_is_closed_to_others(tmp_path):
    home = Home(tmp_path / "home")
    home.create()
    # Root runs Postgres under another account, which must be able to pass through (but not to list).
    assert mode(home.root) == (0o711 if os.geteuid() == 0 else 0o700)
    assert mode(home.logs) == 0o700


def test_published_addresses_are_private_and_come_back_as_written(tmp_path):
    path = tmp_path / "urls.env"
    values = {"STREAMGAUGE_DATABASE_URL": "postgresql://u:p=w@h:1/d", "STREAMGAUGE_HTTP_PORT": "8000"}
    publish(path, values)
    assert read_published(path) == values
    assert mode(path) == 0o600


def test_a_private_file_replaces_one_that_was_readable(tmp_path):
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)


def test_a_second_holder_of_the_lock_is_told_who_has_it(tmp_path):
    first = Lock(tmp_path / "lock")
    first.describe("http://127.0.0.1:8000")
    with pytest.raises(CannotStart, match=rf"http://127\.0\.0\.1:8000 \(process {os.getpid()}\)"):
        Lock(tmp_path / "lock")
    first.release()
    Lock(tmp_path / "lock").release()


def test_secrets_are_made_once(tmp_path):
    path = tmp_path / "secrets.json"
    made = load_secrets(path)
    assert load_secrets(path) == made
    assert mode(path) == 0o600
    assert len({made.postgres, made.postgres_admin, made.redis, made.broker, made.flower}) == 5
    assert made.redis not in repr(made)


def test_secrets_of_an_earlier_version_are_completed_once(tmp_path):
    path = tmp_path / "secrets.json"
    before = load_secrets(path)
    kept = json.loads(path.read_text())
    del kept["gateway_key"]
    path.write_text(json.dumps(kept))
    completed = load_secrets(path)
    assert (completed.redis, completed.secret_key) == (before.redis, before.secret_key)
    assert len(completed.gateway_key) == 64
    assert completed.gateway_key != before.gateway_key
    assert load_secrets(path) == completed
    assert mode(path) == 0o600


def test_damaged_secrets_say_what_to_do(tmp_path):
    path = tmp_path / "secrets.json"
    path.write_text("{")
    with pytest.raises(CannotStart, match="Delete the folder"):
        load_secrets(path)


def test_the_first_login_is_kept_and_found_again(tmp_path):
    path = tmp_path / "first-login"
    output = '{"level": "INFO", "message": "first user made"}\n{"user": "admin", "password": "pw"}\nsome warning\n'
    login = keep_login(path, output)
    assert login is not None
    assert (login.user, login.password) == ("admin", "pw")
    assert keep_login(path, "") == login
    assert mode(path) == 0o600
    assert json.loads(path.read_text()) == {"user": "admin", "password": "pw"}


def test_without_a_first_login_there_is_none(tmp_path):
    assert keep_login(tmp_path / "first-login", '{"message": "there are users already"}\n') is None


def test_a_folder_closed_to_an_account_is_out_of_its_reach(tmp_path):
    closed = tmp_path / "closed"
    inside = closed / "inside"
    inside.mkdir(parents=True)
    closed.chmod(0o700)
    stranger = Account("stranger", 54_321, 54_321)
    assert not reaches(stranger, inside)
    assert reaches(stranger, Path("/"))


if os.geteuid() == 0:  # Only root runs Postgres under another account.

    def test_data_goes_to_a_folder_that_the_account_reaches_and_is_found_again(tmp_path):
        tmp_path.chmod(0o700)
        stranger = Account("stranger", 54_321, 54_321)
        place = server_folder(tmp_path, stranger)
        try:
            assert reaches(stranger, place)
            assert (tmp_path / "postgres").readlink() == place / "postgres"
            assert server_folder(tmp_path, stranger) == place
        finally:
            place.rmdir()


def test_servers_do_not_inherit_the_users_settings(monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c fsync=off")
    assert "PGOPTIONS" not in plain_environment()


def place_in(tmp_path: Path) -> Place:
    home = Home(tmp_path / "home")
    home.create()
    secrets = load_secrets(home.secrets)
    ports = {"http_port": 8000, "flower_port": 5555, "gateway_udp_port": 1700, "gateway_http_port": 8070}
    return Place(home=home, secrets=secrets, **ports)


def test_no_command_line_holds_a_password(tmp_path):
    place = place_in(tmp_path)
    plan = product(place, demo=True)
    words = " ".join(word for item in (*plan.parts, *plan.steps) for word in item.argv)
    assert place.secrets.flower not in words
    assert place.secrets.secret_key not in words
    assert place.secrets.gateway_key not in words


def test_the_demonstration_can_be_left_out(tmp_path):
    place = place_in(tmp_path)
    with_demo = {part.name for part in product(place, demo=True).parts}
    assert with_demo - {part.name for part in product(place, demo=False).parts} == {"simulator"}
    assert {"worker", "batch worker", "beat", "subscriber", "web", "flower", "gateway"} <= with_demo


def test_live_readings_have_a_worker_of_their_own_and_the_other_one_steps_back(tmp_path: Path) -> None:
    parts = {part.name: part for part in product(place_in(tmp_path), demo=False).parts}
    queues = {name: parts[name].argv[parts[name].argv.index("--queues") + 1] for name in ("worker", "batch worker")}
    assert queues == {"worker": "readings,alerts", "batch worker": "batch"}
    assert parts["batch worker"].env == {"STREAMGAUGE_WORKER_NICE": "10"}
    names = [parts[name].argv[-1] for name in ("worker", "batch worker")]
    assert names == ["worker@%h", "batch@%h"]


def test_sensors_are_there_before_the_gateway_and_the_gateway_before_the_simulator(tmp_path):
    plan = product(place_in(tmp_path), demo=True)
    names = [part.name for part in plan.parts]
    assert names.index("gateway") < names.index("simulator")
    parts = {part.name: part for part in plan.parts}
    assert parts["gateway"].ready_url == "http://127.0.0.1:8070/health"
    assert parts["gateway"].address == "http://127.0.0.1:8070"
    assert parts["simulator"].waits
    devices = next(step for step in plan.steps if step.name == "gateway devices")
    assert devices.argv[1:5] == ("-m", "simulator", "provision", "--demo")


def test_without_the_demonstration_a_person_finds_a_file_to_write_sensors_into(tmp_path, monkeypatch):
    place = place_in(tmp_path)
    step = next(step for step in product(place, demo=False).steps if step.name == "gateway devices")
    assert step.argv[1:3] == ("-m", "embedded.gateway_file")
    monkeypatch.setattr("sys.argv", list(step.argv[2:]))
    write_gateway_file()
    assert place.gateway_config.read_text(encoding="utf-8") == EMPTY
    assert mode(place.gateway_config) == 0o600
    assert tomllib.loads(EMPTY) == {}
    examples = "\n".join(
        line[2:] for line in EMPTY.splitlines() if line.startswith("# ") and ("=" in line or "[[" in line)
    )
    tree = tomllib.loads("\n".join(line for line in examples.splitlines() if line[0] in "[abcdefghijklmnopqrstuvwxyz"))
    assert tree["devices"][0]["activation"] == "otaa"
    place.gateway_config.write_text("# mine\n")
    write_gateway_file()
    assert place.gateway_config.read_text() == "# mine\n"
