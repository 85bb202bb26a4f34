"""A gateway that is cut off: it keeps, predicts, raises alarms, says what is wrong, and goes on whatever the broker does."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from embedded.ports import any_free
from tests.integration.simulator_broker import running_broker
from tests.support.gateway import Alone, Gateway, devices_toml
from tests.support.system import PROJECT, wait_until

TOKEN = "quay-s-token"
SENSOR = {"name": '"quay"', "activation": '"ip"', "token_sha256": f'"{sha256(TOKEN.encode()).hexdigest()}"'}


def history(levels_m: list[float]) -> list[dict[str, Any]]:
    """Readings a minute apart, the last one of now."""
    now_s = int(time.time())
    moments = [now_s - 60 * (len(levels_m) - 1 - number) for number in range(len(levels_m))]
    stamps = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in moments]
    return [{"time": stamp, "level_m": level_m} for stamp, level_m in zip(stamps, levels_m, strict=True)]


def dead_broker() -> str:
    return f"mqtt://127.0.0.1:{any_free()}"


@contextmanager
def hanging_broker() -> Iterator[str]:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(listening.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"mqtt://127.0.0.1:{listening.getsockname()[1]}"
        for one in accepted:
            one.close()


def test_it_predicts_and_raises_its_alarm_by_command_and_webhook_while_the_link_is_down(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    with webhook() as (url, received):
        gateway = Gateway(
            Alone(dead_broker()), tmp_path / "gateway", settings={"STREAMGAUGE_GATEWAY_OFFLINE_AFTER_S": "0"}
        )
        rule = '[[rules]]\nname = "above the path"\ndevice = "quay"\nlevel_above_m = 1.5\n'
        alarms = f'[[alarms]]\ncommand = ["/bin/sh", "-c", "cat > {told}"]\n[[alarms]]\nwebhook = "{url}"\n'
        gateway.configure(devices_toml([SENSOR]) + rule + alarms)
        gateway.start()
        rising = history([round(1.0 + 0.015 * number, 3) for number in range(44)])
        assert gateway.post(rising[:30], TOKEN)[0] == 201
        wait_until(lambda: gateway.metric("streamgauge_gateway_prediction_seconds_count") >= 30, "not judged", 10)
        assert not told.exists(), "below the rule's level"
        assert gateway.post(rising[30:], TOKEN)[0] == 201
        wait_until(
            lambda: told.exists() and bool(told.read_text()) and bool(received), "no alarm", 30, gateway.process.tail
        )
        assert json.loads(told.read_text())["rule"] == "above the path"
        assert json.loads(received[0])["device"] == "quay"
        assert gateway.metric("streamgauge_gateway_prediction_seconds_count") >= 44
        wait_until(lambda: gateway.metric("streamgauge_gateway_buffered_readings") == 44, "not all are kept", 10)
        gateway.kill()
        told.unlink()
        gateway.start()
        wait_until(lambda: gateway.metric("streamgauge_gateway_buffered_readings") == 44, "readings are gone", 10)
        time.sleep(1.0)
        assert not told.exists(), "an alarm that was told is not told again after a restart"
        assert gateway.stop() == 0


@pytest.mark.parametrize("kind", ["nobody", "hangs", "refuses"])
def test_whatever_the_broker_does_readings_are_kept(tmp_path: Path, kind: str) -> None:
    with hanging_broker() as hanging, running_broker(tmp_path) as broker:
        wrong_password = broker.url.replace("only-for-tests", "wrong")
        url = {"nobody": dead_broker(), "hangs": hanging, "refuses": wrong_password}[kind]
        gateway = Gateway(Alone(url), tmp_path / "gateway")
        gateway.configure(devices_toml([SENSOR]))
        gateway.start()
        for number in range(20):
            assert gateway.post({"level_m": 1.0 + number / 100}, TOKEN)[0] == 201
        assert gateway.metric("streamgauge_gateway_link_connected") == 0
        began_s = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began_s < 15
        assert "wrong" not in gateway.process.log.read_text().replace("wrong_", "")


def test_a_gateway_whose_main_thread_fails_ends_instead_of_living_on_by_half(tmp_path: Path) -> None:
    gateway = Gateway(Alone(dead_broker()), tmp_path / "gateway", clock_file=tmp_path / "clock")
    gateway.move_clock(0.0)
    gateway.configure(devices_toml([SENSOR]))
    gateway.start()
    assert gateway.post({"level_m": 1.0}, TOKEN)[0] == 201
    (tmp_path / "clock").unlink()
    wait_until(lambda: not gateway.process.alive, "it lives on", 30, gateway.process.tail)
    assert gateway.process.said("the gateway ends by itself")


def test_check_names_everything_that_is_wrong(tmp_path: Path) -> None:
    gateway = Gateway(Alone(dead_broker()), tmp_path / "gateway")
    gateway.configure('[[devices]]\nname = "weir"\nactivation = "otaa"\n')
    found = check(gateway)
    assert found.returncode == 1
    for words in ("configuration", "model is missing", "app_key is missing", "broker", "STREAMGAUGE_MQTT_URL"):
        assert words in found.stdout
    assert "ok   page" in found.stdout


def test_check_is_content_with_a_sound_gateway(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        gateway = Gateway(Alone(broker.url), tmp_path / "gateway")
        gateway.configure(devices_toml([SENSOR]))
        found = check(gateway)
    assert found.returncode == 0, found.stdout
    assert "All 6 checks passed" in found.stdout


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"STREAMGAUGE_GATEWAY_HTTP_HOST": "::"}, "STREAMGAUGE_GATEWAY_PAGE_PASSWORD"),
        ({"STREAMGAUGE_GATEWAY_KEY": "short"}, "STREAMGAUGE_GATEWAY_KEY"),
        ({"STREAMGAUGE_GATEWAY_REGION": "EU433"}, "EU868"),
        ({"STREAMGAUGE_GATEWAY_CONFIG_FILE": "/nowhere.toml"}, "/nowhere.toml"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_starts(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    gateway = Gateway(Alone(dead_broker()), tmp_path / "gateway", settings=settings)
    gateway.configure("")
    ended = subprocess.run(
        [sys.executable, "-m", "gateway"],
        env=gateway.environ,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def check(gateway: Gateway) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gateway", "check"],
        check=False, env=gateway.environ, cwd=PROJECT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@contextmanager
def webhook() -> Iterator[tuple[str, list[bytes]]]:
    """Answers every POST with 204 and remembers what it held."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/flood", received
    finally:
        server.shutdown()
        server.server_close()
