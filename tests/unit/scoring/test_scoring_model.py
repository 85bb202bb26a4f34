"""The shipped model: whole and fitting or refused; its bands in order; its score as documented."""

import json
import shutil
import warnings

import numpy as np
import pytest

from streamgauge.errors import ModelArtefactError
from streamgauge.quality.flags import Flag
from streamgauge.scoring.features import FEATURES, features_sha256
from streamgauge.scoring.judge import judge, score
from streamgauge.scoring.model import (
    ARTEFACT,
    CARD_FILE,
    FILES,
    FORECAST_FILE,
    MODEL_FILE,
    Expected,
    Model,
    described,
    identity,
)

MINUTE_US = 60_000_000
SHIPPED_BYTES_MAX = 4_000_000


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load()


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(ARTEFACT, tmp_path / "artefact")
    return tmp_path / "artefact"


def change_card(folder, **changes):
    path = folder / CARD_FILE
    card = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(card))


def replace_file(folder, name, content):
    """Another content of one file, and a card that vouches for it."""
    (folder / name).write_bytes(content)
    files = {known: (folder / known).read_bytes() for known in FILES}
    change_card(folder, sha256=identity(files), files=described(files))


def test_the_shipped_model_is_small_and_known_by_its_hash(model):
    assert sum((ARTEFACT / name).stat().st_size for name in FILES) < SHIPPED_BYTES_MAX
    assert model.sha256 == model.card["sha256"]
    assert model.card["features_sha256"] == features_sha256()
    assert model.card["features"] == list(FEATURES)


@pytest.mark.parametrize("name", sorted(set(FILES) - {CARD_FILE}))
def test_a_truncated_model_is_refused(copied, name):
    path = copied / name
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelArtefactError, match=r"(?s)hash.*damaged.*make train"):
        Model.load(copied)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 64, b"binf"])
def test_a_file_that_is_no_model_is_refused_though_its_hash_fits(copied, content):
    replace_file(copied, MODEL_FILE, content)
    with pytest.raises(ModelArtefactError, match="make train"):
        Model.load(copied)


def test_a_whole_model_cut_short_is_refused_though_its_hash_fits(copied):
    replace_file(copied, MODEL_FILE, (copied / MODEL_FILE).read_bytes()[:300_000])
    with pytest.raises(ModelArtefactError, match="make train"):
        Model.load(copied)


def test_a_card_with_another_identity_is_refused(copied):
    change_card(copied, sha256="0" * 64)
    with pytest.raises(ModelArtefactError, match=r"000000000000….*make train"):
        Model.load(copied)


@pytest.mark.parametrize("cut", [0, 3, 4, 100, 1_000_000, -1])
def test_a_forecast_file_cut_short_is_refused_though_its_hash_fits(copied, cut):
    replace_file(copied, FORECAST_FILE, (copied / FORECAST_FILE).read_bytes()[:cut])
    with pytest.raises(ModelArtefactError, match=r"forecast file.*make train"):
        Model.load(copied)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda parts: parts | {"about": b"{}"}, "other features"),
        (lambda parts: parts | {"about": b"null"}, "does not say"),
        (lambda parts: parts | {"rate_300": b""}, "rate_300"),
        (lambda parts: parts | {"rate_300": b"binf"}, "rate_300"),
        (lambda parts: parts | {"rate_301": parts["rate_300"]}, "models of this program"),
        (lambda parts: {name: part for name, part in parts.items() if name != "tails_3600"}, "models of this program"),
        (lambda parts: parts | {"about": parts["about"].replace(b"tide_before", b"tide_beside")}, "another version"),
        (lambda parts: parts | {"about": parts["about"].replace(b"relative_error", b"error")}, "no prior"),
    ],
)
def test_a_forecast_file_with_other_parts_is_refused(change, said):
    from streamgauge.scoring.forecast.model import ForecastModel, pack_parts, unpack

    parts = change(unpack((ARTEFACT / FORECAST_FILE).read_bytes()))
    with pytest.raises(ModelArtefactError, match=said):
        ForecastModel.from_bytes(pack_parts(parts))


