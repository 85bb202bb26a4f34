"""The shipped model: what level to expect next and between which bounds."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.errors import ModelArtefactError
from streamgauge.scoring.features import FEATURES, FeatureMatrix, features_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

FloatArray = NDArray[np.float64]

ARTEFACT = Path(__file__).parent / "artefact"
"""The folder of the model that ships with the program."""

MODEL_FILE = "model.ubj"
CARD_FILE = "card.json"

QUANTILES = (0.05, 0.5, 0.95)
"""What the model's three outputs mean: lower bound, expected level, upper bound."""

_REPAIR = "Restore streamgauge/scoring/artefact from the release, or run `make train`."


@dataclass(frozen=True, slots=True)
class Expected:
    """What the model expected, float64[m] each; low_m ≤ expected_m ≤ high_m, all NaN where nothing is expected."""

    expected_m: FloatArray
    low_m: FloatArray
    high_m: FloatArray


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. It holds no state of any station and may serve many threads.

    Attributes:
        sha256: the hash of the model's file, which identifies it everywhere.
        card: what is known of it: data, parameters, metrics.
    """

    sha256: str
    card: "Mapping[str, Any]"
    _booster: Any

    @classmethod
    def load(cls, folder: Path = ARTEFACT) -> "Model":
        """Read a model and make sure that it is whole and fits this program's features.

        Args:
            folder: holds ``model.ubj`` and ``card.json``.

        Raises:
            ModelArtefactError: a file is missing, damaged or made for other features; the message says what to do.
        """
        card = _read_card(folder / CARD_FILE)
        content = _read(folder / MODEL_FILE)
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != card["sha256"]:
            raise ModelArtefactError(
                f"{folder / MODEL_FILE} has the hash {sha256[:12]}… and its card says {str(card['sha256'])[:12]}…: "
                f"the file is damaged, or one of the two is not of this model. {_REPAIR}"
            )
        if card["features_sha256"] != features_sha256():
            raise ModelArtefactError(
                f"The model in {folder} was trained on other features (version {str(card['features_sha256'])[:12]}…) "
                f"than this program makes (version {features_sha256()[:12]}…). {_REPAIR}"
            )
        return cls(sha256=sha256, card=MappingProxyType(card), _booster=_booster(content, folder / MODEL_FILE))

    def expect(self, features: FeatureMatrix, baseline_m: FloatArray) -> Expected:
        """What is expected of each row.

        Args:
            features: float32[m, len(FEATURES)], as ``features.build`` makes them.
            baseline_m: the last usable level, float64[m]; NaN: nothing is expected.
        """
        if len(features) == 0:
            return Expected(np.empty(0), np.empty(0), np.empty(0))
        change_m = self._booster.inplace_predict(features, validate_features=False)
        # Quantiles are learnt one by one and may cross; sorted they cannot.
        levels = np.sort(change_m.astype(np.float64).reshape(-1, len(QUANTILES)), axis=1) + baseline_m[:, np.newaxis]
        low_m, expected_m, high_m = np.ascontiguousarray(levels.T)
        return Expected(expected_m, low_m, high_m)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelArtefactError(f"{path} cannot be read ({error.strerror}). {_REPAIR}") from error


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(_read(path))
    except ValueError as error:
        raise ModelArtefactError(f"{path} is not JSON ({error}). {_REPAIR}") from error
    missing = {"sha256", "features_sha256"} - set(card) if isinstance(card, dict) else {"everything"}
    if missing:
        raise ModelArtefactError(f"{path} does not say {sorted(missing)}. {_REPAIR}")
    return dict(card)


def _booster(content: bytes, path: Path) -> Any:
    import xgboost

    if not content:  # XGBoost 3.2 ends the whole process on an empty buffer.
        raise ModelArtefactError(f"{path} is empty. {_REPAIR}")
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(content))
    except xgboost.core.XGBoostError as error:
        raise ModelArtefactError(
            f"{path} is not a model that XGBoost {xgboost.__version__} reads. {_REPAIR}"
        ) from error
    if booster.num_features() != len(FEATURES):
        raise ModelArtefactError(
            f"{path} takes {booster.num_features()} features and this program makes {len(FEATURES)}. {_REPAIR}"
        )
    booster.set_param({"nthread": 1})
    return booster
