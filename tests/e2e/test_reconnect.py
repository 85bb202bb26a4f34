"""The web process is killed under an open page and started again while readings go on: nothing is missing, and one is told."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.support.system import System, wait_until

pytestmark = pytest.mark.browser
DEVICE = "under-an-open-page"
EVERY_S = 0.4
AWAY_S = 6.0
LEVELS = "() => window.streamgauge.chart.content.level[1].filter((level) => level !== null)"


class Sensor:
    """Sends by MQTT, as a sensor does, whatever the web does meanwhile: one reading after the other, each a millimetre higher."""

    def __init__(self, system: System) -> None:
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        address = system.stack.addresses.mqtt_url.removeprefix("mqtt://")
        account, _, where = address.rpartition("@")
        if account:
            self._client.username_pw_set(*account.split(":", 1))
        host, _, port = where.partition(":")
        self._client.connect(host, int(port.partition("/")[0]))
        self._client.loop_start()
        self.sent: list[float] = []
        self.is_over = threading.Event()

    def send(self) -> None:
        """One reading."""
        level = round(1.0 + len(self.sent) / 1000, 3)
        payload = json.dumps({"time": datetime.now(UTC).isoformat(), "level_m": level})
        self._client.publish(f"streamgauge/v1/devices/{DEVICE}/readings", payload, qos=1).wait_for_publish(10)
        self.sent.append(level)

    def go_on(self) -> None:
        """Until it is over."""
        while not self.is_over.wait(EVERY_S):
            self.send()

    def close(self) -> None:
        """Disconnect."""
        self._client.loop_stop()


@contextmanager
def sending(system: System) -> Iterator[Sensor]:
    """Readings go on within."""
    sensor = Sensor(system)
    for _ in range(3):
        sensor.send()
        time.sleep(EVERY_S)
    thread = threading.Thread(target=sensor.go_on, daemon=True)
    thread.start()
    try:
        yield sensor
    finally:
        sensor.is_over.set()
        thread.join(15)
        sensor.close()


def shown(page: Page) -> list[float]:
    """The levels on the chart, in their order."""
    return [round(level, 3) for level in page.evaluate(LEVELS)]


def test_nothing_is_missing_after_the_web_process_was_killed_and_started_again(
    web: System, open_page: OpenPage
) -> None:
    with sending(web) as sensor:
        query = "SELECT count(*) FROM readings JOIN devices ON id = device_id WHERE name = :name"
        wait_until(lambda: web.scalar(query, name=DEVICE) >= 3, "nothing is stored")
        page = open_page(f"/stations/{DEVICE}?range=1h", is_expected="ERR_|htmx:|handshake response")
        wait_until(lambda: len(shown(page)) > 3, "nothing comes by itself")
        page.evaluate("window.isStillHere = true")
        heard: list[str] = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: heard.append(str(frame))))

        web.web.kill()
        said = page.locator("#connection")
        expect(said).to_contain_text("Connection lost since")
        stood = len(shown(page))
        time.sleep(AWAY_S)
        assert len(shown(page)) == stood
        web.web.start()
        expect(said).to_contain_text("Was away from", timeout=45_000)
    wait_until(lambda: shown(page) == sensor.sent, "the chart is not what was sent", explain=lambda: f"{shown(page)}")
    assert page.evaluate("window.isStillHere")
    # All of it came over the WebSocket; the page was not told to ask anew.
    assert any('"readings"' in frame for frame in heard)
    assert [frame for frame in heard if '"gap"' in frame] == []
