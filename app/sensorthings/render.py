"""Entities as JSON objects (OGC 18-088, 8.2 and 8.3)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from streamgauge.reading import format_time, to_microseconds
from streamgauge.storage.sensorthings.model import ALL_QUANTITIES, Entity
from streamgauge.storage.sensorthings.query import datastream_id

GEOJSON = "application/geo+json"
MEASUREMENT = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"
QARTOD = "QARTOD"
Row = Mapping[str, Any]
Span = tuple[datetime, datetime]


def id_of(entity: Entity, row: Row) -> int | str:
    """An entity's id."""
    if entity.views == "dqr":
        return f"{row['device_id']}-{row['quantity']}-{to_microseconds(row['time'])}"
    if entity.views == "dq":
        return datastream_id(row["device_id"], row["quantity"])
    return int(row["quantity"] if entity.views == "q" else row["device_id"])


def self_link(root: str, entity: Entity, row: Row) -> str:
    """An entity's address."""
    found = id_of(entity, row)
    return f"{root}/{entity.plural}({found})" if isinstance(found, int) else f"{root}/{entity.plural}('{found}')"


def properties_of(entity: Entity, row: Row, span: Span | None) -> dict[str, Any]:
    """An entity's own properties; ``span``: first and last time of a Datastream that has readings."""
    if entity.plural == "Datastreams":
        return _datastream(row, span)
    return {
        "Things": _thing,
        "Locations": _location,
        "HistoricalLocations": lambda row: {"time": format_time(row["registered_at"])},
        "Sensors": _sensor,
        "ObservedProperties": _observed_property,
        "Observations": _observation,
        "FeaturesOfInterest": _feature,
    }[entity.plural](row)


def _description(row: Row) -> str:
    return str(row["description"] or row["display_name"] or row["device"])


def _thing(row: Row) -> dict[str, Any]:
    properties = {
        "title": row["display_name"],
        "river": row["river"],
        "datum": row["datum"],
        "time_zone": row["time_zone"],
        "silence_limit_s": row["silence_limit_s"],
        "stages": row["stages"],
        "registered_at": format_time(row["registered_at"]),
        "decommissioned_at": format_time(row["decommissioned_at"]) if row["decommissioned_at"] else None,
    }
    return {"name": row["device"], "description": _description(row), "properties": _present(properties)}


def _location(row: Row) -> dict[str, Any]:
    return {
        "name": row["device"],
        "description": _description(row),
        "encodingType": GEOJSON,
        "location": _point(row),
    }


def _point(row: Row) -> dict[str, Any] | None:
    if row["latitude"] is None or row["longitude"] is None:
        return None
    return {"type": "Point", "coordinates": [row["longitude"], row["latitude"]]}


def _datastream(row: Row, span: Span | None) -> dict[str, Any]:
    quantity = ALL_QUANTITIES[row["quantity"]]
    datum = (row["datum"] or "the station's zero") if quantity.column == "level_m" else None
    found: dict[str, Any] = {
        "name": f"{row['device']} {quantity.name}",
        "description": f"{quantity.name} at {_description(row)}",
        "observationType": MEASUREMENT,
        "unitOfMeasurement": {
            "name": quantity.unit_name,
            "symbol": quantity.unit_symbol,
            "definition": quantity.unit_definition,
        },
        "properties": _present({"field": quantity.column, "datum": datum}),
    }
    if (point := _point(row)) is not None:
        found["observedArea"] = point
    if span is not None:
        found["phenomenonTime"] = found["resultTime"] = f"{format_time(span[0])}/{format_time(span[1])}"
    return found


def _sensor(row: Row) -> dict[str, Any]:
    return {
        "name": f"{row['device']} sensor",
        "description": row["model"] or f"sensor of {row['device']}",
        "encodingType": "text/plain",
        "metadata": row["model"] or "not registered",
        "properties": _present({"model": row["model"], "dev_eui": row["dev_eui"]}),
    }


def _observed_property(row: Row) -> dict[str, Any]:
    quantity = ALL_QUANTITIES[row["quantity"]]
    return {"name": quantity.name, "definition": quantity.definition, "description": quantity.description}


def _observation(row: Row) -> dict[str, Any]:
    time, is_level = format_time(row["time"]), row["quantity"] == 1
    parameters = {
        "corrected": row["corrected"],
        "seq": row["seq"],
        "expected": row["expected_m"] if is_level else None,
        "score": row["score"] if is_level else None,
        "surprise": row["surprise"] if is_level else None,
    }
    return {
        "phenomenonTime": time,
        "result": row["result"],
        "resultTime": time,
        "resultQuality": _present({"scheme": QARTOD, "flag": row["flag"], "reason": row["reason"]}),
        "parameters": _present(parameters),
    }


def _feature(row: Row) -> dict[str, Any]:
    return {
        "name": row["device"],
        "description": _description(row),
        "encodingType": GEOJSON,
        "feature": {"type": "Feature", "geometry": _point(row), "properties": {"name": row["device"]}},
    }


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
