"""What is stored live, reading after reading through two workers, is what one pass over the whole record gives."""

from datetime import datetime
from pathlib import Path

import numpy as np

from streamgauge.reading import to_microseconds
from streamgauge.scoring.anomaly import SURPRISES
from streamgauge.scoring.judge import judge
from streamgauge.scoring.model import Model
from tests.support.system import PROJECT, running_system, wait_until

RECORD = PROJECT / "simulator" / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"


def test_flags_expectations_and_scores_stored_live_equal_those_of_one_pass(tmp_path: Path) -> None:
    with running_system(tmp_path) as system:
        system.worker.start()
        system.subscriber.start()
        for kind in ("batches", "single"):
            system.run("-m", "simulator", "replay", str(RECORD), "--device", kind, "--rate", "max", "--as", kind)
        # A single message's sender hears of the broker's word only; the batches' one of the commit.
        wait_until(lambda: system.scalar("SELECT count(*) FROM readings") == 2 * 8928, "not everything is stored", 60.0)
        system.subscriber.stop()
        columns = "time, level_m, (flags->>'level_m')::int AS flag, expected_m, low_m, high_m, score, surprise"
        stored = {
            kind: system.rows(
                f"SELECT {columns} FROM readings JOIN devices ON id = device_id WHERE name = :name ORDER BY time",
                name=kind,
            )
            for kind in ("batches", "single")
        }
    assert [len(rows) for rows in stored.values()] == [8928, 8928]
    for rows in stored.values():
        times: list[datetime] = [row.time for row in rows]
        time_us = np.array([to_microseconds(moment) for moment in times])
        level_m = np.array([row.level_m for row in rows])
        station, targets = np.zeros(len(rows), dtype=np.int64), np.arange(len(rows))
        whole = judge(Model.load(), station, time_us, level_m, targets)
        assert [row.flag for row in rows] == whole.checked.flags.tolist()
        for name in ("expected_m", "low_m", "high_m"):
            live = np.array([getattr(row, name) for row in rows], dtype=np.float64)
            np.testing.assert_array_equal(live, getattr(whole.expected, name), err_msg=name)
        np.testing.assert_array_equal(np.array([row.score for row in rows], dtype=np.float64), whole.score)
        assert [row.surprise or "" for row in rows] == [SURPRISES[number] for number in whole.surprise]
