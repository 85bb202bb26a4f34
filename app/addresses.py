"""What addresses name: a station, a row by its number, the place where a page of a list begins."""

from flask import abort, request
from sqlalchemy import Connection

from streamgauge.storage.read_readings import Device, find_device

LARGEST_ID = 2**62
"""No row has a larger number; a larger one is made up, and is not asked for."""


def named_device(connection: Connection, name: str) -> Device:
    """The station of this name; where there is none, the request ends with 404."""
    device = find_device(connection, name)
    if device is None:
        abort(404)
    return device


def read_before() -> int:
    """``before`` of the address: the last number of the page before; ``LARGEST_ID`` for none and for what is no number."""
    text = request.args.get("before", "")
    return min(int(text), LARGEST_ID) if text.isascii() and text.isdecimal() and len(text) < 20 else LARGEST_ID
