"""The command line as a person uses it: output, ledger, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from simulator_broker import FakeCloud, running_broker, until

from embedded.server import Server
from simulator.fleet import Fleet, read_fleet
from tests.support.tiny_network import TinyNetwork

PROJECT = Path(__file__).resolve().parents[2]
DEAD_RUN = PROJECT / "simulator" / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"


def environment(home: Path, url: str | None = None) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STREAMGAUGE_")}
    return {**kept, "STREAMGAUGE_HOME": str(home), **({"STREAMGAUGE_MQTT_URL": url} if url else {})}


def simulate(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_broker(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture
def cloud(broker: Server) -> Iterator[FakeCloud]:
    with closing(FakeCloud(broker, lambda *_: [])) as fake:
        fake._answer = lambda name, _: [{"batch": name, "stored": len(fake.contents[name]), "dead": 0}]
        yield fake


GATEWAY = ("--gateway", "test-gateway")


def test_the_whole_flood_is_replayed_and_accounted_for(broker: Server, cloud: FakeCloud, tmp_path: Path) -> None:
    done = simulate(
        environment(tmp_path, broker.url), "replay", str(DEAD_RUN), "--device", "dead-run", "--rate", "max",
        "--shift", "now", "--batch-size", "200", *GATEWAY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ledger = json.loads(done.stdout)
    assert (ledger["sent"], ledger["stored"], ledger["dead"], ledger["complete"]) == (8_928, 8_928, 0, True)
    assert len(cloud.stored) == 8_928
    assert max(reading["level_m"] for reading in cloud.stored.values()) == 1.8806
    latest = datetime.fromisoformat(max(time for _, time in cloud.stored))
    assert timedelta() <= datetime.now(UTC) - latest < timedelta(minutes=2)
    assert "8,928 of 8,928 sent, 8,928 stored" in done.stderr


def test_several_stations_limit_and_addresses_from_the_running_system(
    broker: Server, cloud: FakeCloud, tmp_path: Path
) -> None:
    (tmp_path / "urls.env").write_text(f"STREAMGAUGE_MQTT_URL={broker.url}\n", encoding="utf-8")
    done = simulate(
        environment(tmp_path), "replay", str(DEAD_RUN), "--device", "many", "--rate", "max", "--stations", "3",
        "--stagger", "10m", "--limit", "100", *GATEWAY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "STREAMGAUGE_MQTT_URL: not set, taken from" in done.stderr
    assert "only-for-tests" not in done.stderr + done.stdout
    assert {device for device, _ in cloud.stored} == {"many-001", "many-002", "many-003"}
    assert len(cloud.stored) == 100


def test_single_readings(broker: Server, cloud: FakeCloud, tmp_path: Path) -> None:
    done = simulate(
        environment(tmp_path, broker.url), "replay", str(DEAD_RUN), "--device", "one", "--rate", "max",
        "--as", "single", "--limit", "50",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ledger = json.loads(done.stdout)
    assert (ledger["sent"], ledger["acknowledged"], ledger["stored"]) == (50, 50, None)
    until(lambda: len(cloud.singles) == 50)


def test_a_scenario_is_sent_with_its_truth(broker: Server, cloud: FakeCloud, tmp_path: Path) -> None:
    truth_file = tmp_path / "truth.json"
    done = simulate(
        environment(tmp_path, broker.url),
        "run",
        "sensor-faults",
        "--shift",
        "now",
        "--truth-out",
        str(truth_file),
        *GATEWAY,
    )
    assert done.returncode == 0, done.stderr
    truth = json.loads(truth_file.read_text(encoding="utf-8"))
    assert json.loads(done.stdout)["stored"] == truth["readings"] == len(cloud.stored)
    for entry in truth["expect"]:
        assert all((entry["station"], moment) in cloud.stored for moment in entry["times"])


def test_bad_input_ends_with_sentences_and_code_2(broker: Server, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("time,level_m\n2020-01-01T00:00:00Z,1\nnoon,2\n", encoding="utf-8")
    there = environment(tmp_path, broker.url)
    for arguments, sentence in (
        (("replay", str(bad), "--device", "a"), "line 3: 'noon' is no time"),
        (("replay", str(tmp_path / "no.csv"), "--device", "a"), "No such file"),
        (("replay", str(DEAD_RUN), "--device", "a/b"), "must be 1 to 64"),
        (("replay", str(DEAD_RUN), "--device", "a", "--rate", "-1"), "must be a number above 0"),
        (("replay", str(DEAD_RUN), "--device", "a", "--shift", "later"), "is no shift"),
        (("replay", str(DEAD_RUN), "--device", "a", "--as", "http"), "make up"),
        (("run", "no-such"), "neither a file nor one of"),
        (("run", "calm-tide", "--truth-out", str(tmp_path / "no" / "t.json")), "truth cannot be written"),
    ):
        done = simulate(there, *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


def test_a_refusing_and_a_missing_broker_are_told_apart(broker: Server, tmp_path: Path) -> None:
    replay = ("replay", str(DEAD_RUN), "--device", "a", "--limit", "10")
    refused = simulate(environment(tmp_path, broker.url.replace("only-for", "not-for")), *replay)
    assert refused.returncode == 2
    assert "Check the name and password" in refused.stderr
    unset = simulate(environment(tmp_path), *replay)
    assert unset.returncode == 2
    assert "STREAMGAUGE_MQTT_URL is required" in unset.stderr


def test_an_interrupted_replay_still_prints_its_ledger(broker: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "simulator", "replay", str(DEAD_RUN), "--device", "a", "--rate", "100"]
    # A gateway of its own: the broker still holds answers for the other tests' one.
    command += ["--gateway", "interrupted"]
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment(tmp_path, broker.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        # What the broker still holds for this client may be remarked on first.
        assert any(" sent" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert json.loads(out)["complete"] is False


def provisioned(home: Path, *arguments: str) -> Fleet:
    environ = {**environment(home), "STREAMGAUGE_GATEWAY_KEY": "k" * 64}
    done = simulate(environ, "provision", "--out", str(home / "gateway"), *arguments)
    assert done.returncode == 0, done.stderr
    return read_fleet(home / "gateway")


def on_air(home: Path, network: TinyNetwork) -> dict[str, str]:
    host, port = network.address
    return {**environment(home), "STREAMGAUGE_GATEWAY_UDP": f"{host}:{port}"}


def test_a_fleet_over_the_air_is_accounted_for_frame_by_frame(tmp_path: Path) -> None:
    fleet = provisioned(tmp_path, "--devices", "12", "--model", "decentlab_dl_mbx", "--model", "milesight_em500_swl")
    truth = tmp_path / "truth.jsonl"
    with closing(TinyNetwork(fleet)) as network:
        done = simulate(
            on_air(tmp_path, network), "radio", "flash-flood", "--rate", "400", "--duration", "2s", "--loss", "0.1",
            "--repeat", "0.1", "--seed", "4", "--quick-joins", "--truth-out", str(truth),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ledger = json.loads(done.stdout)
    fates = [json.loads(line) for line in truth.read_text(encoding="utf-8").splitlines()]
    assert ledger["sent"] == len(fates) == 800
    assert ledger["complete"]
    assert len(network.payloads) == ledger["acknowledged"] == ledger["expected"] == 800 - ledger["lost_on_air"]
    assert {(f["device"], f["seq"]) for f in fates if f["fate"] == "kept"} == network.payloads.keys()
    assert {f["resolution_m"] for f in fates} == {0.001, 0.01}
    assert ledger["joins_accepted"] == 12


def test_a_recorded_file_goes_over_the_air_at_its_own_times(tmp_path: Path) -> None:
    fleet = provisioned(tmp_path, "--name", "dead-run", "--activation", "abp", "--installation", "sensor_height_m=4")
    with closing(TinyNetwork(fleet)) as network:
        done = simulate(
            on_air(tmp_path, network), "replay", str(DEAD_RUN), "--device", "dead-run", "--shift", "now", "--as", "lorawan",
            "--limit", "500",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["acknowledged"] == 500
    assert sorted(network.payloads) == [("dead-run", f_cnt) for f_cnt in range(500)]
    times = sorted({reception.time for reception in network.receptions if reception.time is not None})
    assert len(times) == 500
    assert {after - before for before, after in pairwise(times)} <= {timedelta(minutes=5 * n) for n in range(1, 5)}


def test_what_the_air_cannot_do_is_said(tmp_path: Path) -> None:
    there = {**environment(tmp_path), "STREAMGAUGE_GATEWAY_UDP": "127.0.0.1:9"}
    replay = ("replay", str(DEAD_RUN), "--device", "a", "--as", "lorawan")
    for environ, arguments, sentence in (
        (there, ("radio",), "simulator provision"),
        (there, replay, "simulator provision"),
        (environment(tmp_path), ("radio", "--udp", "nowhere"), "simulator provision"),
        (there, ("radio", "--loss", "1"), "must be a chance"),
    ):
        done = simulate(environ, *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert sentence in done.stderr
    provisioned(tmp_path, "--devices", "2", "--activation", "abp")
    for environ, arguments, sentence in (
        (environment(tmp_path), ("radio",), "STREAMGAUGE_GATEWAY_UDP"),
        (there, ("radio", "--udp", "nowhere"), "must be host:port"),
        (there, ("radio", "--devices", "3"), "it has 2 sensors, not 3"),
        (there, replay, "'a' is none of its 2"),
        (there, ("radio", "no-such-scenario"), "neither a file nor one of"),
    ):
        done = simulate(environ, *arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    silent = simulate(there, "radio", "--limit", "5", "--rate", "max", "--give-up", "1s")
    assert silent.returncode == 3
    assert json.loads(silent.stdout)["unanswered"] == 5


def test_the_demo_imports_a_history_and_goes_on_over_the_air(tmp_path: Path) -> None:
    fleet = provisioned(tmp_path, "--demo")
    network = TinyNetwork(fleet)
    with (
        running_broker(tmp_path / "broker") as server,
        closing(FakeCloud(server, lambda *_: [])) as cloud,
        closing(network),
    ):
        cloud._answer = lambda name, _: [{"batch": name, "stored": len(cloud.contents[name]), "dead": 0}]
        command = [sys.executable, "-m", "simulator", "demo", "--every", "0.2s", *GATEWAY]
        environ = {**on_air(tmp_path, network), "STREAMGAUGE_MQTT_URL": server.url}
        log = tmp_path / "log"
        with (
            log.open("w", encoding="utf-8") as stream,
            subprocess.Popen(command, cwd=PROJECT, env=environ, stdout=stream, stderr=subprocess.STDOUT) as process,
        ):
            try:
                until(lambda: len(cloud.stored) > 2_500)
                assert {device for device, _ in cloud.stored} == {card.name for card in fleet.sensors}
                until(lambda: {name for name, _ in network.payloads} >= {"dead-run", "mill-brook", "town-tank"})
                server.kill()  # the live readings do not need the broker
                count = len(network.payloads)
                until(lambda: len(network.payloads) > count + 50)
                server.start()
                network.acknowledges = lambda _number: False
                time.sleep(1.5)
                network.acknowledges = lambda _number: True
                count = len(network.payloads)
                until(lambda: len(network.payloads) > count + 50, seconds=30)
            finally:
                began_s = time.monotonic()
                process.terminate()
                process.wait(timeout=10)
        assert (process.returncode, time.monotonic() - began_s < 2.0) == (0, True)
    heard = [f_cnt for name, f_cnt in network.payloads if name == "dead-run"]
    assert len(heard) >= 0.95 * max(heard)  # what was sent while nobody acknowledged came later
    assert network.refused == 0
    assert all(json.loads(line)["service"] == "simulator" for line in log.read_text(encoding="utf-8").splitlines())
