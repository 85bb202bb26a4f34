"""A small network in a flood, with everything that pages can show, in a running system: for axe and for pictures."""

import json
import math
import random
from datetime import UTC, datetime, timedelta
from io import BytesIO

from PIL import Image, ImageDraw
from redis import Redis
from sqlalchemy import Connection, text

from app.api.access import make_token, token_sha256
from app.session.passwords import hash_password
from app.site.pictures import read_picture
from streamgauge.errors import DeadReason
from streamgauge.reading import Reading
from streamgauge.storage.api_tokens import add_token
from streamgauge.storage.audit import write_audit
from streamgauge.storage.dead_letters import DeadLetter, write_dead_letters
from streamgauge.storage.devices import Registration, write_registration
from streamgauge.storage.site_records import add_note, add_photo
from streamgauge.storage.users import add_user, find_user, set_disabled
from tests.support import model_pages as rows
from tests.support.alert_rows import STAGE_CAUSE, add_alert, add_rule
from tests.support.ingest import ingest, recorded, services
from tests.support.system import System

DAYS = 3
FLOODED = "dead-run"


def find_flood_end() -> float:
    """Day of the record's steepest hour, a little into it: where a station rises fast."""
    first = recorded()[0][0]
    levels = recorded()
    best = max(range(12, len(levels)), key=lambda place: levels[place][1] - levels[place - 6][1])
    return (levels[best][0] - first).total_seconds() / 86_400


STATIONS: dict[str, tuple[str, str, float | None]] = {
    FLOODED: ("Dead Run at Franklintown", "Dead Run", find_flood_end()),
    "dead-run-upper": ("Dead Run, upper gauge", "Dead Run", 12.0),
    "gwynns-falls": ("Gwynns Falls", "Gwynns Falls", 20.6),
    "mill-brook": ("Mill Brook weir", "Mill Brook", 26.2),
    "long-bien": ("Cầu Long Biên", "Sông Hồng", None),
    "harbour": ("Harbour tide gauge", "Patapsco", None),
}
"""By device: title, river, and the day of the record at which it stands; without one a tide."""
PLACES = {
    FLOODED: (39.3111, -76.7168),
    "dead-run-upper": (39.3115, -76.7420),
    "gwynns-falls": (39.3457, -76.7341),
    "mill-brook": (39.2790, -76.7080),
    "long-bien": (21.0434, 105.8592),
}
LORA_EUI = "24E124713B101234"


def fill(system: System) -> None:
    """Stations in every state with all that people and workers left there."""
    system.empty()
    redis = Redis.from_url(system.stack.addresses.redis_url)
    using, now = services(system.engine, redis), datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=40)
    for device in STATIONS:
        readings = _readings(device, now)
        for first in range(0, len(readings), 500):
            ingest(using, readings[first : first + 500])
    redis.close()
    with system.engine.begin() as connection:
        _tell_of_devices(connection)
        _tell_of_models(connection, now)
        _tell_of_the_flood(connection, now)
        _tell_of_people(connection)
        _tell_of_letters(connection, now)


def _readings(device: str, now: datetime) -> list[Reading]:
    _, _, end_day = STATIONS[device]
    end = now - timedelta(hours=5) if device == "mill-brook" else now
    if end_day is not None:
        return _shifted(device, end_day, end)
    readings = _tide(device, 4.2 if device == "long-bien" else 1.9, end)
    if device == "harbour":
        broken = readings[-1]
        level_m = (broken.level_m or 0) + 0.9
        readings[-1] = Reading(device=device, time=broken.time, level_m=level_m, temperature_c=18.4)
    return readings


def _shifted(device: str, end_day: float, now: datetime) -> list[Reading]:
    """Some days of the Dead Run record, the last reading now; ``end_day`` counts from the record's begin."""
    end = recorded()[0][0] + timedelta(days=end_day)
    return [
        Reading(
            device=device,
            time=time + (now - end),
            level_m=level,
            battery_v=round(3.72 - 0.0001 * place, 3),
            rssi_dbm=-97.0 - place % 5,
            snr_db=7.5 - place % 3,
            seq=1_000 + place,
        )
        for place, (time, level) in enumerate(recorded())
        if end - timedelta(days=DAYS) <= time <= end
    ]


