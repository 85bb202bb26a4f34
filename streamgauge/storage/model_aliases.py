"""Which model is used where: the aliases champion and challenger, and every move of them.

A *scope* is a device's id, or ``GENERAL`` = 0 for every station without a model of its own. A champion scores what arrives; a
challenger scores it too, in the shadow, and nobody sees that but the gate (``streamgauge.scoring.gate``). Each move is one
transaction: the alias, a row in ``model_promotions``, a row in ``audit_log``. Moves wait for each other.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.errors import PermanentError
from streamgauge.storage.models import StoredModel, lock_models, read_model, usable_of

GENERAL = 0
"""The scope of all stations without a model of their own."""
CHAMPION, CHALLENGER = "champion", "challenger"
PROMOTE, ROLL_BACK, CHALLENGE, WITHDRAW = "promote", "roll_back", "challenge", "withdraw"

REASON_MAX_CHARACTERS = 1_000
RETRAINED_REASON = "retrained on stored history"
"""Why a retraining makes a model challenger; such a challenger, and no other, the next retraining may replace."""


class MoveRefused(PermanentError):
    """An alias that may not be moved like that; the message says why and what to do."""


class MoveOutdated(MoveRefused):
    """Whoever asked for a move had something else before their eyes than what is there now; they may look and ask again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What whoever asks for a move of an alias saw there: the model, None for none."""

    model_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Which model an alias means, with its hash. ``device``: the wire's name of the station; None in the general scope."""

    device_id: int
    device: str | None
    alias: str
    model_id: int
    sha256: str
    moved_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A move of an alias. ``gate`` holds what the gate said, and under ``reason`` what the person said, if anything."""

    id: int
    device_id: int
    device: str | None
    alias: str
    model_id: int | None
    previous_model_id: int | None
    action: str
    gate: Mapping[str, Any] | None
    moved_by: str
    moved_at: datetime


_ALIASES = text("""
SELECT model_aliases.device_id, devices.name AS device, alias, model_id, models.sha256, moved_at
FROM model_aliases JOIN models ON models.id = model_id LEFT JOIN devices ON devices.id = model_aliases.device_id
ORDER BY model_aliases.device_id, alias
""")
_PROMOTIONS = text("""
SELECT p.id, p.device_id, devices.name AS device, p.alias, p.model_id, p.previous_model_id, p.action, p.gate, p.moved_by,
       p.moved_at
FROM model_promotions AS p LEFT JOIN devices ON devices.id = p.device_id ORDER BY p.id DESC LIMIT :most
""")
_SET = text("""
INSERT INTO model_aliases (device_id, alias, model_id) VALUES (:device_id, :alias, :model_id)
ON CONFLICT (device_id, alias) DO UPDATE SET model_id = EXCLUDED.model_id, moved_at = now()
""")
_REMOVE = text("DELETE FROM model_aliases WHERE device_id = :device_id AND alias = :alias")
_RECORD = text("""
INSERT INTO model_promotions (device_id, alias, model_id, previous_model_id, action, gate, moved_by)
VALUES (:device_id, :alias, :model_id, :previous, :action, CAST(:gate AS jsonb), :by)
""")
_AUDIT = text("""
INSERT INTO audit_log (actor, action, subject, before, after)
VALUES (:by, :action, :subject, CAST(:before AS jsonb), CAST(:after AS jsonb))
""")
_APPROVE = text("""
UPDATE models SET approved_by = COALESCE(approved_by, :by), approved_at = COALESCE(approved_at, now()) WHERE id = :id
""")
_RETIRE = text("""
UPDATE models SET retired_at = CASE
    WHEN EXISTS (SELECT FROM model_aliases WHERE model_id = models.id AND alias = 'champion') THEN NULL
    ELSE COALESCE(retired_at, now()) END
