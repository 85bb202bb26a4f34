"""Models, their files, names and calibrations."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from streamgauge.storage.schema.base import made_column, metadata, time_column

models = Table(
    "models",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("sha256", Text, nullable=False, unique=True, comment="of the artefact's bytes"),
    Column("card", JSONB, nullable=False),
    made_column("created_at"),
    Column("origin", Text, nullable=False, server_default="shipped", comment="shipped or retrained"),
    Column("device_id", BigInteger, comment="a site model's station; null: trained across stations"),
    Column("data_from", DateTime(timezone=True), comment="first reading that trained it"),
    Column("data_until", DateTime(timezone=True), comment="readings from here on did not train it"),
    Column("snapshot_sha256", Text, comment="of the readings that trained it"),
    Column("features_sha256", Text, comment="of what its columns mean"),
    Column("quality_rules", Integer, comment="version of the quality rules that chose the readings"),
    Column("seed", BigInteger),
    Column("metrics", JSONB, comment="on data that did not train it, beside the baselines"),
    Column("approved_by", Text, comment="who made it champion for the first time"),
    time_column("approved_at"),
    time_column("retired_at"),
)

model_files = Table(
    "model_files",
    metadata,
    Column("model_id", Integer, ForeignKey("models.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("device_id", BigInteger, primary_key=True, comment="a station with a model of its own; 0: all the others"),
    Column("alias", Text, primary_key=True, comment="champion or challenger"),
    Column("model_id", Integer, ForeignKey("models.id"), nullable=False),
    made_column("moved_at"),
    CheckConstraint("alias IN ('champion', 'challenger')", name="alias"),
)

model_promotions = Table(
    "model_promotions",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("device_id", BigInteger, nullable=False, comment="as in model_aliases"),
    Column("alias", Text, nullable=False),
    Column("model_id", Integer, ForeignKey("models.id"), comment="null: the alias was taken away"),
    Column("previous_model_id", Integer, ForeignKey("models.id")),
    Column("action", Text, nullable=False, comment="promote, roll_back, challenge or withdraw"),
    Column("gate", JSONB, comment="what the gate said, with its figures"),
    Column("moved_by", Text, nullable=False),
    made_column("moved_at"),
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("device_id", BigInteger, primary_key=True),
    Column("model_id", Integer, primary_key=True),
    Column("since", DateTime(timezone=True), primary_key=True, comment="readings from this time on are judged with it"),
    Column("body", JSONB, nullable=False, comment="see streamgauge.scoring.calibration; of model 0: scoring.learnt"),
    Column("rows", Integer, nullable=False, comment="ordinary readings that it rests on"),
    made_column("made_at"),
)

drift_reports = Table(
    "drift_reports",
    metadata,
    Column("device_id", BigInteger, primary_key=True),
    Column("week", DateTime(timezone=True), primary_key=True, comment="its first instant, a Monday, UTC"),
    Column("model_id", Integer, nullable=False),
    Column("verdict", Text, nullable=False, comment="steady, changed or unknown"),
    Column("figures", JSONB, nullable=False, comment="what was measured, beside its limits"),
    made_column("made_at"),
)
