"""``GET /api/v1/devices``."""

from dataclasses import asdict
from typing import Any

from flask import Response, request

from app.api.access import needs
from app.api.answers import json_answer
from app.api.blueprint import blueprint
from app.api.parameters import DEFAULT_PAGE, MAX_PAGE, decode_name_cursor, encode_name_cursor, read_whole
from app.connections import connections
from streamgauge.storage.read_readings import Device, list_devices


@blueprint.get("/devices")
@needs("read")
def get_devices() -> Response:
    """Registered devices by name: ``{"devices": […], "next": cursor or null}``."""
    limit = read_whole(request.args, "limit", DEFAULT_PAGE, 1, MAX_PAGE)
    cursor = request.args.get("cursor")
    after = decode_name_cursor(cursor) if cursor else ""
    with connections().engine.connect() as connection:
        devices = list_devices(connection, after, limit + 1)
    page = devices[:limit]
    following = encode_name_cursor(page[-1].name) if len(devices) > limit else None
    return json_answer({"devices": [device_object(device) for device in page], "next": following})


def device_object(device: Device) -> dict[str, Any]:
    """A device as the API shows it: without our internal id, its name being what the wire calls ``device``."""
    fields = asdict(device)
    del fields["id"]
    return {"device": fields.pop("name"), **fields}