WHERE id = ANY(:ids)
""")
_BEFORE = text("""
SELECT previous_model_id FROM model_promotions
WHERE device_id = :device_id AND alias = 'champion' AND action = 'promote' AND model_id = :model_id ORDER BY id DESC LIMIT 1
""")
_CHAMPIONS_BEFORE = text("""
SELECT model_id FROM model_promotions WHERE device_id = :device_id AND alias = 'champion' AND model_id IS NOT NULL
GROUP BY model_id ORDER BY max(id) DESC LIMIT 50
""")
_PLACED = text("""
SELECT p.gate->>'reason' = :reason AND models.origin = 'retrained'
FROM model_promotions AS p JOIN models ON models.id = p.model_id
WHERE p.device_id = :device_id AND p.alias = 'challenger' AND p.model_id = :model_id ORDER BY p.id DESC LIMIT 1
""")
_SAVE_GATE = text("""
UPDATE models SET metrics = jsonb_set(
    jsonb_set(COALESCE(metrics, '{}'), '{gates}', COALESCE(metrics->'gates', '{}')),
    ARRAY['gates', CAST(:scope AS text)], CAST(:gate AS jsonb))
WHERE id = :id
""")
_GATE = text("SELECT metrics->'gates'->CAST(:scope AS text) FROM models WHERE id = :id")


def aliases(connection: Connection) -> list[Alias]:
    """Every alias, the general scope first."""
    return [Alias(**row) for row in connection.execute(_ALIASES).mappings()]


def promotions(connection: Connection, limit: int = 50) -> list[Promotion]:
    """The newest moves of aliases, newest first."""
    return [Promotion(**row) for row in connection.execute(_PROMOTIONS, {"most": limit}).mappings()]


def alias_of(connection: Connection, device_id: int, alias: str) -> int | None:
    """The model that an alias means in a scope; None where it means none (a station then goes with the general champion)."""
    query = text("SELECT model_id FROM model_aliases WHERE device_id = :device_id AND alias = :alias")
    return connection.execute(query, {"device_id": device_id, "alias": alias}).scalar()


def champion_of(connection: Connection, device_id: int) -> int | None:
    """The model that scores what arrives of a station: its own champion if this program can use it, else the general one."""
    own = alias_of(connection, device_id, CHAMPION)
    usable = own is not None and (device_id == GENERAL or own in usable_of(connection, [own]))
    return own if usable else alias_of(connection, GENERAL, CHAMPION)


def champions(connection: Connection, most_sites: int) -> dict[int, int]:
    """The champion's id by scope: the general one, and those of at most so many stations, the latest moved first."""
    query = text("""
        SELECT device_id, model_id FROM model_aliases WHERE alias = 'champion'
        ORDER BY device_id <> 0, moved_at DESC, device_id LIMIT :most
    """)
    return {row.device_id: row.model_id for row in connection.execute(query, {"most": most_sites + 1})}


def save_gate(connection: Connection, model_id: int, device_id: int, gate: Mapping[str, Any]) -> None:
    """Keep what the gate says of a challenger in a scope; ``gate`` holds ``passed`` and ``champion_id``, JSON-able."""
    connection.execute(_SAVE_GATE, {"id": model_id, "scope": str(device_id), "gate": json.dumps(gate)})


def latest_gate(connection: Connection, model_id: int, device_id: int = GENERAL) -> dict[str, Any] | None:
    """What the gate last said of a model in a scope; None if it was never asked."""
    found = connection.execute(_GATE, {"id": model_id, "scope": str(device_id)}).scalar()
    return None if found is None else dict(found)


def promote(
    connection: Connection,
    *,
    device_id: int,
    model_id: int,
    by: str,
    reason: str | None = None,
    seen: Seen | None = None,
) -> None:
    """Make a model champion of a scope.

    Args:
        connection: a connection in a transaction.
        device_id: the scope.
        model_id: the model; its files are in the database and fit this program.
        by: the person.
        reason: promotes without a passed gate, and is recorded.
        seen: the champion that the person knew of, the general one where a station has none of its own; without it whichever is
            there is replaced.

    Raises:
        MoveOutdated: another one is champion meanwhile.
        MoveRefused: the gate has not let it pass against the present champion and no reason was given; or the model cannot be
            used, or is champion already.
    """
    lock_models(connection)
    _usable(connection, model_id)
    present = alias_of(connection, device_id, CHAMPION)
    _as_seen(CHAMPION, alias_of(connection, GENERAL, CHAMPION) if present is None else present, seen)
    if present == model_id:
        raise MoveRefused(f"Model {model_id} is champion there already")
    gate = latest_gate(connection, model_id, device_id)
    refusal = _gate_refusal(gate, champion_of(connection, device_id))
    if refusal and not (reason or "").strip():
        raise MoveRefused(f"{refusal} To promote it nevertheless, give a reason; it is recorded")
    if alias_of(connection, device_id, CHALLENGER) == model_id:
        connection.execute(_REMOVE, {"device_id": device_id, "alias": CHALLENGER})
    _move(connection, device_id, CHAMPION, model_id, PROMOTE, by, gate=gate, reason=reason)


