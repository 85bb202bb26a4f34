"""The trained booster's trees as tables for the edge: read from XGBoost's own JSON of the model.

Source of the format: XGBoost, "Introduction to Model IO" and ``doc/model.schema`` (3.2).
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.errors import ModelArtefactError
from streamgauge.scoring.edge import DEPTH_MAX, PROBES, Probes, Tables, to_bytes
from streamgauge.scoring.features import FEATURES
from streamgauge.scoring.model import QUANTILES


def edge_bytes(model: bytes, model_sha256: str) -> bytes:
    """The edge file of a trained model; the same model gives the same bytes.

    Args:
        model: the content of ``model.ubj``.
        model_sha256: the identity of the model that it belongs to.

    Raises:
        ModelArtefactError: the model is not of the kind that ``streamgauge.scoring.train`` makes.
    """
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(model))
    booster.set_param({"nthread": 1})
    tables = flatten(json.loads(booster.save_raw("json")))
    values = _probe_values(tables)
    answer_m = booster.inplace_predict(values, validate_features=False).reshape(-1, len(QUANTILES))
    return to_bytes(tables, Probes(values, answer_m), model_sha256)


_PROBE_SEED = 4
_PROBE_MISSING = 0.1


def _probe_values(tables: Tables) -> NDArray[np.float32]:
    """Rows made of the trees' own thresholds, exactly at, just below and just above them, and of missing values."""
    random = np.random.default_rng(_PROBE_SEED)
    values = np.zeros((PROBES, len(FEATURES)), dtype=np.float32)
    for column in range(len(FEATURES)):
        asked = np.unique(tables.threshold[tables.feature == column])
        chosen = random.choice(asked if len(asked) else np.zeros(1, dtype=np.float32), PROBES).astype(np.float32)
        towards = random.choice(np.array([-np.inf, 0.0, np.inf], dtype=np.float32), PROBES)
        values[:, column] = np.where(towards == 0.0, chosen, np.nextafter(chosen, towards))
    values[random.random(values.shape) < _PROBE_MISSING] = np.nan
    return values


def flatten(model: Mapping[str, Any]) -> Tables:
    """The trees of a model, each completed to the depth of the deepest.

    Args:
        model: XGBoost's JSON of it.

    Raises:
        ModelArtefactError: it has other outputs than ``QUANTILES`` or other columns than ``FEATURES``, categorical
            questions, or trees deeper than ``DEPTH_MAX``.
    """
    learner = model["learner"]
    grown = learner["gradient_booster"]["model"]
    trees, outputs = grown["trees"], grown["tree_info"]
    base = np.array(json.loads(learner["learner_model_param"]["base_score"]), dtype=np.float32)
    _check(learner, trees, outputs, base)
    depth = max(_depth_of(tree) for tree in trees)
    if not 0 < depth <= DEPTH_MAX:
        raise ModelArtefactError(f"The edge takes trees of depth 1 to {DEPTH_MAX}; this model has {depth}.")
    questions = 2**depth - 1
    tables = Tables(
        feature=np.zeros((len(trees), questions), dtype=np.uint8),
        threshold=np.zeros((len(trees), questions), dtype=np.float32),
        missing_right=np.zeros((len(trees), questions), dtype=np.uint8),
        leaf=np.zeros((len(trees), questions + 1), dtype=np.float32),
        base=base,
    )
    for number, tree in enumerate(trees):
        _complete(tree, number, depth, tables)
    return tables


def _check(
    learner: Mapping[str, Any], trees: list[dict[str, Any]], outputs: list[int], base: NDArray[np.float32]
) -> None:
    problems = []
    if learner["objective"]["name"] != "reg:quantileerror" or base.shape != (len(QUANTILES),):
        problems.append(f"it is no quantile regression with {len(QUANTILES)} outputs")
    if outputs != [number % len(QUANTILES) for number in range(len(trees))]:
        problems.append("its trees do not take turns by output")
    if learner["learner_model_param"]["num_feature"] != str(len(FEATURES)):
        problems.append(f"it takes {learner['learner_model_param']['num_feature']} features, not {len(FEATURES)}")
    if any(any(tree["split_type"]) for tree in trees):
        problems.append("it asks for categories")
    if problems:
        raise ModelArtefactError(f"The edge cannot hold this model: {'; '.join(problems)}.")


_LEAF = -1


def _depth_of(tree: Mapping[str, Any], node: int = 0) -> int:
    if tree["left_children"][node] == _LEAF:
        return 0
    return 1 + max(_depth_of(tree, tree[side][node]) for side in ("left_children", "right_children"))


def _complete(tree: Mapping[str, Any], number: int, depth: int, tables: Tables) -> None:
    """Write one tree into its row of the tables, level by level; a leaf that comes early is repeated downwards."""
    nodes = [0]
    for level in range(depth):
        below = []
        for place, node in enumerate(nodes, start=2**level - 1):
            if tree["left_children"][node] == _LEAF:
                below += [node, node]
                continue
            tables.feature[number, place] = tree["split_indices"][node]
            tables.threshold[number, place] = tree["split_conditions"][node]
            tables.missing_right[number, place] = not tree["default_left"][node]
            below += [tree["left_children"][node], tree["right_children"][node]]
        nodes = below
    # A leaf's value stands where a question's threshold would.
    tables.leaf[number] = [tree["split_conditions"][node] for node in nodes]
