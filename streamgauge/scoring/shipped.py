"""What the model that ships with this program says of itself, for parts that load no model: the web, the database's functions."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from streamgauge.errors import ModelArtefactError

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


def fits_this_program(features_sha256: str | None) -> bool:
    """Whether a model made for these features can be used here: the shipped model's features are this program's.

    ``Model.from_files`` asks the features themselves; this is for whoever shows or moves models without loading any.
    """
    return features_sha256 is not None and features_sha256 == shipped_card()["features_sha256"]
