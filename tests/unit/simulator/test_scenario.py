import hashlib
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import InputFault
from simulator.scenario import readings_of, run_scenario, truth_of
from simulator.scenario_file import SHIPPED, find_scenario, load_scenario
from streamgauge.wire import encode_batch

SHIPPED_NAMES = sorted(path.stem for path in SHIPPED.glob("*.toml"))
PROJECT = Path(__file__).resolve().parents[3]
DIGEST = """
import hashlib, json, sys
from simulator.scenario import readings_of, run_scenario, truth_of
from simulator.scenario_file import find_scenario, load_scenario
from streamgauge.wire import encode_batch
scenario = load_scenario(find_scenario(sys.argv[1]))
runs = run_scenario(scenario)
said = encode_batch("x", readings_of(runs)) + json.dumps(truth_of(scenario, runs)).encode()
print(hashlib.sha256(said).hexdigest())
"""


def digest_in_another_process(name: str, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", DIGEST, name], cwd=PROJECT, env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_three_scenarios_are_shipped() -> None:
    assert {"calm-tide", "flash-flood", "sensor-faults"} <= set(SHIPPED_NAMES)


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_a_scenario_is_the_same_to_the_byte_in_every_process(name: str) -> None:
    scenario = load_scenario(find_scenario(name))
    runs = run_scenario(scenario)
    said = encode_batch("x", readings_of(runs)) + json.dumps(truth_of(scenario, runs)).encode()
    assert digest_in_another_process(name, "1") == hashlib.sha256(said).hexdigest()


def test_another_seed_is_other_noise(tmp_path: Path) -> None:
    text = find_scenario("calm-tide").read_text(encoding="utf-8")
    other = tmp_path / "calm-tide.toml"
    other.write_text(text.replace("seed = 20260101", "seed = 7"), encoding="utf-8")
    first, second = (readings_of(run_scenario(load_scenario(path))) for path in (find_scenario("calm-tide"), other))
    assert [r.time for r in first] == [r.time for r in second]
    assert [r.level_m for r in first] != [r.level_m for r in second]


def test_the_truth_says_where_the_faults_are() -> None:
    scenario = load_scenario(find_scenario("sensor-faults"))
    runs = run_scenario(scenario)
    shift = timedelta(days=10)
    truth = json.loads(json.dumps(truth_of(scenario, runs, shift)))
    assert {entry["kind"] for entry in truth["expect"]} == {
        "spike", "stuck", "dropout", "offset", "drift", "clock_late", "flood",
    }  # fmt: skip
    levels = {
        (r.device, r.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")): r.level_m
        for r in readings_of(runs, shift)
    }
    assert truth["readings"] == len(levels)
    true_levels = {
        (station["station"], moment): level
        for station in truth["stations"]
        for moment, level in zip(station["time"], station["true_level_m"], strict=True)
    }
    affected = {
        kind: [(e["station"], t) for e in truth["expect"] if e["kind"] == kind for t in e["times"]]
        for kind in ("spike", "stuck")
    }
    for key in affected["spike"]:
        assert abs(levels[key] - true_levels[key]) > 1.0
    assert len({levels[key] for key in affected["stuck"]}) == 1
    sound = [
        abs(level - true_levels[key]) for key, level in levels.items()
        if key in true_levels and not any(e["station"] == key[0] and e["from"] <= key[1] < e["to"] for e in truth["expect"])
    ]  # fmt: skip
    assert np.max(sound) < 0.02


def test_readings_leave_in_the_order_in_which_they_were_measured() -> None:
    readings = readings_of(run_scenario(load_scenario(find_scenario("sensor-faults"))))
    order = [reading.seq for reading in readings]
    assert order == sorted(order, key=lambda seq: seq or 0)


GOOD = """
title = "t"
seed = 1
start = 2026-01-01T00:00:00Z
duration = "2h"
step = "5m"
[[station]]
name = "a"
water = "tank"
tank = { low_m = 1, high_m = 2, fill_s = 600, drain_s = 900 }
[[station.fault]]
kind = "stuck"
from = "30m"
to = "1h"
[[expect]]
station = "a"
kind = "stuck"
from = "30m"
to = "1h"
"""


def load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    run_scenario(load_scenario(path))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('title = "t"', "", "title: is missing"),
        ("seed = 1", "seed = 1.5", "seed: must be a whole number"),
        ("seed = 1", "seed = true", "seed: must be a whole number"),
        ("seed = 1", "seed = 1\nspeed = 3", "speed: is not known"),
        ("00Z", "00", "start: must be a time with an offset"),
        ('"5m"', '"0s"', "step: must be longer"),
        ('"5m"', '"often"', "step: 'often' is no duration"),
        ('"2h"', '"1100w"', "more than 2000000 readings"),
        ('name = "a"', 'name = "a b"', r"station\[1\].name: must be"),
        ('"tank"', '"lava"', r"station\[1\].water: must be one of"),
        ("low_m = 1", "low_m = nan", r"station\[1\].tank.low_m: must be a number"),
        ("low_m = 1", "low_m = 3", "high_m: must not lie below"),
        ("low_m = 1,", "", r"station\[1\].tank.low_m: is missing"),
        (
            'kind = "stuck"\nfrom = "30m"\nto = "1h"\n[[expect]]',
            'kind = "odd"\n[[expect]]',
            r"fault\[1\].kind: must be one of",
        ),
        ('to = "1h"\n[[expect]]', 'to = "20m"\n[[expect]]', r"fault\[1\].to: must lie after from"),
        ('station = "a"', 'station = "b"', r"expect\[1\].station: must be the name"),
        ('[[expect]]\nstation = "a"\nkind = "stuck"\nfrom = "30m"\nto = "1h"\n', "", "is in no"),
        ('station = "a"\nkind = "stuck"', 'station = "a"\nkind = "drift"', "that it does not have"),
        (
            'station = "a"\nkind = "stuck"',
            'station = "a"\nkind = "flood"\npeak_m = 5',
            "the water reaches 2.000 m, not 5 m",
        ),
        ('kind = "stuck"\nfrom', 'kind = "clock_late"\nlate_s = 600\nfrom', "two readings bear the same time"),
        ("[[station]]", "[station]", "station: must be written as"),
        ("[[station]]", "[[station", "cannot be read"),
    ],
)
def test_every_mistake_is_named_with_its_place(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    load(tmp_path, GOOD)
    assert old in GOOD
    with pytest.raises(InputFault, match=sentence):
        load(tmp_path, GOOD.replace(old, new, 1))


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputFault) as caught:
        load(tmp_path, 'seed = "x"\n[[station]]\nwater = "tide"\n[[station]]\nname = "b"\nwater = "runoff"\n')
    text = str(caught.value)
    for place in (
        "seed",
        "start",
        "duration",
        "step",
        "title",
        "station[1].name",
        "station[1].tide",
        "station[2].runoff",
    ):
        assert place in text


def test_an_unknown_scenario_names_the_shipped_ones() -> None:
    with pytest.raises(InputFault, match="calm-tide, flash-flood, sensor-faults"):
        find_scenario("no-such-thing")
