"""The one promise, under attack: a recorded flood arrives once and whole while every part is killed again and again."""

import csv
import gzip
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.system import PROJECT, System, running_system

RECORD = PROJECT / "simulator" / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"
RATE = 400
REST_S = (0.3, 1.5)


def attack_worker(system: System) -> str:
    system.worker.kill()
    system.worker.start()
    return "worker"


def attack_subscriber(system: System) -> str:
    system.subscriber.kill()
    system.subscriber.start()
    return "subscriber"


def attack_redis(system: System) -> str:
    system.stack.redis.kill()
    system.stack.redis.start()
    return "redis"


def attack_redis_and_its_data(system: System) -> str:
    system.stack.redis.kill()
    system.stack.redis.wipe()
    system.stack.redis.start()
    return "redis with its data deleted"


def attack_broker(system: System) -> str:
    system.stack.broker.kill()
    system.stack.broker.start()
    return "broker"


ATTACKS = (attack_worker, attack_subscriber, attack_redis, attack_redis_and_its_data, attack_broker)


def recorded_rows() -> dict[str, tuple[float, float]]:
    with gzip.open(RECORD, "rt", newline="") as source:
        return {row["time"]: (float(row["level_m"]), float(row["flow_m3_s"])) for row in csv.DictReader(source)}


def stored_rows(system: System) -> list[tuple[str, float, float]]:
    query = (
        'SELECT to_char(time, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\'), level_m, flow_m3_s '
        "FROM readings JOIN devices ON devices.id = device_id WHERE devices.name = 'dead-run'"
    )
    return [tuple(row) for row in system.rows(query)]


@pytest.mark.timeout(420)
def test_a_flood_arrives_once_and_whole_while_every_part_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", "20180602"))
    chance = random.Random(seed)
    settings = {"STREAMGAUGE_SUBSCRIBER_RESEND_AFTER_S": "2"}
    with running_system(tmp_path, worker_processes=2, **settings) as system:
        system.worker.start()
        system.subscriber.start()
        replay = subprocess.Popen(
            [sys.executable, "-m", "simulator", "replay", str(RECORD), "--device", "dead-run", "--rate", str(RATE),
             "--batch-size", "20", "--give-up", os.environ.get("GIVEUP","4m")],
            env=system.environ, cwd=PROJECT, stdout=subprocess.PIPE, stderr=(tmp_path / "replay.log").open("wb"), text=True,
        )  # fmt: skip
        attacks: Counter[str] = Counter()
        # Every kind of attack happens, in an order and at moments that the seed decides.
        planned = [*ATTACKS, *ATTACKS]
        chance.shuffle(planned)
        while replay.poll() is None:
            time.sleep(chance.uniform(*REST_S))
            if planned:
                attacks[planned.pop()(system)] += 1
        output, _ = replay.communicate(timeout=60)
        sent = json.loads(output)
        stored = stored_rows(system)
        dead = system.rows("SELECT reason, count(*), min(detail) FROM dead_letters GROUP BY reason")

    expected = recorded_rows()
    times = Counter(moment for moment, _, _ in stored)
    ledger = {
        "seed": seed,
        "attacks": dict(attacks),
        "recorded": len(expected),
        "stored": len(stored),
        "missing": len(expected.keys() - times.keys()),
        "doubled": sum(count - 1 for count in times.values()),
        "other_values": sum((level, flow) != expected.get(moment) for moment, level, flow in stored),
        "dead_letters": [tuple(row) for row in dead],
        "resent_by_the_gateway": sent["resent"],
        "seconds": sent["seconds"],
    }
    with capsys.disabled():
        print(f"\nledger: {json.dumps(ledger)}")
    assert replay.returncode == 0, (tmp_path / "replay.log").read_text()[-2000:]
    assert len(attacks) == len(ATTACKS), "not every kind of attack happened: lower RATE"
    assert ledger["missing"] == ledger["doubled"] == ledger["other_values"] == 0
    assert ledger["stored"] == len(expected) == 8928
    assert not dead
