"""What the API's answers and bodies hold, as types: the OpenAPI document is written from them, and tests hold answers to them."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct, field

from streamgauge.reading import FLOAT_FIELDS, QUANTITIES
from streamgauge.storage.read_readings import SCORED

MAX_PAGE = 10_000
DEFAULT_PAGE = 1_000
MAX_CURSOR_CHARACTERS = 200

Time = Annotated[
    str,
    Meta(
        description="RFC 3339 with an offset, for example `2018-06-22T12:00:00Z`.",
        max_length=64,
        extra_json_schema={"format": "date-time"},
        extra={"must": "be an RFC 3339 time, for example 2018-06-22T12:00:00Z"},
    ),
]
At = Annotated[str, Meta(description="RFC 3339, UTC.", extra_json_schema={"format": "date-time"})]
Cursor = Annotated[
    str,
    Meta(
        description="`next` of the page before.",
        max_length=MAX_CURSOR_CHARACTERS,
        extra={"must": "be `next` of the page before"},
    ),
]
Next = Annotated[str | None, Meta(description="The cursor of the next page; null on the last one.")]
Flag = Annotated[int, Meta(description="QARTOD: 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing.", ge=1, le=9)]
StateName = Literal["stage", "rising", "silent", "suspect", "anomalous", "ordinary"]
NowState = Literal[StateName, "decommissioned"]
AlertState = Literal["open", "acknowledged", "resolved"]


class _Object(Struct, kw_only=True, forbid_unknown_fields=True):
    """An object that holds what is named and nothing else."""


class Problem(Struct, kw_only=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: Annotated[str, Meta(description="What kind of problem; constant for that kind.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="What was wrong this time, and what to do.")]
    request_id: str
    errors: list[dict[str, Any]] | UnsetType = UNSET


class StageObject(_Object):
    """A stage of a station: reached when the level is at or above `level_m`."""

    name: str
    level_m: float
    severity: Annotated[int, Meta(ge=1, le=4)]


class DeviceObject(_Object):
    """A registered device."""

    device: Annotated[str, Meta(description="Its name on the wire.")]
    display_name: str | None
    description: str | None
    river: str | None
    latitude: float | None
    longitude: float | None
    time_zone: Annotated[str, Meta(description="IANA name.")]
    datum: Annotated[str | None, Meta(description="What `level_m` is above.")]
    silence_limit_s: int
    gross_min_m: float | None
    gross_max_m: float | None
    dev_eui: str | None
    model: str | None
    stages: list[StageObject]
    auto_registered: bool
    registered_at: At
    decommissioned_at: At | None


class NowObject(_Object):
    """What is known of a device now."""

    state: Annotated[NowState, Meta(description="`decommissioned`: out of service, so that nothing is expected of it.")]
    time: Annotated[At | None, Meta(description="Of the newest reading; null: it has never reported.")]
    level_m: Annotated[float | None, Meta(description="What counts: corrected, where an operator corrected it.")]
    raw_level_m: Annotated[float | None, Meta(description="What the sensor said, where that was corrected.")]
    level_flag: Annotated[Flag | None, Meta(description="The one that counts.")]
    rate_m_per_h: float | None
    score: float | None
    stage: Annotated[str | None, Meta(description="The highest stage that is reached.")]


class DevicePage(_Object):
    """Devices by name."""

    devices: list[DeviceObject]
    next: Next


class OneDevice(_Object):
    """One device with what is known of it now."""

    device: DeviceObject
    now: NowObject


_MEASURED: list[Any] = [(name, float | UnsetType, UNSET) for name in FLOAT_FIELDS]
_SCORES: list[Any] = [(name, float | UnsetType, UNSET) for name in SCORED]

Corrected = defstruct(
    "Corrected",
    [(name, float | UnsetType, UNSET) for name in QUANTITIES],
    kw_only=True,
    forbid_unknown_fields=True,
    namespace={"__doc__": "The values that count instead of the raw ones, by an operator's word."},
)

RawReading = defstruct(
    "RawReading",
    [
        ("time", At),
        *_MEASURED,
        ("seq", int | UnsetType, UNSET),
        ("extra", dict[str, Any] | UnsetType, UNSET),
        ("flags", Annotated[dict[str, Flag], Meta(description="The flags that count.")]),
        ("corrected", Corrected | UnsetType, UNSET),
        (
            "raw_flags",
            Annotated[dict[str, Flag], Meta(description="What the checks had said, where an operator decided.")]
            | UnsetType,
            UNSET,
        ),
        ("reasons", Annotated[dict[str, Any], Meta(description="Why the checks said so.")] | UnsetType, UNSET),
        *_SCORES,
        ("surprise", str | UnsetType, UNSET),
        ("received_at", At | UnsetType, UNSET),
        ("stored_at", At | UnsetType, UNSET),
        ("simulated", bool | UnsetType, UNSET),
    ],
    kw_only=True,
    forbid_unknown_fields=True,
    namespace={"__doc__": "A stored reading with its raw values; what is absent is left out."},
)

Bin = defstruct(
    "Bin",
    [
        ("time", Annotated[At, Meta(description="Where the bin begins.")]),
        ("readings", int),
        ("score_max", float | UnsetType, UNSET),
        *[(f"{name}_{part}", float | UnsetType, UNSET) for name in QUANTITIES for part in ("min", "mean", "max")],
    ],
    kw_only=True,
    forbid_unknown_fields=True,
    namespace={
        "__doc__": "Readings of one stretch: lowest, mean and highest of the values that count, corrected, without failed ones."
    },
)


class ReadingPage(_Object):
    """Raw readings, oldest first."""

    device: str
    resolution_s: None
    readings: list[RawReading]  # type: ignore[valid-type]
    next: Next


class BinPage(_Object):
    """Bins, oldest first."""

    device: str
    resolution_s: int
    readings: list[Bin]  # type: ignore[valid-type]
    next: Next


class HorizonObject(_Object):
    """What is expected at one time, with its 5 % and 95 % bounds."""

    horizon_s: int
    time: At
    expected_m: float
    low_m: float
    high_m: float
    method: str


class ForecastObject(_Object):
    """The newest forecast; nulls and no horizons while there is none."""

    device: str
    issued_at: At | None
    made_at: At | None
    age_s: Annotated[float | None, Meta(description="Age when this was first answered; an ETag does not count it.")]
    expired: bool | None
    model: str | None
    persistence_m: float | None
    horizons: list[HorizonObject]
    record: Annotated[Any, Meta(description="How good the station's forecasts have been, beside persistence.")]
    record_through: At | None


class WireReading(Struct, kw_only=True):
    """A reading on the wire. At least one quantity must be there; other numeric members are kept in `extra`."""

    device: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:\-]{1,64}$")]
    time: Annotated[str, Meta(description="RFC 3339 with an offset.", extra_json_schema={"format": "date-time"})]
    level_m: float | UnsetType = UNSET
    pressure_kpa: float | UnsetType = UNSET
    temperature_c: float | UnsetType = UNSET
    flow_m3_s: float | UnsetType = UNSET
    rainfall_mm: float | UnsetType = UNSET
    battery_v: float | UnsetType = UNSET
    rssi_dbm: float | UnsetType = UNSET
    snr_db: float | UnsetType = UNSET
    seq: int | UnsetType = UNSET


class StoredObject(_Object):
    """Everything is committed."""

    stored: int
    dead: int


class CommittedObject(_Object):
    """What an uplink held is committed."""

    committed: bool


class AlertObject(_Object):
    """An alert."""

    id: int
    rule: str
    device: Annotated[str | None, Meta(description="Null: of the whole system.")]
    state: AlertState
    severity: Annotated[int, Meta(ge=1, le=4)]
    cause: Annotated[
        dict[str, Any],
        Meta(description="What raised it: `kind`, and its figures. New kinds may come; pass over what is unknown."),
    ]
    opened_at: At
    acknowledged_at: At | None
    acknowledged_by: str | None
    comment: Annotated[str | None, Meta(description="The newest.")]
    resolved_at: At | None
    resolved_by: str | None


class AlertPage(_Object):
    """Alerts, newest first."""

    alerts: list[AlertObject]
    next: Next


class OneAlert(_Object):
    """One alert."""

    alert: AlertObject


class CommentBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to say of an alert."""

    comment: Annotated[str, Meta(max_length=4_000)]


class OptionalCommentBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to say of an alert, if anything."""

    comment: Annotated[str, Meta(max_length=4_000)] | None = None


class RunBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which readings are to be judged again (docs/rescoring.md)."""

    from_: Annotated[Time, Meta(description="The first time.")] = field(name="from")
    until: Time | None = None
    devices: Annotated[list[str] | None, Meta(description="Null: every station.")] = None
    model: Annotated[str, Meta(description="`champion`, `challenger` or a model's SHA-256.")] = "champion"


class Progress(_Object):
    """How much of a run is done."""

    all: int | None
    done: int | None


class ChunkProgress(_Object):
    """How many of a run's chunks are done."""

    all: int
    done: int
    failed: int


class RunSummary(Struct, kw_only=True):
    """A re-scoring run."""

    id: int
    kind: str
    state: str
    devices: list[str] | None
    from_: At | None = field(name="from")
    until: At | None
    model: str | None
    model_sha256: str | None
    created_at: At
    created_by: str | None
    started_at: At | None
    ended_at: At | None
    cancel_requested_at: At | None
    chunks: ChunkProgress
    readings: Progress
    readings_per_s: float | None
    eta_s: float | None
    error: str | None


class RunObject(RunSummary, kw_only=True):
    """A re-scoring run with its report."""

    report: Any


class RunPage(_Object):
    """Runs, newest first, without their reports."""

    runs: list[RunSummary]
    next: Next


class OneRun(_Object):
    """One run."""

    run: RunObject
