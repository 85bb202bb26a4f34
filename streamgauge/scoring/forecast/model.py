"""The trained forecast models: from what is known at some issues to what each horizon's change might be."""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.errors import ModelArtefactError
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.members import MEMBERS, TAILS, member_name
from streamgauge.scoring.forecast.mixing import STATES
from streamgauge.scoring.forecast.proposals import PROPOSALS, Proposed, proposed
from streamgauge.scoring.forecast.scaling import scaled
from streamgauge.scoring.forecast.window_features import FEATURES, Known, window_features_sha256

FloatArray = NDArray[np.float64]

_CHUNK_ROWS = 20_000
_UNPACKED_MAX_BYTES = 400_000_000
_REPAIR = "Restore streamgauge/scoring/artefact from the release, or run `make train`."


@dataclass(frozen=True, slots=True)
class Prior:
    """What the training record says of a station that nothing is known of yet.

    Attributes:
        relative_error: of each proposal, compared with persistence, float64[horizons, states, proposals].
        log_factor: of the band's lower and upper half, float64[horizons, states, 2].
    """

    relative_error: FloatArray
    log_factor: FloatArray

    @classmethod
    def of_nothing(cls) -> "Prior":
        """All proposals alike, the band as the model says."""
        shape = (len(HORIZONS_S), len(STATES))
        return cls(np.ones((*shape, len(PROPOSALS))), np.zeros((*shape, 2)))

    def to_json(self) -> dict[str, Any]:
        """The numbers, rounded, for the card."""
        return {
            "proposals": list(PROPOSALS),
            "relative_error": self.relative_error.round(4).tolist(),
            "log_factor": self.log_factor.round(4).tolist(),
        }

    @classmethod
    def from_json(cls, found: object) -> "Prior":
        """The prior in a card.

        Raises:
            ModelArtefactError: the card has none that fits this program.
        """
        shape = (len(HORIZONS_S), len(STATES))
        try:
            assert isinstance(found, dict)
            prior = cls(
                np.array(found["relative_error"], dtype=np.float64), np.array(found["log_factor"], dtype=np.float64)
            )
            fits = found["proposals"] == list(PROPOSALS)
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise ModelArtefactError(f"The model's card holds no prior of its forecasts. {_REPAIR}") from error
        if not fits or prior.relative_error.shape != (*shape, len(PROPOSALS)) or prior.log_factor.shape != (*shape, 2):
            raise ModelArtefactError(f"The prior of the forecasts in the model's card is of another version. {_REPAIR}")
        if not (np.isfinite(prior.relative_error).all() and np.isfinite(prior.log_factor).all()):
            raise ModelArtefactError(f"The prior of the forecasts in the model's card is not finite. {_REPAIR}")
        return prior


