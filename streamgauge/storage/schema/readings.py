"""Readings, and what is computed, corrected, forecast and refused of them."""

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from streamgauge.reading import FLOAT_FIELDS
from streamgauge.storage.schema.base import made_column, metadata, time_column

readings = Table(
    "readings",
    metadata,
    # No foreign keys here: each costs a look-up and a row lock per reading. Devices and models are never deleted.
    Column("device_id", BigInteger, primary_key=True),
    Column("time", DateTime(timezone=True), primary_key=True),
    *(Column(name, Double) for name in FLOAT_FIELDS),
    Column("seq", BigInteger),
    Column("extra", JSONB),
    Column(
        "flags",
        JSONB,
        nullable=False,
        comment="QARTOD flag per quantity: 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing",
    ),
    Column("reasons", JSONB, comment="per flagged quantity: which check, and its numbers"),
    Column("expected_m", Double),
    Column("low_m", Double, comment="5 % bound of what the model expected"),
    Column("high_m", Double, comment="95 % bound"),
    Column("score", Double, comment="0 ordinary … 1 certainly anomalous; null: nothing could be expected yet"),
    Column("model_id", Integer),
    time_column("received_at", nullable=False),
    made_column("stored_at"),
    Column("surprise", Text, comment="of a marked reading: event (the water) or fault (the sensor)"),
    postgresql_partition_by="RANGE (time)",
)

scores = Table(
    "scores",
    metadata,
    # What another model, or another day's rules, say of stored readings. ``readings`` keeps what was said at the time.
    Column("device_id", BigInteger, primary_key=True),
    Column("time", DateTime(timezone=True), primary_key=True),
    Column("model_id", Integer, primary_key=True),
    Column("run_id", BigInteger, nullable=False, comment="the run that wrote it last"),
    Column("level_flag", SmallInteger, nullable=False),
    Column("expected_m", Double),
    Column("low_m", Double),
    Column("high_m", Double),
    Column("score", Double),
    Column("surprise", Text),
    postgresql_partition_by="RANGE (time)",
)

