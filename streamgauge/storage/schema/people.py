"""Alerts, and the people and programs that may do something."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from streamgauge.storage.schema.base import made_column, metadata, time_column

alert_rules = Table(
    "alert_rules",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("rule", JSONB, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default="true"),
    made_column("created_at"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("rule_id", BigInteger, ForeignKey("alert_rules.id"), nullable=False),
    Column("device_id", BigInteger, ForeignKey("devices.id")),
    Column("state", Text, nullable=False, comment="open, acknowledged or resolved"),
    Column("cause", JSONB, nullable=False),
    made_column("opened_at"),
    time_column("acknowledged_at"),
    time_column("resolved_at"),
    Column("severity", SmallInteger, nullable=False, server_default="1", comment="1 to 4, as stages"),
    Column("acknowledged_by", Text),
    Column("comment", Text),
    Column("resolved_by", Text),
    Index("ix_alerts_opened_at", text("opened_at DESC"), text("id DESC")),
    Index("ix_alerts_device_id", "device_id", text("opened_at DESC")),
    Index(
        "ix_alerts_unresolved",
        text("severity DESC"),
        text("opened_at DESC"),
        postgresql_where=text("state <> 'resolved'"),
    ),
)

notification_channels = Table(
    "notification_channels",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("configuration", JSONB, nullable=False),
    made_column("created_at"),
)

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    made_column("created_at"),
    time_column("disabled_at"),
    Column("email", Text),
    Column("oidc_issuer", Text),
    Column("oidc_subject", Text, comment="who this is to the OpenID provider oidc_issuer"),
    time_column("signed_in_at"),
    Index("uq_users_oidc", "oidc_issuer", "oidc_subject", unique=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("token_sha256", LargeBinary, nullable=False, unique=True),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False),
    made_column("created_at"),
    made_column("last_seen_at"),
    made_column("rotated_at"),
    time_column("expires_at", nullable=False),
    time_column("ended_at"),
    Column("address", Text),
    Column("agent", Text),
    Column("provider", Text, nullable=False, server_default="password", comment="how one signed in: password or oidc"),
    Column(
        "previous_sha256",
        LargeBinary,
        comment="the token before the last rotation: requests under way may still bring it",
    ),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_previous_sha256", "previous_sha256"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("token_sha256", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    made_column("created_at"),
    time_column("expires_at"),
    time_column("revoked_at"),
    time_column("last_used_at"),
    Column("user_id", BigInteger, ForeignKey("users.id")),
    Column("created_by", Text),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    made_column("at"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    Index("ix_audit_log_at", text("at DESC")),
    Index("ix_audit_log_subject", "subject", text("at DESC")),
)