def test_a_model_is_the_same_from_its_files_bytes(model):
    again = Model.from_files(model.files())
    assert again.sha256 == model.sha256 == identity(model.files())
    assert sorted(again.files()) == sorted(FILES)
    with pytest.raises(ModelArtefactError, match=r"lacks forecast\.bin.*make train"):
        Model.from_files({name: content for name, content in model.files().items() if name != FORECAST_FILE})


def test_a_model_of_other_features_is_refused(copied):
    change_card(copied, features_sha256="0" * 64)
    with pytest.raises(ModelArtefactError, match=r"other features.*make train"):
        Model.load(copied)


def test_a_model_with_another_number_of_columns_is_refused(copied):
    import xgboost

    rows = np.random.default_rng(1).random((50, 3), dtype=np.float32)
    matrix = xgboost.DMatrix(rows, label=rows[:, 0], nthread=1)
    content = bytes(xgboost.train({"nthread": 1}, matrix, num_boost_round=1).save_raw("ubj"))
    replace_file(copied, MODEL_FILE, content)
    with pytest.raises(ModelArtefactError, match="3 features"):
        Model.load(copied)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(ModelArtefactError, match=f"{name} cannot be read"):
        Model.load(copied)


@pytest.mark.parametrize("content", ["", "[]", "null", "{", '{"sha256": "0"}', "\udcff"])
def test_a_card_that_says_too_little_is_refused(copied, content):
    (copied / CARD_FILE).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelArtefactError, match=CARD_FILE):
        Model.load(copied)


def test_bounds_never_cross_and_nothing_is_expected_without_history(model):
    values = np.random.default_rng(3).normal(0, 50, (2000, len(FEATURES))).astype(np.float32)
    values[::7] = np.nan
    baseline_m = np.where(np.arange(2000) % 5 == 0, np.nan, 2.0)
    expected = model.expect(values, baseline_m)
    given = ~np.isnan(baseline_m)
    assert (expected.low_m[given] <= expected.expected_m[given]).all()
    assert (expected.expected_m[given] <= expected.high_m[given]).all()
    for bound in (expected.low_m, expected.expected_m, expected.high_m):
        assert bound.dtype == np.float64
        assert np.isnan(bound[~given]).all()
        assert np.isfinite(bound[given]).all()


def test_nothing_asked_nothing_expected(model):
    assert len(model.expect(np.empty((0, len(FEATURES)), dtype=np.float32), np.empty(0)).low_m) == 0


def test_what_failed_scores_one_and_what_has_no_expectation_scores_nothing():
    nothing = np.full(3, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = score(
            np.array([1e308, 1.0, np.inf]),
            Expected(nothing, nothing, nothing),
            np.array([Flag.FAIL, Flag.GOOD, Flag.FAIL], dtype=np.uint8),
        )
    assert points[0] == points[2] == 1.0
    assert np.isnan(points[1])


@pytest.mark.parametrize(
    "levels",
    [
        [1.0],
        [1.0] * 60,
        [np.nan] * 10,
        [np.inf, -np.inf] * 5,
        [1e308] * 10,
        [1.0] * 10 + [np.nan, 1e308, 1.0, -9.99, 99.9],
    ],
)
def test_odd_series_are_judged_without_a_warning_and_without_a_silent_score(model, levels):
    level_m = np.array(levels, dtype=np.float64)
    rows = len(levels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judged = judge(model, np.zeros(rows, dtype=np.int64), np.arange(rows) * 5 * MINUTE_US, level_m, np.arange(rows))
    failed = judged.checked.flags == Flag.FAIL
    assert (judged.score[failed] == 1.0).all()
    scored = np.isfinite(judged.score)
    assert not scored[np.isnan(level_m)].any()
    assert (np.isfinite(judged.expected.expected_m[scored & ~failed])).all()


def test_a_spike_is_anomalous_and_the_reading_after_it_is_not(model):
    level_m = np.full(60, 1.0)
    level_m[50] = 4.0
    judged = judge(model, np.zeros(60, dtype=np.int64), np.arange(60) * 5 * MINUTE_US, level_m, np.arange(48, 54))
    assert judged.checked.flags.tolist() == [1, 1, 4, 1, 1, 1]
    assert judged.score[2] == 1.0
    assert (np.delete(judged.score, 2) < 0.5).all()
