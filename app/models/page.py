"""Everything that the models page shows, read in one transaction."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from app.i18n import Words
from app.models.drift import make_drift
from app.models.form import ALL, BETWEEN, SPANS, Asked, empty_form
from app.models.presenter import make_model, make_moves, make_retrainings, make_scopes
from app.models.runs import make_runs
from app.session import signed_in_user
from streamgauge.storage.drift import drift_overview
from streamgauge.storage.model_aliases import Alias, Promotion, aliases, promotions
from streamgauge.storage.models import StoredModel, list_models, read_model
from streamgauge.storage.read_readings import Device, list_devices
from streamgauge.storage.rescore import list_runs
from streamgauge.storage.retrainings import retrainings

RUNS_SHOWN = 10
RUNS_LISTED = 50
MOVES_SHOWN = 500
TRAININGS_READ = 50
TRAININGS_SHOWN = 5
MODELS_SHOWN = 50
MOST_STATIONS = 10_000
ACTING_ROLES = frozenset({"operator", "admin"})
"""Who may move aliases, start runs and cancel them; a viewer sees it all."""


@dataclass(frozen=True, slots=True)
class Known:
    """The rows that the page rests on."""

    models: dict[int, StoredModel]
    aliases: list[Alias]
    moves: list[Promotion]
    stations: list[Device]

    @property
    def titles(self) -> dict[str, str]:
        """What people call the stations, by the wire's name."""
        return {station.name: station.display_name or station.name for station in self.stations}


def may_act() -> bool:
    """Whether the signed-in user may change anything here."""
    user = signed_in_user()
    return user is not None and user.role in ACTING_ROLES


def read_known(connection: Connection) -> Known:
    """Models, aliases, moves and stations."""
    placed, moves = aliases(connection), promotions(connection, MOVES_SHOWN)
    models = {model.id: model for model in list_models(connection)}
    for model_id in _named(placed, moves) - models.keys():
        if (model := read_model(connection, model_id)) is not None:
            models[model_id] = model
    return Known(models, placed, moves, list_devices(connection, "", MOST_STATIONS))


def _named(placed: Iterable[Alias], moves: Iterable[Promotion]) -> set[int]:
    named = {alias.model_id for alias in placed}
    for move in list(moves)[:RUNS_LISTED]:
        named |= {model_id for model_id in (move.model_id, move.previous_model_id) if model_id is not None}
    return named


def read_page(connection: Connection, t: Words, asked: Asked | None = None) -> dict[str, Any]:
    """What the template needs.

    Args:
        connection: an open connection.
        t: the words.
        asked: the form for a run as somebody filled it in; None for an empty one.
    """
    known = read_known(connection)
    scopes = make_scopes(known.aliases, known.models, known.moves, len(known.stations), known.titles, t)
    runs = list_runs(connection, limit=RUNS_SHOWN + 1)
    return {
        "scopes": scopes,
        "moves": make_moves(known.moves[:RUNS_LISTED], known.models, t),
        "models": [make_model(known.models[key], t) for key in sorted(known.models, reverse=True)[:MODELS_SHOWN]],
        "runs": make_runs(runs[:RUNS_SHOWN], known.titles, datetime.now(UTC), t),
        "has_more_runs": len(runs) > RUNS_SHOWN,
        "trainings": make_retrainings(retrainings(connection, TRAININGS_READ), known.models, t)[:TRAININGS_SHOWN],
        "drift": make_drift(drift_overview(connection), t),
        "stations": known.stations,
        "asked": asked or empty_form(),
        "spans": [*SPANS, ALL, BETWEEN],
        "may_act": may_act(),
    }
