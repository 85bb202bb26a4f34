"""The shipped model without XGBoost: its trees as flat tables, which numpy walks. For gateways, where memory is short.

The file is made from the trained booster by ``streamgauge.scoring.flatten`` and expects the same to the last bit. Its
bytes, all numbers little-endian:

* 32 bytes: SHA-256 of everything that follows;
* one line of JSON: what the file is (``format``), of which model and for which features, and how many trees and levels;
* the tables, one after the other, in the order and types of ``Tables``;
* rows of features and what XGBoost itself answers to them: the walk is held against them whenever the file is loaded.

Every tree is complete: ``depth`` levels of questions, then leaves. Where the booster's tree ended earlier, both answers lead
to the same value. So no table of children is needed: from question ``n`` one goes on to ``2n + 1`` or ``2n + 2``.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.errors import ModelArtefactError
from streamgauge.scoring.features import FEATURES, FeatureMatrix, FloatArray, features_sha256
from streamgauge.scoring.model import ARTEFACT, CARD_FILE, EDGE_FILE, QUANTILES, Expected

FORMAT = "streamgauge edge model 2"

DEPTH_MAX = 10
"""Deeper trees would be padded to more than a thousand leaves each; this is no format for them."""

PROBES = 64
"""So many rows with XGBoost's answers are in the file."""

TOLERANCE_M = 1e-5
"""The walk may differ from XGBoost by so much; it does not differ at all where both round alike."""

_TREES_MAX = 100_000
_HASH_BYTES = 32
_CHUNK_ROWS = 256
_REPAIR = "Restore streamgauge/scoring/artefact from the release, or run `make train`."


@dataclass(frozen=True, slots=True)
class Tables:
    """All trees, the trees of one output side by side: tree ``t`` belongs to output ``t % len(QUANTILES)``.

    Attributes:
        feature: the column that each question asks for, uint8[trees, 2**depth - 1].
        threshold: the answer is left if the value is less than this, float32 likewise.
        missing_right: where a missing value goes, uint8 likewise: 1 right, 0 left.
        leaf: the values, metres, float32[trees, 2**depth].
        base: what each output's sum begins with, metres, float32[len(QUANTILES)].
    """

    feature: NDArray[np.uint8]
    threshold: NDArray[np.float32]
    missing_right: NDArray[np.uint8]
    leaf: NDArray[np.float32]
    base: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Probes:
    """What XGBoost answers to some rows.

    Attributes:
        values: float32[PROBES, len(FEATURES)].
        answer_m: float32[PROBES, len(QUANTILES)].
    """

    values: NDArray[np.float32]
    answer_m: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EdgeModel:
    """A loaded model. It holds no state of any station and may serve many threads.

    Attributes:
        sha256: the hash of the XGBoost model that it was made from, which identifies it everywhere.
        tables: its trees.
        probes: rows on which the walk was found to answer as XGBoost does.
    """

    sha256: str
    tables: Tables
    probes: Probes

    @classmethod
    def load(cls, folder: Path = ARTEFACT) -> "EdgeModel":
        """Read a model and make sure that it is whole and fits this program's features.

        Args:
            folder: holds ``edge.bin``; ``card.json`` is compared with it where it is there too.

        Raises:
            ModelArtefactError: the file is missing, damaged, made for other features or from another model than the
                card's; the message says what to do.
        """
        path = folder / EDGE_FILE
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelArtefactError(f"{path} cannot be read ({error.strerror}). {_REPAIR}") from error
        model = from_bytes(content, path)
        expected = _sha256_of_card(folder)
        if expected not in {None, model.sha256}:
            raise ModelArtefactError(
                f"{path} was made from the model {model.sha256[:12]}… and the card beside it is of {expected}: "
                f"one of the two is not of this release. {_REPAIR}"
            )
        return model

    def expect(self, features: FeatureMatrix, baseline_m: FloatArray) -> Expected:
        """What is expected of each row; the same as ``streamgauge.scoring.model.Model.expect`` says.

        Args:
            features: float32[m, len(FEATURES)], as ``features.build`` makes them.
            baseline_m: the last usable level, float64[m]; NaN: nothing is expected.
        """
        change_m = np.empty((len(features), len(QUANTILES)))
        for start in range(0, len(features), _CHUNK_ROWS):
            change_m[start : start + _CHUNK_ROWS] = _walk(self.tables, features[start : start + _CHUNK_ROWS])
        # Quantiles are learnt one by one and may cross; sorted they cannot.
        levels = np.sort(change_m, axis=1) + baseline_m[:, np.newaxis]
        low_m, expected_m, high_m = np.ascontiguousarray(levels.T)
        return Expected(expected_m, low_m, high_m)


def _walk(tables: Tables, features: FeatureMatrix) -> NDArray[np.float32]:
    """The sums of all trees' answers, float32[rows, outputs]: one step of all trees and rows at once per level."""
    trees, questions = tables.feature.shape
    row = np.arange(len(features))[:, np.newaxis]
    first = np.arange(trees) * questions
    feature, threshold, missing_right = (
        table.ravel() for table in (tables.feature, tables.threshold, tables.missing_right)
    )
    missing = np.isnan(features)
    place = np.zeros((len(features), trees), dtype=np.intp)
    for _ in range(_depth(questions)):
        question = first + place
        column = feature[question]
        right = features[row, column] >= threshold[question]
        right |= missing[row, column] & (missing_right[question] == 1)
        place = 2 * place + 1 + right
    answers = tables.leaf.ravel()[np.arange(trees) * (questions + 1) + (place - questions)]
    answers = answers.reshape(len(features), -1, len(QUANTILES))
    # XGBoost adds single-precision numbers to the base, tree by tree; in this order the last bit is the same too.
    answers[:, 0] += tables.base
    return np.add.accumulate(answers, axis=1)[:, -1]


