"""A model: what level to expect next and between which bounds, and the forecasts' models; whole and fitting, or refused."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.errors import ModelArtefactError
from streamgauge.scoring.features import FEATURES, FeatureMatrix, features_sha256
from streamgauge.scoring.forecast.model import ForecastModel
from streamgauge.units import GAGE_RESOLUTION_M

FloatArray = NDArray[np.float64]

ARTEFACT = Path(__file__).parent / "artefact"
"""The folder of the model that ships with the program."""

MODEL_FILE = "model.ubj"
FORECAST_FILE = "forecast.bin"
EDGE_FILE = "edge.bin"
CARD_FILE = "card.json"

FILES = (CARD_FILE, EDGE_FILE, FORECAST_FILE, MODEL_FILE)
"""What a model consists of; the card to read beside them is made from ``card.json``."""

QUANTILES = (0.05, 0.5, 0.95)
"""What the nowcast's three outputs mean: lower bound, expected level, upper bound."""

HALF_WIDTH_MIN_M = GAGE_RESOLUTION_M
"""Half of the band counts as at least this wide: one step of a gauge's display, which is no surprise."""

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
        sha256: the hash of its files (``identity``), which identifies it everywhere.
        card: what is known of it: data, parameters, metrics.
        forecast: its models of five minutes to six hours ahead.
    """

    sha256: str
    card: Mapping[str, Any]
    forecast: ForecastModel
    _booster: Any
    _files: Mapping[str, bytes]

    @classmethod
    def load(cls, folder: Path = ARTEFACT) -> "Model":
        """Read a model and make sure that it is whole and fits this program's features.

        Args:
            folder: holds ``FILES``.

        Raises:
            ModelArtefactError: a file is missing, damaged or made for other features; the message says what to do.
        """
        return cls._of_files({name: _read(folder / name) for name in FILES}, f"{folder}/")

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Model":
        """The same from the files' bytes by name, as ``files`` gives them.

        Raises:
            ModelArtefactError: as for ``load``.
        """
        missing = sorted(set(FILES) - set(files))
        if missing:
            raise ModelArtefactError(f"The model lacks {' and '.join(missing)}. {_REPAIR}")
        return cls._of_files({name: bytes(files[name]) for name in FILES}, "the stored ")

    @classmethod
    def _of_files(cls, files: Mapping[str, bytes], where: str) -> "Model":
        card = _read_card(files[CARD_FILE], f"{where}{CARD_FILE}")
        _check_hashes(files, card, where)
        if card["features_sha256"] != features_sha256():
            raise ModelArtefactError(
                f"The model in {where}{MODEL_FILE} was trained on other features (version"
                f" {str(card['features_sha256'])[:12]}…) than this program makes (version {features_sha256()[:12]}…). {_REPAIR}"
            )
        return cls(
            sha256=card["sha256"],
            card=MappingProxyType(card),
            forecast=ForecastModel.from_bytes(files[FORECAST_FILE]),
            _booster=_booster(files[MODEL_FILE], f"{where}{MODEL_FILE}"),
            _files=MappingProxyType(dict(files)),
        )

    def files(self) -> dict[str, bytes]:
        """Its files' bytes by name, as ``from_files`` takes them."""
        return dict(self._files)

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


def identity(files: Mapping[str, bytes]) -> str:
    """The hash that identifies a model: of the names and hashes of its trained files.

    The card is left out, as it names the identity, and so is the edge's file, which is made from the model's.
    """
    lines = [f"{name} {hashlib.sha256(files[name]).hexdigest()}\n" for name in (FORECAST_FILE, MODEL_FILE)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def described(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """What a card says of a model's files: each one's hash and size."""
    return {
        name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "size_bytes": len(files[name])}
        for name in FILES
        if name != CARD_FILE
    }


def _check_hashes(files: Mapping[str, bytes], card: Mapping[str, Any], where: str) -> None:
    for name, found in described(files).items():
        said = card["files"].get(name)
        expected = said.get("sha256") if isinstance(said, dict) else None
        if found["sha256"] != expected:
            raise ModelArtefactError(
                f"{where}{name} has the hash {found['sha256'][:12]}… and its card says {str(expected)[:12]}…: "
                f"the file is damaged, or one of the two is not of this model. {_REPAIR}"
            )
    if identity(files) != card["sha256"]:
        raise ModelArtefactError(
            f"{where}{CARD_FILE} is of the model {str(card['sha256'])[:12]}… and the files are of {identity(files)[:12]}…:"
            f" its hash is damaged. {_REPAIR}"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelArtefactError(f"{path} cannot be read ({error.strerror}). {_REPAIR}") from error


def _read_card(content: bytes, name: str) -> dict[str, Any]:
    try:
        card = json.loads(content)
    except ValueError as error:
        raise ModelArtefactError(f"{name} is not JSON ({error}). {_REPAIR}") from error
    kinds = {"sha256": str, "features_sha256": str, "files": dict}
    if not isinstance(card, dict):
        raise ModelArtefactError(f"{name} does not say {sorted(kinds)}. {_REPAIR}")
    missing = [key for key, kind in kinds.items() if not isinstance(card.get(key), kind)]
    if missing:
        raise ModelArtefactError(f"{name} does not say {missing}. {_REPAIR}")
    return dict(card)


def _booster(content: bytes, name: str) -> Any:
    import xgboost

    if not content:  # XGBoost 3.2 ends the whole process on an empty buffer.
        raise ModelArtefactError(f"{name} is empty. {_REPAIR}")
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(content))
    except xgboost.core.XGBoostError as error:
        raise ModelArtefactError(
            f"{name} is not a model that XGBoost {xgboost.__version__} reads. {_REPAIR}"
        ) from error
    if booster.num_features() != len(FEATURES):
        raise ModelArtefactError(
            f"{name} takes {booster.num_features()} features and this program makes {len(FEATURES)}. {_REPAIR}"
        )
    booster.set_param({"nthread": 1})
    return booster
