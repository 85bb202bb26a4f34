"""Models: what is known of each, and its files, so that every one of them can be used again after the program was upgraded."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from streamgauge.scoring.shipped import FITTING, fits_this_program

SHIPPED, RETRAINED, IMPORTED = "shipped", "retrained", "imported"
"""Where a model came from."""

MOST_LISTED = 200

MODELS_LOCK = 0x5347_0005  # "SG", 5: one key of ours among Postgres's advisory locks


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is written down of a model beside its card; the files' hash identifies it.

    Attributes:
        origin: ``SHIPPED``, ``RETRAINED`` or ``IMPORTED``.
        device_id: a site model's station; None: trained across stations.
        data_from: first reading that trained it.
        data_until: readings from here on did not train it.
        snapshot_sha256: of the readings that trained it.
        features_sha256: of what its columns mean.
        quality_rules: version of the quality rules that chose the readings.
        seed: of its training.
        metrics: on data that did not train it, beside the baselines.
    """

    origin: str = SHIPPED
    device_id: int | None = None
    data_from: datetime | None = None
    data_until: datetime | None = None
    snapshot_sha256: str | None = None
    features_sha256: str | None = None
    quality_rules: int | None = None
    seed: int | None = None
    metrics: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel(ModelFacts):
    """One row of ``models``.

    Attributes:
        id: what readings, scores and aliases name it by.
        sha256: of its files.
        card: what is known of it.
        created_at: when it was written down here.
        approved_by: who made it champion for the first time.
        approved_at: when.
        retired_at: since when it is nowhere champion any more.
        has_files: whether it can be loaded from the database.
        device: the wire's name of a site model's station.
    """

    id: int
    sha256: str
    card: Mapping[str, Any]
    created_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    retired_at: datetime | None
    has_files: bool
    device: str | None

    @property
    def usable(self) -> bool:
        """Whether this program can use it: its files are here and were made for this program's features."""
        return self.has_files and fits_this_program(self.features_sha256, self.card)


_FACTS = "origin, device_id, data_from, data_until, snapshot_sha256, features_sha256, quality_rules, seed, metrics"
_ADD = text(f"""
INSERT INTO models (sha256, card, {_FACTS})
VALUES (:sha256, CAST(:card AS jsonb), :origin, :device_id, :data_from, :data_until, :snapshot_sha256, :features_sha256,
        :quality_rules, :seed, CAST(:metrics AS jsonb))
ON CONFLICT (sha256) DO NOTHING
""")
_FIND = text("SELECT id FROM models WHERE sha256 = :sha256")
_KNOWN = text(f"SELECT {_FACTS} FROM models WHERE id = :id")
_FILE_NAMES = text("SELECT name FROM model_files WHERE model_id = :id")
_COMPLETE = text("""
UPDATE models SET
    features_sha256 = COALESCE(features_sha256, :features_sha256), seed = COALESCE(seed, :seed),
    data_from = COALESCE(data_from, :data_from), data_until = COALESCE(data_until, :data_until),
    snapshot_sha256 = COALESCE(snapshot_sha256, :snapshot_sha256),
    quality_rules = COALESCE(quality_rules, :quality_rules), metrics = COALESCE(metrics, CAST(:metrics AS jsonb))
WHERE id = :id
""")
_ADD_FILE = text(
    "INSERT INTO model_files (model_id, name, content) VALUES (:model_id, :name, :content) ON CONFLICT DO NOTHING"
)
_SELECT = f"""
SELECT id, sha256, card, created_at, approved_by, approved_at, retired_at, {_FACTS},
       EXISTS (SELECT FROM model_files WHERE model_id = models.id) AS has_files,
       (SELECT name FROM devices WHERE devices.id = models.device_id) AS device
FROM models
"""
_FITS = text("""
SELECT id, features_sha256, EXISTS (SELECT FROM model_files WHERE model_id = models.id) AS has_files,
       (SELECT jsonb_object_agg(key, value) FROM jsonb_each(card) WHERE key = ANY(:fitting)) AS said
FROM models WHERE id = ANY(:ids)
""")