def _tide(device: str, base_m: float, now: datetime) -> list[Reading]:
    """A tide with a little noise."""
    chance = random.Random(device)
    times = [now - timedelta(minutes=5 * step) for step in range(DAYS * 288)]

    def level(time: datetime) -> float:
        return round(base_m + 0.25 * math.sin(time.timestamp() / 44_700 * 2 * math.pi) + chance.gauss(0, 0.004), 3)

    def warmth(time: datetime) -> float:
        return round(18 + 2 * math.sin(time.timestamp() / 86_400 * 2 * math.pi) + chance.gauss(0, 0.05), 2)

    return [
        Reading(device=device, time=time, level_m=level(time), temperature_c=warmth(time)) for time in reversed(times)
    ]


def _tell_of_devices(connection: Connection) -> None:
    update = text(
        "UPDATE devices SET display_name = :title, river = :river, latitude = :latitude, longitude = :longitude, "
        "description = 'Staff gauge on the left bank', auto_registered = false WHERE name = :device"
    )
    for device, (title, river, _) in STATIONS.items():
        latitude, longitude = PLACES.get(device, (None, None))
        values = {"device": device, "title": title, "river": river, "latitude": latitude, "longitude": longitude}
        connection.execute(update, values)
    connection.execute(
        text("UPDATE devices SET time_zone = 'Asia/Ho_Chi_Minh', datum = 'VN-2000' WHERE name = 'long-bien'")
    )
    level_m = _newest(connection, FLOODED)[1]
    stages = [
        {"name": "BĐ I", "level_m": round(level_m - 0.3, 2), "severity": 1},
        {"name": "BĐ II", "level_m": round(level_m - 0.05, 2), "severity": 2},
        {"name": "BĐ III", "level_m": round(level_m + 0.2, 2), "severity": 3},
    ]
    connection.execute(
        text("UPDATE devices SET stages = CAST(:stages AS jsonb) WHERE name = :device"),
        {"stages": json.dumps(stages), "device": FLOODED},
    )
    write_registration(
        connection,
        Registration(
            name="weir",
            dev_eui=LORA_EUI,
            model="milesight_em500_udl",
            parameters={"blind_zone_m": 0.25},
            installation={"sensor_height_m": 14.2},
        ),
    )
    connection.execute(
        text("INSERT INTO devices (name, display_name, decommissioned_at) VALUES ('old-bridge', 'Old bridge', now())")
    )


def _newest(connection: Connection, device: str) -> tuple[datetime, float]:
    query = text(
        "SELECT time, level_m FROM readings JOIN devices ON devices.id = device_id WHERE name = :name ORDER BY time DESC LIMIT 1"
    )
    time, level_m = connection.execute(query, {"name": device}).one()
    return time, level_m


def _tell_of_models(connection: Connection, now: datetime) -> None:
    """Forecasts with their record, a challenger that passed, runs, drift."""
    connection.execute(text("TRUNCATE forecasts, forecast_tracks, drift_reports, rescore_runs, rescore_chunks"))
    shipped = rows.add_shipped(connection)
    rows.add_challenger(connection, shipped, "november")
    for device, slope in ((FLOODED, 0.55), ("gwynns-falls", 0.02), ("mill-brook", 0.1), ("long-bien", -0.2)):
        time, level_m = _newest(connection, device)
        rows.add_forecast(connection, device, time, level_m, slope_m_per_h=slope, staying=(300, 900))
        rows.add_record(connection, device, rows.record(), shipped)
        rows.add_drift(connection, device, "steady")
    earlier = text(
        "SELECT time, level_m FROM readings JOIN devices ON devices.id = device_id WHERE name = :name "
        "AND time < :now - interval '10 minutes' AND time > :now - interval '20 hours' ORDER BY time"
    )
    for time, level_m in connection.execute(earlier, {"name": FLOODED, "now": now}).all()[::3]:
        rows.add_forecast(connection, FLOODED, time, level_m, slope_m_per_h=0.02)
    rows.add_drift(connection, "harbour", "changed", ["spread", "flagged_share"])
    rows.add_drift(connection, "dead-run-upper", "unknown", ["short_history"])
    rows.add_run(connection, "done", done=4, report=rows.report(FLOODED))
    rows.add_run(connection, "running", done=2, chunks=5)


