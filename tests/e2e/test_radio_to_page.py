"""From the air to the screen: sensors join by radio, and the station page shows what they measured."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import OpenPage
from tests.support.gateway import Gateway
from tests.support.system import System, running_system, wait_until

pytestmark = pytest.mark.browser

MODELS = ("decentlab_dl_mbx", "decentlab_dl_ctd10", "milesight_em310_udl", "dragino_ldds45", "streamgauge_demo")
FRAMES = 60


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system with a gateway; five sensors of five models have joined and sent."""
    folder = tmp_path_factory.mktemp("radio")
    key = secrets.token_hex(32)
    with running_system(folder, STREAMGAUGE_GATEWAY_KEY=key) as system:
        system.worker.start()
        system.subscriber.start()
        gateway = Gateway(system, folder / "gateway", key=key)
        models = [word for model in MODELS for word in ("--model", model)]
        fleet = str(gateway.folder)
        system.run(
            "-m", "simulator", "provision", "--out", fleet, "--devices", str(len(MODELS)), "--name", "air", *models
        )
        gateway.start()
        system.run(
            "-m", "simulator", "radio", "--fleet", fleet, "--udp", f"127.0.0.1:{gateway.udp_port}", "--rate", "20",
            "--limit", str(FRAMES), "--quick-joins", "--seed", "7", "--truth-out", str(folder / "truth.jsonl"),
        )  # fmt: skip
        wait_until(lambda: len(stored(system)) == FRAMES, "not everything arrived", 30, gateway.process.tail)
        yield system
        gateway.stop()


def stored(system: System) -> dict[tuple[str, int], float]:
    query = "SELECT devices.name, seq, level_m FROM readings JOIN devices ON devices.id = device_id"
    return {(name, seq): level_m for name, seq, level_m in system.rows(query)}


def truth(system: System) -> dict[tuple[str, int], Any]:
    lines = [json.loads(line) for line in (Path(system.directory) / "truth.jsonl").read_text().splitlines()]
    return {(line["device"], line["seq"]): line for line in lines}


def test_what_the_sensors_measured_is_stored(system: System) -> None:
    found, expected = stored(system), truth(system)
    assert found.keys() == expected.keys()
    for key, line in expected.items():
        assert found[key] == pytest.approx(line["level_m"], abs=line["resolution_m"] / 2 + 1e-6)
    assert not system.rows("SELECT * FROM dead_letters")


def test_the_station_page_shows_it(system: System, open_page: OpenPage) -> None:
    found = stored(system)
    for number in range(1, len(MODELS) + 1):
        name = f"air-{number:03d}"
        newest = max(key for key in found if key[0] == name)
        page = open_page(f"/stations/{name}")
        expect(page.locator("main")).to_contain_text(f"{found[newest]:.2f}")