def roll_back(
    connection: Connection, *, device_id: int, by: str, reason: str | None = None, seen: Seen | None = None
) -> int | None:
    """Give a scope back the champion that it had before the present one, at once.

    Args:
        connection: a connection in a transaction.
        device_id: the scope.
        by: the person.
        reason: recorded.
        seen: the champion that they want gone. Two who ask for the same roll-back get one, not two.

    Returns:
        That model; None: the station goes with the general champion again.

    Raises:
        MoveOutdated: another one is champion meanwhile.
        MoveRefused: there was none before, or this program cannot use it.
    """
    lock_models(connection)
    present = alias_of(connection, device_id, CHAMPION)
    _as_seen(CHAMPION, present, seen)
    if present is None:
        raise MoveRefused("There is no champion of its own to roll back from")
    before = connection.execute(_BEFORE, {"device_id": device_id, "model_id": present}).scalar()
    if before is None and device_id == GENERAL:
        raise MoveRefused(f"Model {present} was the first champion: there is none to roll back to")
    if before is not None:
        _usable(connection, before)
    _move(connection, device_id, CHAMPION, before, ROLL_BACK, by, reason=reason)
    return None if before is None else int(before)


def challenge(connection: Connection, *, device_id: int, model_id: int, by: str, reason: str | None = None) -> None:
    """Make a model challenger of a scope, in the place of the one that is there.

    Raises:
        MoveRefused: it cannot be used, or is champion there.
    """
    lock_models(connection)
    _usable(connection, model_id)
    if alias_of(connection, device_id, CHAMPION) == model_id:
        raise MoveRefused(f"Model {model_id} is champion there; it cannot challenge itself")
    if alias_of(connection, device_id, CHALLENGER) != model_id:
        _move(connection, device_id, CHALLENGER, model_id, CHALLENGE, by, reason=reason)


def placed_by_retraining(connection: Connection, device_id: int, model_id: int) -> bool:
    """Whether a challenger is a retrained model that a retraining put there, not a person and not an upgrade."""
    found = connection.execute(_PLACED, {"device_id": device_id, "model_id": model_id, "reason": RETRAINED_REASON})
    return bool(found.scalar())


def withdraw(
    connection: Connection, *, device_id: int, by: str, reason: str | None = None, seen: Seen | None = None
) -> None:
    """Take a scope's challenger away; ``seen`` is the one that is meant.

    Raises:
        MoveOutdated: another one, or none, is challenger meanwhile.
        MoveRefused: there is none.
    """
    lock_models(connection)
    present = alias_of(connection, device_id, CHALLENGER)
    _as_seen(CHALLENGER, present, seen)
    if present is None:
        raise MoveRefused("There is no challenger to withdraw")
    _move(connection, device_id, CHALLENGER, None, WITHDRAW, by, reason=reason)


def adopt_shipped(connection: Connection, model_id: int) -> str | None:
    """Give the model that ships with this program its place; called when a worker starts, and harmless to repeat.

    Champion on the first start; challenger when an upgrade brought it. Where the present champion was made for other features
    than this program's, somebody must score what arrives: the last champion before it that fits (the program was rolled back),
    else the shipped model. A model that had a place before is left where people have put it.

    Returns:
        What was done, for the log; None if nothing.
    """
    if alias_of(connection, GENERAL, CHAMPION) == model_id:
        return None
    lock_models(connection)
    present = alias_of(connection, GENERAL, CHAMPION)
    if present is None:
        reason = "the model that ships with the program"
        _move(connection, GENERAL, CHAMPION, model_id, PROMOTE, "first start", reason=reason)
        return "the shipped model is champion, as there was none"
    if present not in usable_of(connection, [present]):
        return _take_over(connection, present, model_id)
    moved_before = text("SELECT EXISTS (SELECT FROM model_promotions WHERE model_id = :id OR previous_model_id = :id)")
    if present == model_id or connection.execute(moved_before, {"id": model_id}).scalar_one():
        return None
    _move(connection, GENERAL, CHALLENGER, model_id, CHALLENGE, "upgrade", reason="shipped with a new version")
    return "the model of this version is challenger; promote it when the gate lets it pass"