def ensure_model(
    connection: Connection,
    sha256: str,
    card: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
    facts: ModelFacts | None = None,
) -> int:
    """The id of the model with this identity; it is written down when it is met for the first time.

    What an earlier program wrote without files or facts is completed; what is there is never changed. Whatever is written is
    written under ``lock_models``; a model that is there in full is only read.

    Args:
        connection: a connection in a transaction.
        sha256: of the model's files.
        card: what is known of it.
        files: its files by name, so that it can be loaded from here.
        facts: what else is known.
    """
    known = facts or ModelFacts(features_sha256=card.get("features_sha256"))
    found = _complete(connection, sha256, known, files or {})
    if found is not None:
        return found
    lock_models(connection)
    id_ = connection.execute(_FIND, {"sha256": sha256}).scalar()
    if id_ is None:
        connection.execute(_ADD, {"sha256": sha256, "card": json.dumps(card), **_values(known)})
        id_ = connection.execute(_FIND, {"sha256": sha256}).scalar_one()
    elif files:
        connection.execute(_COMPLETE, {"id": id_, **_values(known)})
    present = set(connection.execute(_FILE_NAMES, {"id": id_}).scalars())
    for name in (files or {}).keys() - present:
        connection.execute(_ADD_FILE, {"model_id": id_, "name": name, "content": (files or {})[name]})
    return int(id_)


def lock_models(connection: Connection) -> None:
    """Wait until nobody else moves an alias or writes a model down; until the transaction ends others wait.

    It comes before any row of ``models`` is written: two who took the two in different order would wait for each other.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MODELS_LOCK})


def _complete(connection: Connection, sha256: str, known: ModelFacts, files: Mapping[str, bytes]) -> int | None:
    """The model's id if all of this is written down already."""
    found = connection.execute(_FIND, {"sha256": sha256}).scalar()
    if found is None or not files:
        return found
    row = connection.execute(_KNOWN, {"id": found}).mappings().one()
    facts = {name: getattr(known, name) for name in ModelFacts.__slots__ if name not in {"origin", "device_id"}}
    lacking = any(value is not None and row[name] is None for name, value in facts.items())
    names = set(connection.execute(_FILE_NAMES, {"id": found}).scalars())
    return None if lacking or files.keys() - names else int(found)


def facts_of_card(card: Mapping[str, Any], origin: str = SHIPPED) -> ModelFacts:
    """What the card of a shipped or imported model says of it, as far as it does."""
    record, training = card.get("record", {}), card.get("training", {})
    return ModelFacts(
        origin=origin,
        data_from=_moment(record.get("first")),
        data_until=_moment(training.get("train_until")),
        snapshot_sha256=record.get("sha256"),
        features_sha256=card.get("features_sha256"),
        quality_rules=card.get("quality_rules"),
        seed=training.get("seed"),
        metrics=card.get("metrics"),
    )


def list_models(connection: Connection) -> list[StoredModel]:
    """The newest models, newest first, at most ``MOST_LISTED``; without their files."""
    rows = connection.execute(text(f"{_SELECT} ORDER BY id DESC LIMIT :most"), {"most": MOST_LISTED}).mappings()
    return [_model(row) for row in rows]


def read_model(connection: Connection, model_id: int) -> StoredModel | None:
    """One model, without its files; None if there is none of this id."""
    row = connection.execute(text(f"{_SELECT} WHERE id = :id"), {"id": model_id}).mappings().one_or_none()
    return None if row is None else _model(row)


def usable_of(connection: Connection, model_ids: Iterable[int]) -> set[int]:
    """Those of these models that this program can use, by what is written down of them; none is loaded."""
    values = {"ids": sorted(set(model_ids)), "fitting": list(FITTING)}
    return {
        row.id
        for row in connection.execute(_FITS, values)
        if row.has_files and fits_this_program(row.features_sha256, row.said or {})
    }


def find_model(connection: Connection, sha256: str) -> StoredModel | None:
    """The model whose hash begins with these characters; None if there is none, or more than one."""
    if not sha256 or not set(sha256) <= set("0123456789abcdef"):
        return None
    query = text(f"{_SELECT} WHERE sha256 LIKE :like LIMIT 2")
    rows = connection.execute(query, {"like": f"{sha256}%"}).mappings().all()
    return _model(rows[0]) if len(rows) == 1 else None


def read_files(connection: Connection, model_id: int) -> dict[str, bytes]:
    """A model's files by name, as ``Model.from_files`` takes them; empty if the database has none."""
    query = text("SELECT name, content FROM model_files WHERE model_id = :id ORDER BY name")
    return {row.name: bytes(row.content) for row in connection.execute(query, {"id": model_id})}


def _moment(text_of_card: object) -> datetime | None:
    return datetime.fromisoformat(text_of_card) if isinstance(text_of_card, str) else None


def _values(facts: ModelFacts) -> dict[str, Any]:
    values = {name: getattr(facts, name) for name in ModelFacts.__slots__}
    return values | {"metrics": None if facts.metrics is None else json.dumps(facts.metrics)}


def _model(row: RowMapping) -> StoredModel:
    return StoredModel(**row)
