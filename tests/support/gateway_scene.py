"""A gateway as an installer may find it: sensors in every state, frames of every kind. For the page's tests and pictures."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.alarms.message import Raised
from gateway.configuration import Rule
from gateway.journal import AlarmNote, Heard, Journal, Outcome
from gateway.judging.verdict import Verdict
from gateway.page.state import ForwarderState, GatewayState, LinkState
from streamgauge.quality.flags import Flag

NOW = datetime(2026, 11, 21, 7, 42, 10, tzinfo=UTC)
FORWARDER = "A84041FFFF1F2D30"

SENSORS = ("bridge-12", "culvert-north", "mill-brook", "pump-sump", "tank-2", "weir")
_LEVELS = {"bridge-12": 1.634, "culvert-north": 0.412, "mill-brook": 0.871, "pump-sump": 2.105, "weir": 0.338}


def ago(**parts: float) -> datetime:
    """So long before the scene's present."""
    return NOW - timedelta(**parts)


def verdict_of(device: str) -> Verdict | None:
    """What is thought of each sensor's newest level."""
    if device not in _LEVELS:
        return None
    level_m = _LEVELS[device]
    verdict = Verdict(
        device=device,
        time=ago(hours=9) if device == "mill-brook" else ago(seconds=70),
        level_m=level_m,
        flag=Flag.GOOD,
        score=0.1,
        newest=True,
        rise_m_per_h=0.004,
        step_s=300.0,
        sudden=False,
        next_time=ago(seconds=-230),
        next_m=level_m + 0.001,
    )
    if device == "bridge-12":
        return replace(verdict, rise_m_per_h=0.34, next_m=1.661, score=0.97)
    if device == "pump-sump":
        reason = {"check": "spike", "measured_m": 0.42, "limit_m": 0.15}
        return replace(verdict, flag=Flag.SUSPECT, reason=reason)
    return verdict


def uplink(device: str, time: datetime, counter: int, **values: float) -> Heard:
    """A frame that was kept."""
    return Heard(
        time=time,
        way="udp",
        outcome=Outcome.STORED,
        device=device,
        sender="26011F2B",
        forwarder=FORWARDER,
        rssi_dbm=-97.0,
        snr_db=7.5,
        counter=counter,
        f_port=1,
        size_bytes=11,
        values=values,
        readings=1,
    )


def fill(journal: Journal) -> None:
    """Some hours of frames."""
    journal.record(uplink("mill-brook", ago(hours=9), 40_107, level_m=0.871, battery_v=2.71))
    for minutes in (26, 21, 16, 11, 6):
        for place, device in enumerate(("bridge-12", "culvert-north", "pump-sump")):
            level_m = _LEVELS[device] - minutes * 0.002
            journal.record(uplink(device, ago(minutes=minutes, seconds=-place * 7), 900 - minutes, level_m=level_m))
    radio = {"way": "udp", "forwarder": FORWARDER}
    journal.record(
        Heard(time=ago(minutes=4), outcome=Outcome.JOINED, device="weir", sender="24E124136B325517", **radio)  # type: ignore[arg-type]
    )
    weir = uplink("weir", ago(minutes=3), 1, level_m=0.338, distance_m=3.162, temperature_c=11.4, battery_percent=98)
    journal.record(replace(weir, rssi_dbm=-119.0, snr_db=-11.2))
    journal.record(
        Heard(
            time=ago(seconds=150),
            outcome=Outcome.BAD_MIC,
            device="tank-2",
            sender="260B4E51",
            counter=17,
            rssi_dbm=-88.0,
            snr_db=9.0,
            size_bytes=23,
            detail="MIC 5e2f09aa does not fit DevAddr 260B4E51",
            **radio,  # type: ignore[arg-type]
        )
    )
    journal.record(
        Heard(
            time=ago(seconds=131),
            outcome=Outcome.UNKNOWN_DEV_ADDR,
            sender="0184F0C2",
            counter=5521,
            rssi_dbm=-116.0,
            snr_db=-4.0,
            size_bytes=31,
            **radio,  # type: ignore[arg-type]
        )
    )
    journal.record(
        Heard(
            time=ago(seconds=88),
            way="http",
            outcome=Outcome.TIME_OUT_OF_RANGE,
            device="tank-2",
            sender="192.168.1.40",
            detail="time is 2031-01-01T00:00:00Z; accepted is 1990-01-01T00:00:00.000Z to 2026-11-21T07:52:10.000Z",
        )
    )
    journal.record(uplink("bridge-12", ago(seconds=70), 901, level_m=1.634, distance_m=4.866, battery_v=3.62))
    journal.record(
        replace(
            uplink("pump-sump", ago(seconds=61), 901, level_m=2.105, pressure_kpa=20.6, battery_v=3.58),
            outcome=Outcome.PARTLY,
            detail="unknown channel 0x0d at byte 7: what follows was not read",
        )
    )
    journal.record(
        replace(uplink("culvert-north", ago(seconds=40), 901), outcome=Outcome.REPEATED, values={}, readings=0)
    )
    journal.record(uplink("culvert-north", ago(seconds=12), 902, level_m=0.412, distance_m=2.1, battery_v=3.60))


def calm_state(devices: Sequence[str] = ("culvert-north", "weir")) -> GatewayState:
    """Nothing is wrong."""
    return GatewayState(
        name="pump-station-3",
        version="0.1.0",
        started_at=ago(days=3, hours=4),
        link=LinkState(connected=True, since=ago(days=3), last_stored_at=ago(seconds=11)),
        buffered=2,
        oldest_s=0.4,
        buffer_bytes=1_900_000,
        buffer_max_bytes=2_147_483_648,
        forwarders=(ForwarderState(eui=FORWARDER, last_seen=ago(seconds=9), frames=40_211, rssi_dbm=-97.0),),
        devices=tuple(devices),
    )


def troubled_state() -> GatewayState:
    """The link is down in a flood."""
    rule = Rule(name="Bridge closes", device="bridge-12", level_above_m=1.6, rise_above_m_per_h=0.2)
    verdict = verdict_of("bridge-12")
    assert verdict is not None
    raised = Raised.of(
        rule, verdict, gateway="pump-station-3", raised_at=ago(minutes=6), is_confirmed=True, is_offline=True
    )
    link = LinkState(
        connected=False,
        since=ago(minutes=47),
        last_error="Connection refused",
        last_stored_at=ago(minutes=47, seconds=3),
    )
    return replace(
        calm_state(SENSORS),
        link=link,
        buffered=1_284,
        oldest_s=47 * 60.0,
        buffer_bytes=2_600_000,
        clock_step_at=ago(hours=2),
        clock_step_s=-3_600.0,
        alarms=(raised,),
    )


def note_alarm(journal: Journal) -> None:
    """What became of the alarm in ``troubled_state``."""
    for time, outcome, detail in (
        (ago(minutes=6), "raised", ""),
        (ago(minutes=6, seconds=-1), "failed", "webhook: it could not be reached: timed out"),
        (ago(minutes=5, seconds=50), "delivered", "webhook: HTTP 200"),
    ):
        journal.record_alarm(
            AlarmNote(time=time, rule="Bridge closes", device="bridge-12", outcome=outcome, detail=detail)
        )