def _take_over(connection: Connection, present: int, shipped_id: int) -> str:
    """Put a model that this program can use in the place of a champion that it cannot."""
    earlier = list(connection.execute(_CHAMPIONS_BEFORE, {"device_id": GENERAL}).scalars())
    fitting = usable_of(connection, earlier)
    takes_over = next((model_id for model_id in earlier if model_id in fitting), shipped_id)
    reason = f"model {present} cannot be used by this version of the program: it was made for other features"
    _move(connection, GENERAL, CHAMPION, takes_over, PROMOTE, "upgrade", reason=reason)
    who = "the shipped model" if takes_over == shipped_id else f"model {takes_over}, the last champion that fits,"
    return f"{who} takes over: {reason}"


def _gate_refusal(gate: Mapping[str, Any] | None, champion_id: int | None) -> str | None:
    if gate is None:
        return "The gate has not judged this model yet: it is asked once a day, when the challenger's scores are there."
    if gate.get("champion_id") != champion_id:
        return (
            f"The gate judged this model against model {gate.get('champion_id')}, which is not the champion any more."
        )
    return None if gate.get("passed") is True else "The gate has not let this model pass."


def _usable(connection: Connection, model_id: int) -> StoredModel:
    model = read_model(connection, model_id)
    if model is None:
        raise MoveRefused(f"There is no model {model_id}")
    if not model.has_files:
        raise MoveRefused(
            f"The files of model {model_id} are not in the database: an earlier version did not keep them"
        )
    if not model.usable:
        raise MoveRefused(f"Model {model_id} was made for other features than this version of the program makes")
    return model


def _as_seen(alias: str, present: int | None, seen: Seen | None) -> None:
    if seen is not None and present != seen.model_id:
        was = "none" if seen.model_id is None else f"model {seen.model_id}"
        now = "there is none" if present is None else f"model {present} is"
        raise MoveOutdated(f"The {alias} was {was} when this was asked for, and {now} now: look, and ask again")


def _move(
    connection: Connection,
    device_id: int,
    alias: str,
    model_id: int | None,
    action: str,
    by: str,
    *,
    gate: Mapping[str, Any] | None = None,
    reason: str | None = None,
) -> None:
    """Point an alias at a model, or at none, and write down who did it and why."""
    if not by.strip():
        raise MoveRefused("A move of an alias needs the name of whoever moves it")
    previous = alias_of(connection, device_id, alias)
    scope = {"device_id": device_id, "alias": alias}
    if model_id is None:
        connection.execute(_REMOVE, scope)
    else:
        connection.execute(_SET, {**scope, "model_id": model_id})
    said = {"reason": reason.strip()[:REASON_MAX_CHARACTERS]} if reason and reason.strip() else {}
    record = json.dumps({**gate, **said}) if gate else json.dumps(said) if said else None
    moved = {"model_id": model_id, "previous": previous, "action": action, "gate": record, "by": by}
    connection.execute(_RECORD, {**scope, **moved})
    if alias == CHAMPION and model_id is not None:
        connection.execute(_APPROVE, {"id": model_id, "by": by})
    if alias == CHAMPION:
        connection.execute(_RETIRE, {"ids": [id_ for id_ in (model_id, previous) if id_ is not None]})
    subject = f"{alias} of {'all stations' if device_id == GENERAL else f'device {device_id}'}"
    after = {"model_id": model_id, **said, **({"gate_passed": gate.get("passed")} if gate else {})}
    audit = {"before": json.dumps({"model_id": previous}), "after": json.dumps(after)}
    connection.execute(_AUDIT, {"by": by, "action": f"models.{action}", "subject": subject, **audit})
