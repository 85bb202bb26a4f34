"""The defaults on two real streams: their floods are water, and so is their standing still."""

from pathlib import Path

import numpy as np
import pytest

from streamgauge.quality.check import check_levels
from streamgauge.quality.flags import Flag
from streamgauge.quality.reasons import CHECKS
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import RECORD, UNSEEN

ORDINARY_WATER_SUSPECT_SHARE = 0.001
"""What docs/scoring.md promises."""


@pytest.fixture(scope="module", params=[RECORD, UNSEEN], ids=["plumtree_run", "dead_run"])
def record(request):
    path: Path = request.param
    return read_record(path)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_floods_never_fail_at_any_sampling(record, every):
    seen = record.thinned(every)
    flags = check_levels(seen.station, seen.time_us, seen.level_m).flags
    assert seen.level_m.max() > 1.4
    assert not (flags == Flag.FAIL).any()
    assert (flags == Flag.SUSPECT).mean() < ORDINARY_WATER_SUSPECT_SHARE


def test_no_flood_is_called_a_spike_or_too_fast(record):
    checked = check_levels(record.station, record.time_us, record.level_m)
    assert {CHECKS[check] for check in np.unique(checked.reason_check)} <= {"none", "flat_line"}


def test_a_probe_stuck_in_the_restless_stretch_of_a_flood_is_found():
    record = read_record(UNSEEN)
    level_m = record.level_m + np.random.default_rng(7).normal(0.0, 0.002, len(record.level_m)).round(3)
    stuck = slice(4000, 4040)
    level_m[stuck] = level_m[4000]
    checked = check_levels(record.station, record.time_us, level_m)
    assert (checked.flags[4013:4034] == Flag.SUSPECT).all()
    assert (checked.flags[3900:4000] == Flag.GOOD).all()