def _depth(questions: int) -> int:
    return (questions + 1).bit_length() - 1


def to_bytes(tables: Tables, probes: Probes, model_sha256: str) -> bytes:
    """The file of an edge model: the same tables give the same bytes everywhere.

    Args:
        tables: complete trees.
        probes: XGBoost's own answers.
        model_sha256: of the model that they were taken from.
    """
    trees, questions = tables.feature.shape
    header = {
        "format": FORMAT,
        "model_sha256": model_sha256,
        "features_sha256": features_sha256(),
        "trees": trees,
        "depth": _depth(questions),
    }
    line = json.dumps(header, sort_keys=True).encode() + b"\n"
    body = b"".join(
        getattr(probes if name in Probes.__slots__ else tables, name).astype(kind).tobytes()
        for name, kind, _ in _layout(trees, _depth(questions))
    )
    return hashlib.sha256(line + body).digest() + line + body


def from_bytes(content: bytes, path: Path) -> EdgeModel:
    """Check and read the file of an edge model.

    Args:
        content: the file's bytes.
        path: where they come from, for the message.

    Raises:
        ModelArtefactError: the bytes are damaged, no edge model, or made for other features.
    """
    if hashlib.sha256(content[_HASH_BYTES:]).digest() != content[:_HASH_BYTES]:
        raise ModelArtefactError(f"{path} is damaged: its content has not the hash that it begins with. {_REPAIR}")
    line, _, body = content[_HASH_BYTES:].partition(b"\n")
    header = _header(line, path)
    if header["features_sha256"] != features_sha256():
        raise ModelArtefactError(
            f"{path} was made for other features (version {str(header['features_sha256'])[:12]}…) than this program makes "
            f"(version {features_sha256()[:12]}…). {_REPAIR}"
        )
    found = _tables(body, header["trees"], header["depth"])
    if found is None:
        raise ModelArtefactError(f"{path} does not hold the tables that it promises. {_REPAIR}")
    tables, probes = found
    off_m = np.abs(_walk(tables, probes.values) - probes.answer_m)
    if not (off_m <= TOLERANCE_M).all():
        raise ModelArtefactError(
            f"{path} does not say what the model says that it was made from: the largest difference is {off_m.max():.3g} m"
            f" and {TOLERANCE_M:g} m is allowed. {_REPAIR}"
        )
    return EdgeModel(sha256=header["model_sha256"], tables=tables, probes=probes)


def _layout(trees: int, depth: int) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Name, type and shape of each table, in the file's order."""
    questions = (trees, 2**depth - 1)
    return (
        ("feature", "u1", questions),
        ("threshold", "<f4", questions),
        ("missing_right", "u1", questions),
        ("leaf", "<f4", (trees, 2**depth)),
        ("base", "<f4", (len(QUANTILES),)),
        ("values", "<f4", (PROBES, len(FEATURES))),
        ("answer_m", "<f4", (PROBES, len(QUANTILES))),
    )


def _header(line: bytes, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    kinds = {"format": str, "model_sha256": str, "features_sha256": str, "trees": int, "depth": int}
    if not isinstance(header, dict) or any(type(header.get(name)) is not kind for name, kind in kinds.items()):
        raise ModelArtefactError(f"{path} is no edge model: its header cannot be read. {_REPAIR}")
    if header["format"] != FORMAT:
        raise ModelArtefactError(f"{path} is {header['format']!r} and this program reads {FORMAT!r}. {_REPAIR}")
    if not (0 < header["trees"] <= _TREES_MAX and 0 < header["depth"] <= DEPTH_MAX):
        raise ModelArtefactError(f"{path} promises {header['trees']} trees of depth {header['depth']}. {_REPAIR}")
    return header


def _tables(body: bytes, trees: int, depth: int) -> tuple[Tables, Probes] | None:
    """The tables and probes in the bytes; ``None`` if the bytes are not exactly those."""
    layout = _layout(trees, depth)
    sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for _, kind, shape in layout]
    if len(body) != sum(sizes) or trees % len(QUANTILES):
        return None
    found: dict[str, Any] = {}
    start = 0
    for (name, kind, shape), size in zip(layout, sizes, strict=True):
        found[name] = np.frombuffer(body, dtype=kind, count=int(np.prod(shape)), offset=start).reshape(shape)
        start += size
    probes = Probes(**{name: found.pop(name) for name in Probes.__slots__})
    tables = Tables(**found)
    return (tables, probes) if tables.feature.max() < len(FEATURES) else None


def _sha256_of_card(folder: Path) -> str | None:
    """The model that the card beside the file is of; ``None`` without a readable card (``Model.load`` judges cards)."""
    try:
        card = json.loads((folder / CARD_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return str(card["sha256"]) if isinstance(card, dict) and "sha256" in card else None
