"""The gateway's promise, under attack: killed at random moments under load, broker away, clock moved back; all arrives, once.

``STREAMGAUGE_TEST_SEED`` says when it is killed.
"""

import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.system import PROJECT, System, running_system, wait_until

RATE = 100
FRAMES_PER_CUT = 210
SENSORS = 15
LIVES_S = (0.1, 1.2)
"""How long the gateway lives between two cuts, once it listens."""


def provision(gateway: Gateway, activation: str, name: str) -> None:
    gateway.system.run(
        "-m", "simulator", "provision", "--out", str(gateway.folder), "--devices", str(SENSORS), "--name", name,
        "--model", "decentlab_dl_mbx", "--model", "milesight_em500_swl", "--activation", activation,
    )  # fmt: skip


def radio(gateway: Gateway, frames: int, seed: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "simulator", "radio", "--fleet", str(gateway.folder), "--udp",
         f"127.0.0.1:{gateway.udp_port}", "--rate", str(RATE), "--limit", str(frames), "--quick-joins", "--no-gps",
         "--loss", "0.02", "--repeat", "0.1", "--reorder", "0.05", "--repeat-after", "0.1s", "--seed", str(seed),
         "--give-up", "3m", "--truth-out", str(gateway.folder / "truth.jsonl")],
        env=gateway.system.environ, cwd=PROJECT, text=True,
        stdout=subprocess.PIPE, stderr=(gateway.folder / "radio.log").open("wb"),
    )  # fmt: skip


def cut_and_disturb(
    gateway: Gateway, sending: "subprocess.Popen[str]", chance: random.Random, cuts: int
) -> Counter[str]:
    """Kill the gateway again and again; meanwhile the broker goes away for a while, and the clock is moved back an hour."""
    done: Counter[str] = Counter()
    broker = gateway.system.stack.broker
    for cut in range(cuts):
        if sending.poll() is not None:
            break
        if cut == cuts // 4:
            broker.kill()
            done["broker away"] += 1
        if cut == cuts // 2:
            broker.start()
            gateway.move_clock(-3_600.0)
            done["clock back"] += 1
        before = accepted(gateway)
        time.sleep(chance.uniform(*LIVES_S))
        done["under load"] += accepted(gateway) > before
        gateway.kill()
        done["cuts"] += 1
        gateway.start()
    return done


def accepted(gateway: Gateway) -> float:
    """Readings that it has committed since it was started."""
    return gateway.metric("streamgauge_gateway_readings_accepted_total{")


def stored(system: System) -> dict[tuple[str, int], list[float]]:
    found: dict[tuple[str, int], list[float]] = {}
    query = "SELECT devices.name, seq, level_m FROM readings JOIN devices ON devices.id = device_id"
    for name, seq, level_m in system.rows(query):
        found.setdefault((name, seq), []).append(level_m)
    return found


def truth(folder: Path) -> dict[tuple[str, int], Any]:
    lines = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    return {(line["device"], line["seq"]): line for line in lines if line["fate"] == "kept"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cuts", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_what_went_in_comes_out_once_whatever_happens_to_the_gateway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cuts: int
) -> None:
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", "20180602"))
    chance = random.Random(seed)
    key = secrets.token_hex(32)
    with running_system(tmp_path, worker_processes=1, STREAMGAUGE_GATEWAY_KEY=key) as system:
        system.worker.start()
        system.subscriber.start()
        settings = {"STREAMGAUGE_GATEWAY_RESEND_AFTER_S": "2", "STREAMGAUGE_GATEWAY_UDP_RATE": "2000"}
        gateway = Gateway(system, tmp_path / "gateway", key=key, settings=settings, clock_file=tmp_path / "clock")
        gateway.move_clock(0.0)
        provision(gateway, "otaa", "joining")
        provision(gateway, "abp", "personal")
        gateway.start()
        sending = radio(gateway, cuts * FRAMES_PER_CUT, seed)
        wait_until(lambda: len(stored(system)) >= SENSORS, "the fleet has not joined", 60, gateway.process.tail)
        done = cut_and_disturb(gateway, sending, chance, cuts)
        output, _ = sending.communicate(timeout=120 + 4 * cuts)
        assert sending.returncode == 0, (gateway.folder / "radio.log").read_text()[-2000:]
        expected = truth(gateway.folder)
        wait_until(
            lambda: len(expected.keys() - stored(system).keys()) == 0,
            "not everything arrived",
            60,
            gateway.process.tail,
        )
        found = stored(system)
        dead = system.rows("SELECT reason, count(*), min(detail) FROM dead_letters GROUP BY reason")
        gateway.stop()
    wrong = [
        key for key, line in expected.items() if abs(found[key][0] - line["level_m"]) > line["resolution_m"] / 2 + 1e-6
    ]
    ledger = {
        "seed": seed,
        **done,
        "frames": json.loads(output)["frames"] if "frames" in json.loads(output) else len(expected),
        "kept": len(expected),
        "stored": sum(len(levels) for levels in found.values()),
        "missing": len(expected.keys() - found.keys()),
        "doubled": sum(len(levels) - 1 for levels in found.values()),
        "other_values": len(wrong),
        "dead_letters": [tuple(row) for row in dead],
    }
    with capsys.disabled():
        print(f"\nledger: {json.dumps(ledger)}")
    assert done["cuts"] == cuts, "the radio ended before the last cut: raise FRAMES_PER_CUT"
    assert done["under load"] >= 0.9 * cuts, "it was killed while nothing was sent"
    assert done["broker away"] == done["clock back"] == 1
    assert ledger["missing"] == ledger["doubled"] == ledger["other_values"] == 0
    assert not dead
