"""What the model that ships with this program says of itself, for parts that load no model: the web, the database's functions."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from streamgauge.errors import ModelArtefactError

FITTING = ("forecast_features_sha256", "horizons_s", "quantiles")
"""What must be the same in the cards of two models that one program can use."""

CARD = Path(__file__).parent / "artefact" / "card.json"


@cache
def shipped_card() -> dict[str, Any]:
    """The card of the model that ships with the program.

    Raises:
        ModelArtefactError: it cannot be read.
    """
    try:
        card = json.loads(CARD.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelArtefactError(f"{CARD} cannot be read ({error}); restore it from the release") from error
    return dict(card)


def fits_this_program(features_sha256: str | None, card: Mapping[str, Any]) -> bool:
    """Whether a model made for these features can be used here: the shipped model's features are this program's.

    ``Model.from_files`` asks the features themselves; this is for whoever shows or moves models without loading any.

    Args:
        features_sha256: of the features of the next reading.
        card: of the model; what it says of the forecasts' features and horizons counts too.
    """
    shipped = shipped_card()
    if features_sha256 is None or features_sha256 != shipped["features_sha256"]:
        return False
    return all(card.get(name, shipped.get(name)) == shipped.get(name) for name in FITTING)