def _tell_of_the_flood(connection: Connection, now: datetime) -> None:
    """Alerts in each state, a correction, notes, a photo."""
    rule, silent = add_rule(connection), add_rule(connection, "Silent")
    level_m = _newest(connection, FLOODED)[1]
    cause = STAGE_CAUSE | {
        "level_m": level_m,
        "threshold_m": round(level_m - 0.05, 2),
        "time": f"{now:%Y-%m-%dT%H:%M:%S.000Z}",
    }
    add_alert(connection, FLOODED, rule_id=rule, cause=cause, opened_at=now - timedelta(minutes=9))
    add_alert(connection, None, rule_id=silent, severity=1, cause={"kind": "gateway", "gateway": "gw-03"})
    below = cause | {"stage": "BĐ I", "severity": 1}
    resolved = add_alert(
        connection, FLOODED, rule_id=rule, severity=1, state="resolved", cause=below, opened_at=now - timedelta(days=2)
    )
    taken = add_alert(
        connection,
        "mill-brook",
        rule_id=silent,
        severity=1,
        state="acknowledged",
        cause={"kind": "silent", "since": f"{now - timedelta(hours=5):%Y-%m-%dT%H:%M:%S.000Z}"},
        opened_at=now - timedelta(hours=4),
    )
    connection.execute(
        text(
            "UPDATE alerts SET acknowledged_by = 'duty', comment = 'The battery is empty; I am on the way' WHERE id = ANY(:ids)"
        ),
        {"ids": [resolved, taken]},
    )
    number = connection.execute(text("SELECT id FROM devices WHERE name = :name"), {"name": FLOODED}).scalar_one()
    connection.execute(
        text(
            "INSERT INTO corrections (device_id, quantity, first, last, shift, note, made_by) "
            "VALUES (:id, 'level_m', :first, :last, 0.02, 'A branch lay against the sensor', 'duty')"
        ),
        {"id": number, "first": now - timedelta(hours=9), "last": now - timedelta(hours=8)},
    )
    add_note(
        connection,
        device_id=number,
        device=FLOODED,
        words="The ladder is loose at the third rung.\nBring a harness.",
        actor="duty",
    )
    picture = read_picture(_photo())
    add_photo(
        connection,
        device_id=number,
        device=FLOODED,
        picture=picture,
        caption="Staff gauge from the bridge",
        actor="duty",
    )


def _photo() -> bytes:
    """A gauge in water, drawn."""
    image = Image.new("RGB", (1_200, 800), (176, 196, 205))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 520, 1_200, 800), fill=(96, 112, 98))
    draw.rectangle((560, 120, 640, 700), fill=(240, 240, 236))
    for place in range(29):
        draw.rectangle(
            (560, 120 + place * 20, 560 + (80 if place % 5 == 0 else 40), 124 + place * 20), fill=(20, 25, 27)
        )
    sink = BytesIO()
    image.save(sink, "JPEG")
    return sink.getvalue()


def _tell_of_people(connection: Connection) -> None:
    for name, role in (("duty", "operator"), ("guest", "viewer"), ("former", "operator")):
        if find_user(connection, name) is None:
            add_user(connection, name, hash_password("correct horse battery"), role)
    former = find_user(connection, "former")
    assert former is not None
    set_disabled(connection, former.id, disabled=True)
    officer = find_user(connection, "officer")
    if officer is not None:
        add_token(
            connection,
            "logger of the weir",
            token_sha256(make_token()),
            ["ingest"],
            user_id=officer.id,
            created_by="officer",
        )
    add_token(
        connection,
        "regional portal",
        token_sha256(make_token()),
        ["read"],
        created_by="command line",
        expires_at=datetime.now(UTC) + timedelta(days=90),
    )
    before, after = {"silence_limit_s": 3_600, "datum": None}, {"silence_limit_s": 1_800, "datum": "VN-2000"}
    write_audit(
        connection, actor="duty", action="device.update", subject="device long-bien", before=before, after=after
    )


def _tell_of_letters(connection: Connection, now: datetime) -> None:
    def letter(payload: bytes, reason: DeadReason, detail: str, device: str | None) -> DeadLetter:
        topic = f"streamgauge/v1/devices/{device or 'unknown'}/readings"
        return DeadLetter(
            topic=topic, source="device", reason=reason, detail=detail, payload=payload, readings=1, device=device,
            received_at=now - timedelta(minutes=12),
        )  # fmt: skip

    write_dead_letters(
        connection,
        [
            letter(
                b'{"time": "2026-11-21T02:30:00Z", "level_m": 1.2}',
                DeadReason.UNKNOWN_DEVICE,
                "no device is registered as mill-race",
                "mill-race",
            ),
            letter(b'{"level_m": "high"}', DeadReason.BAD_TIME, "time is missing", "weir"),
            letter(bytes(range(64)), DeadReason.NOT_JSON, "not JSON in UTF-8", None),
        ],
    )
