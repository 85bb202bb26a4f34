"""The naive pipeline: the same parts put together as one does it first. The benchmark's measure, not a part of Streamgauge.

A paho subscriber with its thread and automatic acknowledgement calls one Celery task per reading; the task reads the station's
last levels, makes one row of features, predicts that row, inserts it with SQLAlchemy's ORM, commits, and publishes it to Redis.
It checks nothing, and a reading that is acknowledged may still be lost. ``NAIVE_NTHREAD`` says how many threads XGBoost uses.
"""

import json
import os
import signal
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import paho.mqtt.client as mqtt
from celery import Celery
from celery.signals import worker_ready
from paho.mqtt.enums import CallbackAPIVersion
from redis import Redis
from sqlalchemy import DateTime, Engine, Index, create_engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from streamgauge.quality.check import Checked
from streamgauge.reading import Reading
from streamgauge.scoring.features import LAGS, build
from streamgauge.scoring.model import ARTEFACT, MODEL_FILE

TOPIC_PREFIX = "naive/"
TOPIC = TOPIC_PREFIX + "streamgauge/v1/devices/+/readings"
QUEUE = "naive"
CHANNEL = "naive:stored"
HALF_WIDTH_MIN_M = 0.003
READY = "naive part is ready"

app = Celery("naive", broker=os.environ.get("NAIVE_REDIS_URL"))
app.conf.task_default_queue = QUEUE
app.conf.task_ignore_result = True


@worker_ready.connect  # type: ignore[untyped-decorator]
def _say_so(**_: object) -> None:
    print(READY, flush=True)


class Base(DeclarativeBase):
    """Tables of the naive pipeline."""


class NaiveReading(Base):
    """A reading in a plain table, neither partitioned nor referring to others."""

    __tablename__ = "naive_readings"
    __table_args__ = (Index("ix_naive_readings_device_time", "device", "time"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    device: Mapped[str]
    time: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    level_m: Mapped[float]
    temperature_c: Mapped[float | None]
    battery_v: Mapped[float | None]
    rssi_dbm: Mapped[float | None]
    seq: Mapped[int | None]
    expected_m: Mapped[float | None]
    low_m: Mapped[float | None]
    high_m: Mapped[float | None]
    score: Mapped[float | None]


class Parts:
    """What a worker process keeps: connections and the model, made at the first task."""

    _made: "Parts | None" = None

    def __init__(self) -> None:
        import xgboost

        self.engine = make_engine()
        self.redis = Redis.from_url(os.environ["NAIVE_REDIS_URL"])
        self.booster = xgboost.Booster(model_file=str(ARTEFACT / MODEL_FILE))
        # 0 is XGBoost's default: as many threads as there are cores, in each worker process.
        self.booster.set_param({"nthread": int(os.environ.get("NAIVE_NTHREAD", "0"))})

    @classmethod
    def get(cls) -> "Parts":
        """The process's parts."""
        if cls._made is None:
            cls._made = cls()
        return cls._made


def make_engine() -> Engine:
    """An engine for the database that the environment names."""
    url = os.environ["STREAMGAUGE_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://", 1)
    return create_engine(url)


@app.task(name="naive.store_reading")  # type: ignore[untyped-decorator]
def store_reading(message: dict[str, Any]) -> None:
    """Predict, score, insert, commit and publish one reading."""
    parts = Parts.get()
    with Session(parts.engine) as session:
        reading = NaiveReading(**message | {"time": datetime.fromisoformat(message["time"])})
        _score(reading, _history(session, reading), parts.booster)
        session.add(reading)
        session.commit()
        parts.redis.publish(CHANNEL, json.dumps(message | {"expected_m": reading.expected_m, "score": reading.score}))


def _history(session: Session, reading: NaiveReading) -> list[tuple[datetime, float]]:
    query = (
        select(NaiveReading.time, NaiveReading.level_m)
        .where(NaiveReading.device == reading.device, NaiveReading.time < reading.time)
        .order_by(NaiveReading.time.desc())
        .limit(LAGS)
    )
    return [(row.time, row.level_m) for row in reversed(session.execute(query).all())]


def _score(reading: NaiveReading, history: list[tuple[datetime, float]], booster: Any) -> None:
    rows = [*history, (reading.time, reading.level_m)]
    count = len(rows)
    time_us = np.array([round(time.timestamp() * 1e6) for time, _ in rows], dtype=np.int64)
    level_m = np.array([level for _, level in rows])
    nothing, everything = np.full(count, np.nan), np.ones(count, dtype=np.bool_)
    unchecked = Checked(
        np.ones(count, dtype=np.uint8), np.zeros(count, dtype=np.int8), nothing, nothing, everything, everything.copy()
    )
    features = build(np.zeros(count, dtype=np.int64), time_us, level_m, unchecked, np.array([count - 1]))
    baseline_m = float(features.baseline_m[0])
    if np.isnan(baseline_m):
        return
    low_m, expected_m, high_m = sorted(
        (booster.inplace_predict(features.values)[0].astype(float) + baseline_m).tolist()
    )
    off_m = reading.level_m - expected_m
    half_m = max(expected_m - low_m if off_m < 0 else high_m - expected_m, HALF_WIDTH_MIN_M)
    reading.low_m, reading.expected_m, reading.high_m = low_m, expected_m, high_m
    reading.score = 1.0 - 2.0 ** -((off_m / half_m) ** 2)


def subscribe() -> None:
    """The subscriber: runs until it is told to stop."""
    where = urlsplit(os.environ["STREAMGAUGE_MQTT_URL"])
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="naive-subscriber", clean_session=False)
    client.username_pw_set(where.username or "", where.password)

    def on_connect(client: mqtt.Client, *_: Any) -> None:
        client.subscribe(TOPIC, qos=1)
        print(READY, flush=True)

    def on_message(_client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        store_reading.apply_async(args=(json.loads(message.payload),))

    client.on_connect, client.on_message = on_connect, on_message
    client.connect(where.hostname or "", where.port or 1883)
    client.loop_start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    client.loop_stop()


def make_tables(engine: Engine) -> None:
    """Make the naive pipeline's table if it is not there."""
    Base.metadata.create_all(engine)


def insert_history(engine: Engine, readings: Sequence[Reading]) -> None:
    """Put earlier readings into the table, for the tasks to make features of."""
    rows = [{"device": one.device, "time": one.time, "level_m": one.level_m} for one in readings]
    with Session(engine) as session:
        session.execute(insert(NaiveReading), rows)
        session.commit()


if __name__ == "__main__":
    subscribe()
