"""Devices and what people keep of their sites."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from streamgauge.storage.schema.base import made_column, metadata, time_column

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
    made_column("registered_at"),
    time_column("decommissioned_at"),
    Column("dev_eui", Text, unique=True, comment="of a LoRaWAN sensor, upper case"),
    Column("model", Text, comment="which codec reads its payloads; see streamgauge.payloads.registry"),
    Column("codec_parameters", JSONB, comment="the codec's parameters by name, such as Pmin"),
    Column(
        "installation",
        JSONB,
        comment="how the sensor stands: sensor_height_m, offset_m, density_kg_m3, gravity_m_s2",
    ),
    Column("stages", JSONB, comment="ordered list of stages: see streamgauge/stages.py"),
    Column("description", Text),
    CheckConstraint("dev_eui ~ '^[0-9A-F]{16}$'", name="dev_eui"),
)

gateways = Table(
    "gateways",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    made_column("registered_at"),
    time_column("last_batch_at"),
)

station_notes = Table(
    "station_notes",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("device_id", BigInteger, ForeignKey("devices.id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("written_by", Text, nullable=False),
    made_column("written_at"),
    time_column("removed_at"),
    Index("ix_station_notes_device_id", "device_id", "written_at"),
)

station_photos = Table(
    "station_photos",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("device_id", BigInteger, ForeignKey("devices.id"), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("thumbnail", LargeBinary, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("caption", Text, nullable=False),
    Column("added_by", Text, nullable=False),
    made_column("added_at"),
    time_column("removed_at"),
    Index("ix_station_photos_device_id", "device_id", "added_at"),
)
