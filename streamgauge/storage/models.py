"""Model artefacts that scored something, so that each score says which model made it."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

_ADD = text("INSERT INTO models (sha256, card) VALUES (:sha256, CAST(:card AS jsonb)) ON CONFLICT (sha256) DO NOTHING")
_FIND = text("SELECT id FROM models WHERE sha256 = :sha256")


def ensure_model(connection: Connection, sha256: str, card: Mapping[str, Any]) -> int:
    """The id of the model with this artefact; it is written down when it is met for the first time."""
    found = connection.execute(_FIND, {"sha256": sha256}).scalar()
    if found is None:
        connection.execute(_ADD, {"sha256": sha256, "card": json.dumps(card)})
        found = connection.execute(_FIND, {"sha256": sha256}).scalar_one()
    return int(found)
