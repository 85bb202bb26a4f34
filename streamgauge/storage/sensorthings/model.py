"""The entities: what each is a view of, what it is linked with, and its properties as SQL, for filters and order."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamgauge.reading import QUANTITIES
from streamgauge.storage.corrections import flag_sql, reason_sql, value_sql

DATASTREAM_FACTOR = 8
"""A Datastream's number is its device's times this, and its quantity's."""
PROBED_READINGS = 100
"""A quantity that a device's first and last readings do not have is no Datastream of it in lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What is observed; numbers are from 1 on, in the order of ``streamgauge.reading.QUANTITIES``."""

    id: int
    column: str
    name: str
    definition: str
    description: str
    unit_name: str
    unit_symbol: str
    unit_definition: str


_CF, _QUDT = "http://vocab.nerc.ac.uk/standard_name/", "http://qudt.org/vocab/quantitykind/"
_UCUM = "ucum:"
_WORDS = {
    "level_m": (
        "Water level",
        f"{_CF}water_surface_height_above_reference_datum/",
        "Height of the water surface above the station's datum",
        ("metre", "m", "m"),
    ),
    "pressure_kpa": ("Pressure", f"{_QUDT}Pressure", "Pressure as the device reports it", ("kilopascal", "kPa", "kPa")),
    "temperature_c": (
        "Temperature",
        f"{_QUDT}Temperature",
        "Temperature as the device reports it",
        ("degree Celsius", "°C", "Cel"),
    ),
    "flow_m3_s": (
        "Flow",
        f"{_CF}water_volume_transport_in_river_channel/",
        "Volume of water that passes in a second",
        ("cubic metre per second", "m³/s", "m3/s"),
    ),
    "rainfall_mm": (
        "Rainfall",
        f"{_CF}thickness_of_rainfall_amount/",
        "Rainfall since the reading before, as the device reports it",
        ("millimetre", "mm", "mm"),
    ),
}
ALL_QUANTITIES: Mapping[int, Quantity] = {
    number: Quantity(
        id=number,
        column=column,
        name=_WORDS[column][0],
        definition=_WORDS[column][1],
        description=_WORDS[column][2],
        unit_name=_WORDS[column][3][0],
        unit_symbol=_WORDS[column][3][1],
        unit_definition=_UCUM + _WORDS[column][3][2],
    )
    for number, column in enumerate(QUANTITIES, 1)
}


def _by_quantity(expressions: Mapping[int, str]) -> str:
    return "CASE q.id " + " ".join(f"WHEN {number} THEN {sql}" for number, sql in expressions.items()) + " END"


