"""What the models page says of models: which is in use where, what challenges it, what the gate says, who moved what."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.figures import (
    FigureTable,
    ahead_text,
    error_text,
    mapping,
    mappings,
    metric_tables,
    number,
    percent,
    whole,
)
from app.i18n import Words
from streamgauge.storage.model_aliases import CHALLENGER, CHAMPION, GENERAL, PROMOTE, Alias, Promotion
from streamgauge.storage.models import StoredModel
from streamgauge.storage.retrainings import Retraining

SHORT = 8
GATES = "gates"
ALL_STATIONS = "all stations"
OUTCOMES = frozenset({"challenger", "kept", "unchanged", "too_little", "failed"})
SHARES = frozenset({"still_water", "better", "nowhere_worse", "coverage", "marked", "floods"})
ORIGINS = frozenset({"shipped", "retrained", "imported"})
BY = frozenset({"first start", "upgrade", "retraining", "schedule"})
"""What moves aliases without a person."""
REASONS = {
    "the model that ships with the program": "moves.reason.shipped",
    "shipped with a new version": "moves.reason.new_version",
    "retrained on stored history": "moves.reason.retrained",
}
"""What the program itself gives as a reason, and the key of its words; what a person wrote stays as written."""
UNUSABLE = re.compile(
    r"model (?P<model>\d+) cannot be used by this version of the program: it was made for other features"
)
ACTIONS = frozenset({"promote", "roll_back", "challenge", "withdraw"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """A model in words. ``problem``: why this program cannot use it, or empty."""

    id: int
    short: str
    sha256: str
    origin: str
    trained: str
    created: str
    approved: str
    problem: str
    figures: tuple[FigureTable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One question of the gate: what was found and what was needed."""

    label: str
    passed: bool
    value: str
    limit: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Champion and challenger over the same readings, one horizon; mean losses in ``Measures.error_unit``."""

    ahead: str
    champion: str
    challenger: str
    persistence: str
    gain: str
    moving_gain: str
    coverage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What the gate said. ``state``: ``none``, ``stale``, ``passed`` or ``failed``."""

    state: str
    judged_at: str
    against: str
    criteria: tuple[Criterion, ...]
    compared: tuple[Compared, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Stations that share a model: all without one of their own, or a single one."""

    device_id: int
    device: str
    title: str
    stations: int
    champion: ModelView | None
    since: str
    challenger: ModelView | None
    gate: Gate
    can_roll_back: bool
    back_to: ModelView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move of an alias, as a line of the history."""

    time: str
    action: str
    scope: str
    model: str
    model_id: int | None
    previous: str
    previous_id: int | None
    by: str
    reason: str
    forced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingView:
    """What came of a training, in words; ``detail`` is what the worker wrote down, in English."""

    time: str
    scope: str
    outcome: str
    said: str
    detail: str
    by: str


def moment(time: datetime | None) -> str:
    """A time in UTC, as the page's tables show it."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if time else ""


def who(name: str, t: Words) -> str:
    """Who moved something: a person's name, or what moved it without a person."""
    return t(f"by.{name.replace(' ', '_')}") if name in BY else name


def make_model(model: StoredModel, t: Words) -> ModelView:
    """One model in words."""
    problem = "" if model.usable else t("models.no_files" if not model.has_files else "models.other_features")
    return ModelView(
        id=model.id,
        short=model.sha256[:SHORT],
        sha256=model.sha256,
        origin=t(f"origin.{model.origin}") if model.origin in ORIGINS else model.origin,
        trained=_trained(model, t),
        created=moment(model.created_at),
        approved=t("models.approved", who=who(model.approved_by, t), time=moment(model.approved_at))
        if model.approved_by
        else "",
        problem=problem,
        figures=metric_tables(_metrics(model), t),
    )


def _metrics(model: StoredModel) -> Mapping[str, Any]:
    own = {key: value for key, value in (model.metrics or {}).items() if key != GATES}
    return own or mapping(mapping(model.card).get("metrics"))


def _trained(model: StoredModel, t: Words) -> str:
    if model.data_from and model.data_until:
        return t("models.trained", first=f"{model.data_from:%Y-%m-%d}", until=f"{model.data_until:%Y-%m-%d}")
    record, training = mapping(mapping(model.card).get("record")), mapping(mapping(model.card).get("training"))
    first, until = str(record.get("first", ""))[:10], str(training.get("train_until", ""))[:10]
    if first and until:
        return t("models.trained", first=first, until=until)
    return t("models.trained_unknown")


def make_scopes(
    aliases: Sequence[Alias],
    models: Mapping[int, StoredModel],
    moves: Sequence[Promotion],
    stations: int,
    titles: Mapping[str, str],
    t: Words,
) -> list[Scope]:
    """The general scope first, then each station with a model of its own.

    Args:
        aliases: all of them.
        models: by id, at least those that the aliases and moves name.
        moves: newest first.
        stations: how many are in use.
        titles: of stations, by the wire's name.
        t: the words.
    """
    by_scope: dict[int, dict[str, Alias]] = {GENERAL: {}}
    for alias in aliases:
        by_scope.setdefault(alias.device_id, {})[alias.alias] = alias
    own = sum(1 for device_id, found in by_scope.items() if device_id != GENERAL and CHAMPION in found)
    general = by_scope[GENERAL].get(CHAMPION)
    return [
        _scope(device_id, found, general, models, moves, max(0, stations - own), titles, t)
        for device_id, found in by_scope.items()
    ]


def _scope(
    device_id: int,
    found: Mapping[str, Alias],
    general: Alias | None,
    models: Mapping[int, StoredModel],
    moves: Sequence[Promotion],
    stations: int,
    titles: Mapping[str, str],
    t: Words,
) -> Scope:
    own, challenging = found.get(CHAMPION), found.get(CHALLENGER)
    present = own or general
    champion = models.get(present.model_id) if present else None
    challenger = models.get(challenging.model_id) if challenging else None
    device = next((alias.device for alias in found.values() if alias.device), None) or ""
    back = _before(moves, device_id, own.model_id) if own else None
    back_to = models.get(back) if back is not None else None
    return Scope(
        device_id=device_id,
        device=device,
        title=titles.get(device, device) if device_id != GENERAL else t("models.general"),
        stations=stations if device_id == GENERAL else 1,
        champion=make_model(champion, t) if champion else None,
        since=moment(present.moved_at) if present else "",
        challenger=make_model(challenger, t) if challenger else None,
        gate=make_gate(challenger, device_id, champion.id if champion else None, models, t),
        can_roll_back=bool(own and (device_id != GENERAL or (back_to and back_to.usable))),
        back_to=make_model(back_to, t) if back_to else None,
    )


def _before(moves: Sequence[Promotion], device_id: int, model_id: int) -> int | None:
    for move in moves:
        if (move.device_id, move.alias, move.action, move.model_id) == (device_id, CHAMPION, PROMOTE, model_id):
            return move.previous_model_id
    return None


def make_gate(
    challenger: StoredModel | None,
    device_id: int,
    champion_id: int | None,
    models: Mapping[int, StoredModel],
    t: Words,
) -> Gate:
    """What the gate said of a challenger, and whether that still holds against the present champion."""
    said = mapping(mapping((challenger.metrics or {}).get(GATES)).get(str(device_id))) if challenger else {}
    if not said:
        return Gate(state="none", judged_at="", against="", criteria=(), compared=())
    against_id = said.get("champion_id")
    against = models.get(against_id) if isinstance(against_id, int) else None
    state = "stale" if against_id != champion_id else "passed" if said.get("passed") is True else "failed"
    return Gate(
        state=state,
        judged_at=str(said.get("judged_at", ""))[:16].replace("T", " "),
        against=against.sha256[:SHORT] if against else "",
        criteria=tuple(_criterion(item, t) for item in mappings(said.get("criteria"))),
        compared=tuple(_compared(item, t) for item in mappings(mapping(said.get("figures")).get("compared"))),
    )


def _criterion(item: Mapping[str, Any], t: Words) -> Criterion:
    name = str(item.get("name", "")).replace(" ", "_")
    key = f"gate.{name}"

    def write(value: object) -> str:
        if name in SHARES:
            return percent(value, t, decimals=1)
        found = number(value)
        return "" if found is None else t.number(found, 0 if found == int(found) else 1)

    return Criterion(
        label=t(key) if t.knows(key) else name.replace("_", " "),
        passed=item.get("passed") is True,
        value=write(item.get("value")),
        limit=write(item.get("limit")),
        detail=str(item.get("detail", "")),
    )


def _compared(item: Mapping[str, Any], t: Words) -> Compared:
    overall, moving = mapping(item.get("overall")), mapping(item.get("moving"))
    return Compared(
        ahead=ahead_text(whole(item.get("horizon_s")), t),
        champion=error_text(overall.get("champion"), t),
        challenger=error_text(overall.get("challenger"), t),
        persistence=error_text(overall.get("persistence"), t),
        gain=percent(_gain(overall), t, signed=True),
        moving_gain=percent(_gain(moving), t, signed=True),
        coverage=percent(item.get("challenger_coverage"), t),
    )


def _gain(losses: Mapping[str, Any]) -> float | None:
    champion, challenger = number(losses.get("champion")), number(losses.get("challenger"))
    return 1.0 - challenger / champion if champion and challenger is not None else None


def make_moves(moves: Sequence[Promotion], models: Mapping[int, StoredModel], t: Words) -> list[Move]:
    """The history, newest first."""
    return [_move(move, models, t) for move in moves]


def _move(move: Promotion, models: Mapping[int, StoredModel], t: Words) -> Move:
    def short(model_id: int | None) -> str:
        found = models.get(model_id) if model_id is not None else None
        return found.sha256[:SHORT] if found else ""

    gate = mapping(move.gate)
    return Move(
        time=moment(move.moved_at),
        action=t(f"action.{move.action}") if move.action in ACTIONS else move.action,
        scope=t("models.general") if move.device_id == GENERAL else move.device or str(move.device_id),
        model=short(move.model_id),
        model_id=move.model_id,
        previous=short(move.previous_model_id),
        previous_id=move.previous_model_id,
        by=who(move.moved_by, t),
        reason=_reason(str(gate.get("reason", "")), short, t),
        forced=move.action == PROMOTE
        and move.moved_by not in BY
        and "reason" in gate
        and gate.get("passed") is not True,
    )


def _reason(reason: str, short: Callable[[int | None], str], t: Words) -> str:
    if reason in REASONS:
        return t(REASONS[reason])
    unusable = UNUSABLE.fullmatch(reason)
    if unusable is None:
        return reason
    number = unusable["model"]
    return t("moves.reason.unusable", model=short(int(number)) or number)


def make_retrainings(found: Sequence[Retraining], models: Mapping[int, StoredModel], t: Words) -> list[TrainingView]:
    """What came of the newest trainings: of each scope its last one, newest first."""
    newest: dict[str, Retraining] = {}
    for training in found:
        newest.setdefault(training.scope, training)
    return [_training(training, models, t) for training in newest.values()]


def _training(training: Retraining, models: Mapping[int, StoredModel], t: Words) -> TrainingView:
    outcome = training.outcome if training.outcome in OUTCOMES else "failed"
    model = models.get(training.model_id) if training.model_id is not None else None
    short = model.sha256[:SHORT] if model else str(training.model_id or "")
    return TrainingView(
        time=moment(training.at),
        scope=t("models.general") if training.scope == ALL_STATIONS else training.scope,
        outcome=outcome,
        said=t(f"retraining.{outcome}", model=short),
        detail=training.detail,
        by=who(training.by, t),
    )