readings_hourly = Table(
    "readings_hourly",
    metadata,
    Column("device_id", BigInteger, ForeignKey("devices.id"), primary_key=True),
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("quantity", Text, primary_key=True),
    Column("n", Integer, nullable=False, comment="usable values (present, not failed), corrections applied"),
    Column("low", Double),
    Column("mean", Double),
    Column("high", Double),
    time_column("low_at"),
    time_column("high_at"),
    Column("suspect", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column(
        "marked_at",
        DateTime(timezone=True),
        comment="the reading that a chart of years marks: failed before suspect before others",
    ),
    Column("severity", REAL, comment="of that reading: 4 failed, 3 suspect, below 1 its score"),
)

readings_daily = Table(
    "readings_daily",
    metadata,
    Column("device_id", BigInteger, ForeignKey("devices.id"), nullable=False),
    Column("day", DateTime(timezone=True), nullable=False),
    Column("quantity", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("low", Double),
    Column("mean", Double),
    Column("high", Double),
    time_column("low_at"),
    time_column("high_at"),
    Column("suspect", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    time_column("marked_at"),
    Column("severity", REAL),
    # A chart reads one quantity through the years.
    PrimaryKeyConstraint("device_id", "quantity", "day"),
    comment="days (UTC) of readings_hourly: what charts of years are drawn from",
)

rollup_pending = Table(
    "rollup_pending",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("device_id", BigInteger, nullable=False),
    Column("hour", DateTime(timezone=True), nullable=False),
    Index("ix_rollup_pending_device_id", "device_id", "hour"),
    comment="hours before rollup_state.through that must be rolled up again",
)

rollup_state = Table(
    "rollup_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, server_default="1"),
    Column(
        "through", DateTime(timezone=True), comment="every hour before this one is in readings_hourly; null: none is"
    ),
    CheckConstraint("id = 1", name="one"),
)

corrections = Table(
    "corrections",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("device_id", BigInteger, ForeignKey("devices.id"), nullable=False),
    Column("quantity", Text, nullable=False),
    Column("first", DateTime(timezone=True), nullable=False),
    Column("last", DateTime(timezone=True), nullable=False, comment="inclusive"),
    Column("flag", SmallInteger),
    Column("value", Double, comment="instead of the raw value"),
    Column("shift", Double, comment="added to the raw value"),
    Column("note", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    made_column("made_at"),
    Column("undone_by", Text),
    time_column("undone_at"),
    CheckConstraint("first <= last", name="range"),
    CheckConstraint("num_nonnulls(flag, value, shift) > 0 AND num_nonnulls(value, shift) < 2", name="change"),
    CheckConstraint("flag IN (1, 2, 3, 4)", name="flag"),
    Index("ix_corrections_device_id", "device_id", "quantity", "first"),
    comment="what operators say of readings; readings keep their raw values",
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("device_id", BigInteger, primary_key=True),
    Column("issued_at", DateTime(timezone=True), primary_key=True, comment="time of the newest reading it rests on"),
    Column("horizon_s", Integer, primary_key=True),
    Column("model_id", Integer, nullable=False),
    Column("method", Text, nullable=False, comment="what is shown: model or persistence"),
    Column("expected_m", Double, nullable=False),
    Column("low_m", Double, nullable=False, comment="5 % bound"),
    Column("high_m", Double, nullable=False, comment="95 % bound"),
    Column("baseline_m", Double, nullable=False, comment="the level at issue: persistence"),
    made_column("made_at"),
    Index("ix_forecasts_issued_at", "issued_at"),
)

forecast_tracks = Table(
    "forecast_tracks",
    metadata,
    Column("device_id", BigInteger, primary_key=True),
    Column("model_id", Integer, nullable=False),
    Column("through", DateTime(timezone=True), nullable=False, comment="newest reading that it has seen"),
    Column("state", LargeBinary, nullable=False, comment="see streamgauge.scoring.forecast"),
    Column("record", JSONB, nullable=False, comment="per horizon: errors beside persistence, coverage"),
    made_column("updated_at"),
)

rescore_runs = Table(
    "rescore_runs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("state", Text, nullable=False, comment="waiting, running, done, cancelled or failed"),
    Column("parameters", JSONB, nullable=False, comment="which stations, from when to when, with which model"),
    made_column("created_at"),
    time_column("ended_at"),
    Column("kind", Text, nullable=False, server_default="on_demand", comment="on_demand, scheduled or shadow"),
    Column("created_by", Text),
    Column("model_id", Integer, ForeignKey("models.id")),
    time_column("started_at"),
    time_column("cancel_requested_at"),
    Column("chunks", Integer, nullable=False, server_default="0"),
    Column("report", JSONB, comment="what changed: see tasks/rescore"),
    Column("error", Text),
)

rescore_chunks = Table(
    "rescore_chunks",
    metadata,
    Column("run_id", BigInteger, ForeignKey("rescore_runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("device_id", BigInteger, nullable=False),
    Column("first", DateTime(timezone=True), nullable=False, comment="the chunk's first instant"),
    Column("until", DateTime(timezone=True), nullable=False, comment="the instant after its last"),
    Column("state", Text, nullable=False, server_default="waiting", comment="waiting, done or failed"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("readings", Integer),
    Column("report", JSONB, comment="what changed in this chunk"),
    time_column("done_at"),
    Index("ix_rescore_chunks_waiting", "run_id", "number", postgresql_where=text("state = 'waiting'")),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("topic", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("device", Text),
    Column("payload", LargeBinary, nullable=False, comment="the bytes as they came"),
    Column("readings", Integer, nullable=False, comment="how many readings it stands for"),
    Column(
        "fingerprint",
        LargeBinary,
        nullable=False,
        unique=True,
        comment="SHA-256 of reason, topic and payload: a repeat is counted, not kept twice",
    ),
    Column("times_seen", Integer, nullable=False, server_default="1"),
    time_column("received_at", nullable=False),
    time_column("last_received_at", nullable=False),
    made_column("stored_at"),
    time_column("replayed_at"),
    Column("replay_state", Text, comment="null, waiting, replayed or refused"),
    Column("replay_detail", Text),
    Column("replayed_by", Text),
    Index("ix_dead_letters_reason_stored_at", "reason", "stored_at"),
    Index("ix_dead_letters_device", "device", text("id DESC")),
    Index("ix_dead_letters_waiting", "id", postgresql_where=text("replay_state = 'waiting'")),
    Index("ix_dead_letters_refused", "id", postgresql_where=text("replay_state = 'refused'")),
    Index("ix_dead_letters_replayed", "id", postgresql_where=text("replay_state = 'replayed'")),
    Index(
        "ix_dead_letters_open",
        "reason",
        text("id DESC"),
        postgresql_where=text("replay_state IS DISTINCT FROM 'replayed'"),
    ),
    Index(
        "ix_dead_letters_replayed_at",
        "replayed_at",
        "replay_state",
        postgresql_where=text("replayed_at IS NOT NULL"),
    ),
)
