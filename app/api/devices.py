"""``/api/v1/devices``: what is registered, and what is known of one device now."""

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from flask import Response
from msgspec import Meta, Struct, field
from sqlalchemy import Connection
from werkzeug.exceptions import BadRequest, NotFound

from app.api.answers import json_answer
from app.api.declare import endpoint, json_of
from app.api.parameters import decode_name_cursor, encode_name_cursor, is_storable
from app.api.schemas import DEFAULT_PAGE, MAX_PAGE, Cursor, DevicePage, OneDevice, StateName
from app.connections import connections
from app.verdict import stage_of, state_of
from streamgauge.stages import stages_json
from streamgauge.storage.find_devices import Box, RegisteredDevice, find_registered, search_devices
from streamgauge.storage.read_overview import StationNow, read_stations_now

MAX_WORDS_CHARACTERS = 200


class DevicesQuery(Struct, kw_only=True):
    """Which devices."""

    q: Annotated[
        str | None,
        Meta(description="Words that all stand in the name, the display name, the river or the description."),
    ] = None
    bbox: Annotated[
        str | None,
        Meta(
            description="`west,south,east,north` in degrees; west above east goes over the date line.",
            examples=["105.2,20.5,106.3,21.4"],
        ),
    ] = None
    state: Annotated[
        list[StateName],
        Meta(
            description="In one of these states now; may be given several times. Decommissioned devices are in none of these."
        ),
    ] = field(default_factory=list)
    decommissioned: Annotated[bool | None, Meta(description="Only such as are, or only such as are not.")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    cursor: Cursor | None = None


@endpoint(
    "GET",
    "/devices",
    scope="read",
    tag="Devices",
    summary="Registered devices, by name",
    query=DevicesQuery,
    answers={200: json_of("A page of devices.", DevicePage)},
    problems=(400,),
)
def get_devices(query: DevicesQuery) -> Response:
    """All that is registered, or what is searched for."""
    after = decode_name_cursor(query.cursor) if query.cursor else ""
    words = query.q or ""
    if len(words) > MAX_WORDS_CHARACTERS or not is_storable(words):
        raise BadRequest(f"q must be text of at most {MAX_WORDS_CHARACTERS} characters")
    box = read_box(query.bbox) if query.bbox else None
    with connections().engine.connect() as connection:
        found = search_devices(
            connection,
            after_name=after,
            limit=query.limit + 1,
            words=words,
            box=box,
            names=_names_in(connection, frozenset(query.state)) if query.state else None,
            decommissioned=query.decommissioned,
        )
    page = found[: query.limit]
    following = encode_name_cursor(page[-1].name) if len(found) > query.limit else None
    return json_answer({"devices": [device_object(device) for device in page], "next": following})


@endpoint(
    "GET",
    "/devices/<device>",
    scope="read",
    tag="Devices",
    summary="One device, and what is known of it now",
    answers={200: json_of("The device.", OneDevice)},
    problems=(404,),
)
def get_device(device: str) -> Response:
    """Its registration with its stages, and its state by the newest reading, as the overview shows it."""
    with connections().engine.connect() as connection:
        found = find_registered(connection, device)
        if found is None:
            raise NotFound("No device of this name is registered.")
        now = read_stations_now(connection, [found.name])[0]
    return json_answer({"device": device_object(found), "now": _now_object(now, datetime.now(UTC))})


def device_object(device: RegisteredDevice) -> dict[str, Any]:
    """A device as the API shows it: without our internal id, its name being what the wire calls ``device``."""
    fields = asdict(device)
    del fields["id"]
    return {"device": fields.pop("name"), **fields, "stages": stages_json(device.stages)}


def read_box(text: str) -> Box:
    """``west,south,east,north`` in degrees.

    Raises:
        BadRequest: it is none.
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise BadRequest("bbox must be west,south,east,north in degrees, for example 105.2,20.5,106.3,21.4") from None
    is_sound = all(math.isfinite(number) for number in (west, south, east, north))
    if not (is_sound and -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise BadRequest("bbox must lie within -180,-90,180,90, its south below its north")
    return Box(west, south, east, north)


def _names_in(connection: Connection, states: frozenset[str]) -> list[str]:
    now = datetime.now(UTC)
    return [station.name for station in read_stations_now(connection) if str(state_of(station, now)) in states]


def _now_object(station: StationNow, now: datetime) -> dict[str, Any]:
    stage = stage_of(station)
    return {
        "state": str(state_of(station, now)),
        "time": station.time,
        "level_m": station.level_m,
        "raw_level_m": station.raw_level_m,
        "level_flag": station.level_flag,
        "rate_m_per_h": station.rate_m_per_h,
        "score": station.score,
        "stage": None if stage is None else stage.name,
    }
