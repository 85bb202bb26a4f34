"""What an export says of itself: units, datums, zones, when it was made and what was asked for."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime

from streamgauge.reading import QUANTITIES, format_time
from streamgauge.storage.export import safe_cell
from streamgauge.storage.history import Selection
from streamgauge.storage.read_readings import Device

UNITS: Mapping[str, str] = {
    "level_m": "m",
    "pressure_kpa": "kPa",
    "temperature_c": "degC",
    "flow_m3_s": "m3/s",
    "rainfall_mm": "mm",
    "battery_v": "V",
    "rssi_dbm": "dBm",
    "snr_db": "dB",
    "expected_m": "m",
    "low_m": "m",
    "high_m": "m",
}
"""Units by column, written in ASCII; corrected values have those of the raw ones."""
MEANINGS: Mapping[str, str] = {
    "level_m": "above the station's datum",
    "rainfall_mm": "as the device reports it",
    "expected_m": "what the model expected of level_m",
    "low_m": "5 % bound of expected_m",
    "high_m": "95 % bound of expected_m",
    "score": "0 ordinary to 1 certainly anomalous",
    "surprise": "event (the water) or fault (the sensor)",
    "simulated": "1: made by a person at a console and not by a sensor",
    "extra": "what else the device reports, as JSON",
    "reasons": "why flags and score are what they are, as JSON",
}
FLAG_MEANING = "QARTOD flag: 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing"
CORRECTED_MEANING = "stands in for the raw value by an operator's correction; empty: there is none"
_ONE_LINE = str.maketrans({"\r": " ", "\n": " ", "\t": " ", "\0": " ", ";": ","})
"""A semicolon would end a cell for a spreadsheet that separates by it, and what follows might be a formula."""


def unit_of(column: str) -> str:
    """The unit of a column, empty for none."""
    return UNITS.get(column.removesuffix("_corrected"), "")


def meaning_of(column: str) -> str:
    """What a column means, empty where its name says it."""
    if column.endswith("_flag"):
        return FLAG_MEANING
    return CORRECTED_MEANING if column.endswith("_corrected") else MEANINGS.get(column, "")


def described(selection: Selection, now: datetime, *, in_local_time: bool) -> dict[str, str]:
    """What was asked for, by name."""
    return {
        "made_at": format_time(now),
        "from": format_time(selection.start),
        "to": format_time(selection.end),
        "times": "ISO 8601 in each station's zone, with offset" if in_local_time else "ISO 8601 in UTC",
        "quantities": " ".join(name for name in QUANTITIES if name in selection.quantities),
        "readings": selection.mark or "all",
    }


def described_device(device: Device) -> dict[str, str]:
    """What is known of a station, by name."""
    place = "" if device.latitude is None or device.longitude is None else f"{device.latitude} {device.longitude}"
    return {
        "station": device.name,
        "title": device.display_name or "",
        "datum": device.datum or "the station's zero",
        "time_zone": device.time_zone,
        "latitude_longitude": place,
    }


def csv_preamble(selection: Selection, columns: Sequence[str], now: datetime, *, in_local_time: bool = False) -> bytes:
    """Lines that begin with ``#`` (which most readers of CSV skip on demand) and stand before the line of names."""
    sheet = io.StringIO()
    write = csv.writer(sheet, lineterminator="\r\n").writerow
    for name, value in described(selection, now, in_local_time=in_local_time).items():
        write([f"#{name}", _cell(value)])
    for device in selection.devices:
        about = described_device(device)
        write(
            ["#station", *(_cell(f"{name}: {value}" if name != "station" else value) for name, value in about.items())]
        )
    for column in columns:
        unit, meaning = unit_of(column), meaning_of(column)
        if unit or meaning:
            write(["#column", column, unit, _cell(meaning)])
    return sheet.getvalue().encode()


def _cell(value: str) -> str:
    return safe_cell(value.translate(_ONE_LINE))
