"""The edge says what XGBoost says: on floods as recorded, and on any numbers at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streamgauge.quality.check import check_levels
from streamgauge.scoring.edge import EdgeModel
from streamgauge.scoring.features import FEATURES, build
from streamgauge.scoring.judge import judge
from streamgauge.scoring.model import Expected, Model
from streamgauge.scoring.records import Record, read_record
from streamgauge.scoring.train import RECORD, UNSEEN

ALLOWED_M = 1e-6
"""What the edge may differ by. Measured on the records and on random features: 0."""


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load()


@pytest.fixture(scope="module")
def edge() -> EdgeModel:
    return EdgeModel.load()


def largest_difference_m(left: Expected, right: Expected) -> float:
    found = 0.0
    for name in Expected.__slots__:
        one, other = getattr(left, name), getattr(right, name)
        np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
        found = max([found, *np.abs(one - other)[~np.isnan(one)]])
    return found


def sampled(record: Record) -> np.ndarray:
    """Every day's rows a few times over, and all rows round the highest flood."""
    flood = int(np.argmax(np.nan_to_num(record.level_m)))
    around = np.arange(max(0, flood - 300), min(len(record.level_m), flood + 300))
    return np.unique(np.concatenate([np.arange(0, len(record.level_m), 41), around]))


@pytest.mark.parametrize("path", [RECORD, UNSEEN], ids=["plumtree-run", "dead-run"])
@pytest.mark.parametrize("every", [1, 3])
def test_recorded_water_is_expected_alike(model, edge, path, every) -> None:
    record = read_record(path).thinned(every)
    rows = sampled(record)
    checked = check_levels(record.station, record.time_us, record.level_m)
    features = build(record.station, record.time_us, record.level_m, checked, rows)
    found = largest_difference_m(
        model.expect(features.values, features.baseline_m), edge.expect(features.values, features.baseline_m)
    )
    assert found <= ALLOWED_M


@pytest.mark.parametrize("scale", [1e-3, 0.1, 10.0, 1e4])
def test_random_features_are_answered_alike(model, edge, scale) -> None:
    chance = np.random.default_rng(int(scale * 1_000))
    features = chance.normal(0, scale, (3_000, len(FEATURES))).astype(np.float32)
    features[chance.random(features.shape) < 0.25] = np.nan
    baseline_m = chance.normal(2, 3, len(features))
    baseline_m[::9] = np.nan
    assert largest_difference_m(model.expect(features, baseline_m), edge.expect(features, baseline_m)) <= ALLOWED_M


def test_values_on_a_threshold_go_the_same_way(model, edge) -> None:
    tables = edge.tables
    for step in (-np.inf, 0.0, np.inf):
        features = np.zeros((500, len(FEATURES)), dtype=np.float32)
        for column in range(len(FEATURES)):
            thresholds = tables.threshold[tables.feature == column]
            features[:, column] = np.resize(np.nextafter(thresholds, np.float32(step)) if step else thresholds, 500)
        baseline_m = np.zeros(500)
        assert largest_difference_m(model.expect(features, baseline_m), edge.expect(features, baseline_m)) <= ALLOWED_M


NUMBERS = st.one_of(
    st.floats(width=32, allow_infinity=False), st.sampled_from([np.nan, 0.0, -0.0, 1e-45, 3e38, -3e38, 300.0, 900.0])
)


@settings(max_examples=150)
@given(features=arrays.arrays(np.float32, (5, len(FEATURES)), elements=NUMBERS))
def test_any_numbers_are_answered_alike(model, edge, features) -> None:
    baseline_m = np.array([0.0, 1.0, np.nan, -3.0, 99.0])
    assert largest_difference_m(model.expect(features, baseline_m), edge.expect(features, baseline_m)) <= ALLOWED_M


def test_a_row_is_answered_alike_among_others_and_alone(edge) -> None:
    features = np.random.default_rng(5).normal(0, 1, (700, len(FEATURES))).astype(np.float32)
    baseline_m = np.zeros(len(features))
    together = edge.expect(features, baseline_m)
    for row in (0, 255, 256, 699):
        alone = edge.expect(features[row : row + 1], baseline_m[:1])
        assert alone.expected_m[0] == together.expected_m[row]


def test_a_flood_is_judged_alike(model, edge) -> None:
    record = read_record(UNSEEN)
    flood = int(np.argmax(record.level_m))
    rows = np.arange(flood - 200, flood + 200)
    arguments = (record.station, record.time_us, record.level_m, rows)
    np.testing.assert_array_equal(judge(model, *arguments).score, judge(edge, *arguments).score)
