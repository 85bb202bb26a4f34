"""The database's tables as SQLAlchemy Core knows them. Migrations make them; tests hold the two against each other."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from streamgauge.reading import FLOAT_FIELDS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _time(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _made(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


devices = Table(
    "devices",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True, comment="the wire's device"),
    Column("display_name", Text),
    Column("river", Text),
    Column("latitude", Double),
    Column("longitude", Double),
    Column("time_zone", Text, nullable=False, server_default="UTC", comment="IANA name; pages show times in it"),
    Column("datum", Text, comment="what level_m is above"),
    Column("silence_limit_s", Integer, nullable=False, server_default="3600"),
    Column("gross_min_m", Double, comment="lowest level that this site can have; null: the sensor's default range"),
    Column("gross_max_m", Double, comment="highest level that this site can have"),
    Column("quality", JSONB, comment="per-station parameters of the quality checks that differ from the defaults"),
    Column("auto_registered", Boolean, nullable=False, server_default="false"),
    _made("registered_at"),
    _time("decommissioned_at"),
    Column("dev_eui", Text, unique=True, comment="of a LoRaWAN sensor, upper case"),
    Column("model", Text, comment="which codec reads its payloads; see streamgauge.payloads.registry"),
    Column("codec_parameters", JSONB, comment="the codec's parameters by name, such as Pmin"),
    Column(
        "installation",
        JSONB,
        comment="how the sensor stands: sensor_height_m, offset_m, density_kg_m3, gravity_m_s2",
    ),
    CheckConstraint("dev_eui ~ '^[0-9A-F]{16}$'", name="dev_eui"),
)

gateways = Table(
    "gateways",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _made("registered_at"),
    _time("last_batch_at"),
)

models = Table(
    "models",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("sha256", Text, nullable=False, unique=True, comment="of the artefact's bytes"),
    Column("card", JSONB, nullable=False),
    _made("created_at"),
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
    _time("approved_at"),
    _time("retired_at"),
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
    _made("moved_at"),
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
    _made("moved_at"),
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("device_id", BigInteger, primary_key=True),
    Column("model_id", Integer, primary_key=True),
    Column("since", DateTime(timezone=True), primary_key=True, comment="readings from this time on are judged with it"),
    Column("body", JSONB, nullable=False, comment="see streamgauge.scoring.calibration; of model 0: scoring.learnt"),
    Column("rows", Integer, nullable=False, comment="ordinary readings that it rests on"),
    _made("made_at"),
)

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
    _time("received_at", nullable=False),
    _made("stored_at"),
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
    Column("n", Integer, nullable=False),
    Column("low", Double, nullable=False),
    Column("mean", Double, nullable=False),
    Column("high", Double, nullable=False),
)

rescore_runs = Table(
    "rescore_runs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("state", Text, nullable=False, comment="waiting, running, done, cancelled or failed"),
    Column("parameters", JSONB, nullable=False, comment="which stations, from when to when, with which model"),
    _made("created_at"),
    _time("ended_at"),
    Column("kind", Text, nullable=False, server_default="on_demand", comment="on_demand, scheduled or shadow"),
    Column("created_by", Text),
    Column("model_id", Integer, ForeignKey("models.id")),
    _time("started_at"),
    _time("cancel_requested_at"),
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
    _time("done_at"),
    Index("ix_rescore_chunks_waiting", "run_id", "number", postgresql_where=text("state = 'waiting'")),
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
    _made("made_at"),
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
    _made("updated_at"),
)

drift_reports = Table(
    "drift_reports",
    metadata,
    Column("device_id", BigInteger, primary_key=True),
    Column("week", DateTime(timezone=True), primary_key=True, comment="its first instant, a Monday, UTC"),
    Column("model_id", Integer, nullable=False),
    Column("verdict", Text, nullable=False, comment="steady, changed or unknown"),
    Column("figures", JSONB, nullable=False, comment="what was measured, beside its limits"),
    _made("made_at"),
)

alert_rules = Table(
    "alert_rules",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("rule", JSONB, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default="true"),
    _made("created_at"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("rule_id", BigInteger, ForeignKey("alert_rules.id"), nullable=False),
    Column("device_id", BigInteger, ForeignKey("devices.id")),
    Column("state", Text, nullable=False),
    Column("cause", JSONB, nullable=False),
    _made("opened_at"),
    _time("acknowledged_at"),
    _time("resolved_at"),
)

notification_channels = Table(
    "notification_channels",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("configuration", JSONB, nullable=False),
    _made("created_at"),
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
    _time("received_at", nullable=False),
    _time("last_received_at", nullable=False),
    _made("stored_at"),
    _time("replayed_at"),
    Index("ix_dead_letters_reason_stored_at", "reason", "stored_at"),
)

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    _made("created_at"),
    _time("disabled_at"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("token_sha256", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    _made("created_at"),
    _time("expires_at"),
    _time("revoked_at"),
    _time("last_used_at"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _made("at"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
)