@dataclass(frozen=True, slots=True)
class ForecastModel:
    """A loaded model. It holds no state of any station and may serve many threads.

    Attributes:
        prior: what a new station begins with.
    """

    prior: Prior
    _boosters: Mapping[str, Any]

    def propose(self, known: Known) -> Proposed:
        """What each horizon's change might be, for every issue.

        Args:
            known: of the issues, of any stations.
        """
        issues = len(known.baseline_m)
        members_m = np.zeros((len(MEMBERS), issues, len(HORIZONS_S)))
        tails_m = np.zeros((issues, len(HORIZONS_S), 2))
        for start in range(0, issues, _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            self._answer(known.values[rows], known.scale_m[rows], members_m[:, rows], tails_m[rows])
        return proposed(known, members_m, tails_m)

    def _answer(
        self, values: NDArray[np.float32], scale_m: FloatArray, members_m: FloatArray, tails_m: FloatArray
    ) -> None:
        for number, member in enumerate((*MEMBERS, TAILS)):
            columns, divisor_m = scaled(values, scale_m, member.scale)
            for place, horizon_s in enumerate(HORIZONS_S):
                booster = self._boosters[member_name(member, horizon_s)]
                answer = booster.inplace_predict(columns, validate_features=False).astype(np.float64)
                if member is TAILS:
                    tails_m[:, place] = answer.reshape(-1, 2) * divisor_m[:, np.newaxis]
                else:
                    members_m[number, :, place] = answer * divisor_m

    @classmethod
    def from_bytes(cls, content: bytes) -> "ForecastModel":
        """Read what ``pack`` wrote.

        Raises:
            ModelArtefactError: the bytes are damaged, or hold models of other features or horizons.
        """
        found = unpack(content)
        about = _about(found.pop(_ABOUT, b""))
        if set(found) != {member_name(member, horizon_s) for member in (*MEMBERS, TAILS) for horizon_s in HORIZONS_S}:
            raise ModelArtefactError(f"The forecast file does not hold the models of this program. {_REPAIR}")
        return cls(Prior.from_json(about.get("prior")), {name: _booster(name, part) for name, part in found.items()})

    @classmethod
    def of_models(cls, models: Mapping[str, bytes], prior: Prior | None = None) -> "ForecastModel":
        """Newly trained models.

        Args:
            models: XGBoost's UBJSON by ``member_name``.
            prior: what a new station begins with; none is known before the models have been tried.
        """
        return cls.from_bytes(pack(models, prior or Prior.of_nothing()))


def _about(content: bytes) -> dict[str, Any]:
    try:
        about = json.loads(content)
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise ModelArtefactError(f"The forecast file does not say what it was made for. {_REPAIR}")
    version = str(about.get("features_sha256"))
    if version != window_features_sha256():
        raise ModelArtefactError(
            f"The forecast file was trained on other features (version {version[:12]}…) than this program makes (version"
            f" {window_features_sha256()[:12]}…). {_REPAIR}"
        )
    return about


def _booster(name: str, content: bytes) -> Any:
    import xgboost

    booster = xgboost.Booster()
    try:
        if not content:  # XGBoost 3.2 ends the whole process on an empty buffer.
            raise ValueError("it is empty")
        booster.load_model(bytearray(content))
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise ModelArtefactError(
            f"The forecast file's model {name} is none that XGBoost {xgboost.__version__} reads. {_REPAIR}"
        ) from error
    if booster.num_features() != len(FEATURES):
        raise ModelArtefactError(
            f"The forecast file's model {name} takes {booster.num_features()} features and this program makes"
            f" {len(FEATURES)}. {_REPAIR}"
        )
    booster.set_param({"nthread": 1})
    return booster


_MAGIC = b"SGF1"
_PART = struct.Struct("<HI")


_ABOUT = "about"


def pack(models: Mapping[str, bytes], prior: Prior) -> bytes:
    """The models as one file: ``SGF1`` and, deflated, per part the lengths of name and content, then both.

    The part ``about`` is JSON: the features' version and the prior. The others are XGBoost's UBJSON by ``member_name``.
    """
    about = json.dumps({"features_sha256": window_features_sha256(), "prior": prior.to_json()}, sort_keys=True).encode()
    return pack_parts({**models, _ABOUT: about})


def pack_parts(parts: Mapping[str, bytes]) -> bytes:
    """The parts as one file; the same parts give the same bytes."""
    plain = [_PART.pack(len(name), len(parts[name])) + name.encode() + parts[name] for name in sorted(parts)]
    return _MAGIC + zlib.compress(b"".join(plain), 9)


def unpack(content: bytes) -> dict[str, bytes]:
    """The models in a file that ``pack`` wrote.

    Raises:
        ModelArtefactError: it is none.
    """
    try:
        if not content.startswith(_MAGIC):
            raise ValueError("it does not begin as one")
        deflated = zlib.decompressobj()
        plain = deflated.decompress(content[len(_MAGIC) :], _UNPACKED_MAX_BYTES)
        if not deflated.eof or deflated.unused_data:
            raise ValueError("it is cut off, or something follows it")
        found: dict[str, bytes] = {}
        place = 0
        while place < len(plain):
            name_bytes, part_bytes = _PART.unpack_from(plain, place)
            begin = place + _PART.size + name_bytes
            place = begin + part_bytes
            if place > len(plain):
                raise ValueError("a part is cut off")
            found[plain[begin - name_bytes : begin].decode()] = plain[begin:place]
    except (ValueError, struct.error, zlib.error) as error:
        raise ModelArtefactError(f"The forecast file is damaged: {error}. {_REPAIR}") from error
    return found
