"""The edge artefact: made from the shipped model to the byte, whole and fitting or refused."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import xgboost

from streamgauge.errors import ModelArtefactError
from streamgauge.scoring.edge import EdgeModel, to_bytes
from streamgauge.scoring.features import FEATURES
from streamgauge.scoring.flatten import edge_bytes, flatten
from streamgauge.scoring.model import ARTEFACT, CARD_FILE, EDGE_FILE, MODEL_FILE, Model
from streamgauge.scoring.train import Training

SHIPPED_BYTES_MAX = 200_000


@pytest.fixture
def copied(tmp_path):
    for name in (EDGE_FILE, CARD_FILE):
        shutil.copy(ARTEFACT / name, tmp_path / name)
    return tmp_path


def write_with_header(folder, change=lambda header: header, body_change=lambda body: body):
    """The edge file with another header or body and a hash that fits it."""
    path = folder / EDGE_FILE
    line, _, body = path.read_bytes()[32:].partition(b"\n")
    rest = json.dumps(change(json.loads(line))).encode() + b"\n" + body_change(body)
    path.write_bytes(hashlib.sha256(rest).digest() + rest)


def test_the_shipped_file_is_what_the_shipped_model_gives() -> None:
    shipped = (ARTEFACT / EDGE_FILE).read_bytes()
    assert edge_bytes((ARTEFACT / MODEL_FILE).read_bytes(), Model.load().sha256) == shipped
    assert len(shipped) < SHIPPED_BYTES_MAX


def test_it_names_the_model_that_it_was_made_from() -> None:
    assert EdgeModel.load().sha256 == Model.load().sha256


def test_what_is_written_is_read_again() -> None:
    model = EdgeModel.load()
    assert to_bytes(model.tables, model.probes, model.sha256) == (ARTEFACT / EDGE_FILE).read_bytes()


def test_a_gateway_without_the_card_can_load_it(copied) -> None:
    (copied / CARD_FILE).unlink()
    assert EdgeModel.load(copied).sha256 == EdgeModel.load().sha256


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(ModelArtefactError, match=f"{EDGE_FILE} cannot be read.*make train"):
        EdgeModel.load(tmp_path)


@pytest.mark.parametrize("cut", [0, 1, 31, 32, 33, 200, -1])
def test_a_truncated_file_is_refused(copied, cut) -> None:
    path = copied / EDGE_FILE
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelArtefactError, match=r"damaged|header"):
        EdgeModel.load(copied)


@pytest.mark.parametrize("place", [0, 40, 1_000, 80_000])
def test_one_changed_bit_is_noticed(copied, place) -> None:
    path = copied / EDGE_FILE
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelArtefactError, match="damaged"):
        EdgeModel.load(copied)


def test_a_model_of_other_features_is_refused(copied) -> None:
    write_with_header(copied, lambda header: header | {"features_sha256": "0" * 64})
    with pytest.raises(ModelArtefactError, match=r"other features.*make train"):
        EdgeModel.load(copied)


def test_a_file_of_another_model_than_the_card_is_refused(copied) -> None:
    write_with_header(copied, lambda header: header | {"model_sha256": "0" * 64})
    with pytest.raises(ModelArtefactError, match="one of the two is not of this release"):
        EdgeModel.load(copied)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header | {"format": "other"},
        lambda header: header | {"trees": 0},
        lambda header: header | {"trees": 271},
        lambda header: header | {"trees": 2**40},
        lambda header: header | {"depth": -1},
        lambda header: header | {"depth": 60},
        lambda header: header | {"depth": True},
        lambda header: header | {"model_sha256": None},
        lambda _: [],
        lambda _: None,
    ],
)
def test_a_header_that_does_not_fit_is_refused(copied, change) -> None:
    write_with_header(copied, change)
    with pytest.raises(ModelArtefactError, match="make train"):
        EdgeModel.load(copied)


@pytest.mark.parametrize("change", [lambda body: body + b"\0", lambda body: body[:-4], lambda body: b"\xff" + body[1:]])
def test_tables_that_do_not_fit_are_refused(copied, change) -> None:
    write_with_header(copied, body_change=change)
    with pytest.raises(ModelArtefactError, match="tables"):
        EdgeModel.load(copied)


def test_tables_that_answer_otherwise_than_xgboost_are_refused(tmp_path) -> None:
    model = EdgeModel.load()
    off = replace(model.tables, base=model.tables.base + np.float32(2e-5))
    (tmp_path / EDGE_FILE).write_bytes(to_bytes(off, model.probes, model.sha256))
    with pytest.raises(ModelArtefactError, match=r"largest difference is 2e-05 m.*make train"):
        EdgeModel.load(tmp_path)


def small_model(columns=22, **parameters):
    chance = np.random.default_rng(1)
    rows = chance.random((2_000, columns), dtype=np.float32)
    matrix = xgboost.QuantileDMatrix(rows, label=chance.random(len(rows)), nthread=1)
    chosen = Training().booster_parameters() | {"min_child_weight": 1} | parameters
    return json.loads(xgboost.train(chosen, matrix, num_boost_round=2).save_raw("json"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: small_model(columns=5), "5 features"),
        (lambda: small_model(quantile_alpha=[0.1, 0.9]), "3 outputs"),
        (lambda: small_model(max_depth=14), "depth"),
    ],
)
def test_models_that_the_tables_cannot_hold_are_refused_when_they_are_made(model, said) -> None:
    with pytest.raises(ModelArtefactError, match=said):
        flatten(model())


def test_trees_of_uneven_depth_are_completed() -> None:
    grown = small_model(max_depth=8, min_child_weight=40)
    sizes = {len(tree["left_children"]) for tree in grown["learner"]["gradient_booster"]["model"]["trees"]}
    assert max(sizes) < 2**9 - 1
    assert flatten(grown).leaf.shape == (6, 2**8)


def test_nothing_asked_nothing_expected() -> None:
    assert len(EdgeModel.load().expect(np.empty((0, len(FEATURES)), dtype=np.float32), np.empty(0)).low_m) == 0


def test_it_needs_no_xgboost() -> None:
    program = (
        "import sys; sys.modules['xgboost'] = None\n"
        "import streamgauge.scoring.judge\n"
        "from streamgauge.scoring.edge import EdgeModel\n"
        "EdgeModel.load()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