CORRECTED_DEVICES = "corrected_devices"
"""The parameter of statements with ``FLAG``: the devices of which anything was corrected (see ``query``)."""
VALUE = _by_quantity({number: f"readings.{quantity.column}" for number, quantity in ALL_QUANTITIES.items()})
COLUMN = _by_quantity({number: f"'{quantity.column}'" for number, quantity in ALL_QUANTITIES.items()})
_STORED_FLAG = f"CAST(readings.flags->>({COLUMN}) AS smallint)"
_STORED_REASON = f"readings.reasons->({COLUMN})"
IS_CORRECTED = f"readings.device_id = ANY(CAST(:{CORRECTED_DEVICES} AS bigint[]))"
FLAG = f"CASE WHEN {IS_CORRECTED} THEN {flag_sql(COLUMN, VALUE, _STORED_FLAG)} ELSE {_STORED_FLAG} END"
REASON = f"CASE WHEN {IS_CORRECTED} THEN {reason_sql(COLUMN, _STORED_REASON)} ELSE {_STORED_REASON} END"
CORRECTED = f"CASE WHEN {IS_CORRECTED} THEN nullif({value_sql(COLUMN, VALUE)}, {VALUE}) END"
_Q_COLUMNS = ("name", "definition", "description", "unit_name", "unit_symbol", "unit_definition")
QUANTITY_ROWS = (
    "(VALUES "
    + ", ".join(
        f"({quantity.id}, "
        + ", ".join(
            "'" + getattr(quantity, column).replace("'", "''").replace(":", "\\:") + "'" for column in _Q_COLUMNS
        )
        + ")"
        for quantity in ALL_QUANTITIES.values()
    )
    + f") AS q(id, {', '.join(_Q_COLUMNS)})"
)
"""Quantities as a table; a colon is escaped, as SQLAlchemy would take it for a parameter."""
_PROBE = (
    "EXISTS (SELECT FROM (SELECT * FROM readings WHERE device_id = d.id ORDER BY time {} "
    f"LIMIT {PROBED_READINGS}) AS readings WHERE {VALUE} IS NOT NULL)"
)
HAS_STREAM = f"({_PROBE.format('DESC')} OR {_PROBE.format('ASC')})"
TIME_US = "CAST(extract(epoch FROM readings.time) * 1000000 AS bigint)"
POINT = "point(d.longitude, d.latitude)"
DESCRIPTION = "coalesce(d.description, d.display_name, d.name)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """A property as SQL, with its kind: number, text, time, point."""

    sql: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """An entity type.

    Attributes:
        plural: the name of its set, and singular, of one.
        views: which of d, q and r it is a view of.
        condition: what rows must fulfil, besides.
        links: by navigation property, the set that it leads to; a name in the singular leads to one entity.
        properties: by path.
    """

    plural: str
    singular: str
    views: str
    condition: str = "true"
    links: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Property] = field(default_factory=dict)


def _properties(**by_kind: Mapping[str, str]) -> dict[str, Property]:
    return {path: Property(sql=sql, kind=kind) for kind, paths in by_kind.items() for path, sql in paths.items()}


_HAS_PLACE = "d.latitude IS NOT NULL AND d.longitude IS NOT NULL"
_LEVEL_DATUM = "CASE WHEN q.id = 1 THEN d.datum END"

ENTITIES: Mapping[str, Entity] = {
    entity.plural: entity
    for entity in (
        Entity(
            plural="Things",
            singular="Thing",
            views="d",
            links={
                "Locations": "Locations",
                "HistoricalLocations": "HistoricalLocations",
                "Datastreams": "Datastreams",
            },
            properties=_properties(
                number={"id": "d.id", "properties/silence_limit_s": "d.silence_limit_s"},
                text={
                    "name": "d.name",
                    "description": DESCRIPTION,
                    "properties/title": "d.display_name",
                    "properties/river": "d.river",
                    "properties/datum": "d.datum",
                    "properties/time_zone": "d.time_zone",
                },
                time={
                    "properties/registered_at": "d.registered_at",
                    "properties/decommissioned_at": "d.decommissioned_at",
                },
            ),
        ),
        Entity(
            plural="Locations",
            singular="Location",
            views="d",
            condition=_HAS_PLACE,
            links={"Things": "Things", "HistoricalLocations": "HistoricalLocations"},
            properties=_properties(
                number={"id": "d.id"},
                text={"name": "d.name", "description": DESCRIPTION, "encodingType": "'application/geo+json'"},
                point={"location": POINT},
            ),
        ),
        Entity(
            plural="HistoricalLocations",
            singular="HistoricalLocation",
            views="d",
            condition=_HAS_PLACE,
            links={"Thing": "Things", "Locations": "Locations"},
            properties=_properties(number={"id": "d.id"}, time={"time": "d.registered_at"}),
        ),
        Entity(
            plural="Datastreams",
            singular="Datastream",
            views="dq",
            condition=HAS_STREAM,
            links={
                "Thing": "Things",
                "Sensor": "Sensors",
                "ObservedProperty": "ObservedProperties",
                "Observations": "Observations",
            },
            properties=_properties(
                number={"id": f"(d.id * {DATASTREAM_FACTOR} + q.id)"},
                text={
                    "name": "(d.name || ' ' || q.name)",
                    "description": f"(q.name || ' at ' || {DESCRIPTION})",
                    "unitOfMeasurement/name": "q.unit_name",
                    "unitOfMeasurement/symbol": "q.unit_symbol",
                    "unitOfMeasurement/definition": "q.unit_definition",
                    "properties/datum": _LEVEL_DATUM,
                },
            ),
        ),
        Entity(
            plural="Sensors",
            singular="Sensor",
            views="d",
            links={"Datastreams": "Datastreams"},
            properties=_properties(
                number={"id": "d.id"},
                text={
                    "name": "(d.name || ' sensor')",
                    "description": "coalesce(d.model, 'sensor of ' || d.name)",
                    "properties/model": "d.model",
                    "properties/dev_eui": "d.dev_eui",
                },
            ),
        ),
        Entity(
            plural="ObservedProperties",
            singular="ObservedProperty",
            views="q",
            links={"Datastreams": "Datastreams"},
            properties=_properties(
                number={"id": "q.id"},
                text={"name": "q.name", "definition": "q.definition", "description": "q.description"},
            ),
        ),
        Entity(
            plural="Observations",
            singular="Observation",
            views="dqr",
            condition=f"{VALUE} IS NOT NULL",
            links={"Datastream": "Datastreams", "FeatureOfInterest": "FeaturesOfInterest"},
            properties=_properties(
                number={
                    "result": VALUE,
                    "resultQuality/flag": FLAG,
                    "parameters/score": "CASE WHEN q.id = 1 THEN readings.score END",
                    "parameters/seq": "readings.seq",
                },
                text={
                    "id": f"(d.id || '-' || q.id || '-' || {TIME_US})",
                    "parameters/surprise": "CASE WHEN q.id = 1 THEN readings.surprise END",
                },
                time={"phenomenonTime": "readings.time", "resultTime": "readings.time"},
            ),
        ),
        Entity(
            plural="FeaturesOfInterest",
            singular="FeatureOfInterest",
            views="d",
            links={"Observations": "Observations"},
            properties=_properties(
                number={"id": "d.id"},
                text={"name": "d.name", "description": DESCRIPTION, "encodingType": "'application/geo+json'"},
                point={"feature": POINT},
            ),
        ),
    )
}


def is_one(link: str) -> bool:
    """Whether a navigation property leads to one entity."""
    return link not in ENTITIES
