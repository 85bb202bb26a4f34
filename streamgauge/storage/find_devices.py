"""Devices as the JSON API gives them: by words, by place, by pages of names."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.reading import DEVICE_NAME
from streamgauge.stages import Stage, sound_stages


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredDevice:
    """What is registered of a device."""

    id: int
    name: str
    display_name: str | None
    description: str | None
    river: str | None
    latitude: float | None
    longitude: float | None
    time_zone: str
    datum: str | None
    silence_limit_s: int
    gross_min_m: float | None
    gross_max_m: float | None
    dev_eui: str | None
    model: str | None
    stages: tuple[Stage, ...]
    auto_registered: bool
    registered_at: datetime
    decommissioned_at: datetime | None


@dataclass(frozen=True, slots=True)
class Box:
    """A stretch of the earth, in degrees; ``west`` above ``east`` goes over the date line."""

    west: float
    south: float
    east: float
    north: float


_COLUMNS = (
    "id, name, display_name, description, river, latitude, longitude, time_zone, datum, silence_limit_s, gross_min_m, "
    "gross_max_m, dev_eui, model, stages, auto_registered, registered_at, decommissioned_at"
)
_SAID = "concat_ws(' ', name, display_name, river, description)"


def find_registered(connection: Connection, name: str) -> RegisteredDevice | None:
    """The device of this name, decommissioned or not; text that cannot be a device's name is none."""
    if not DEVICE_NAME.fullmatch(name):
        return None
    row = (
        connection.execute(text(f"SELECT {_COLUMNS} FROM devices WHERE name = :name"), {"name": name})
        .mappings()
        .first()
    )
    return None if row is None else _device(row)


def search_devices(
    connection: Connection,
    *,
    after_name: str = "",
    limit: int,
    words: str = "",
    box: Box | None = None,
    names: Collection[str] | None = None,
    decommissioned: bool | None = None,
) -> list[RegisteredDevice]:
    """Devices by name.

    Args:
        connection: an open connection.
        after_name: only names that sort after it.
        limit: at most so many.
        words: every one of these stands in the name, the display name, the river or the description, in any case.
        box: only devices whose position is known and in it.
        names: only these.
        decommissioned: only such as are, or only such as are not.
    """
    values: dict[str, Any] = {"after": after_name, "limit": limit}
    conditions = ["name > :after"]
    for number, word in enumerate(words.split()):
        conditions.append(f"{_SAID} ILIKE :word{number}")
        values[f"word{number}"] = f"%{_literally(word)}%"
    if box is not None:
        between = "AND" if box.west <= box.east else "OR"
        conditions.append(f"latitude BETWEEN :south AND :north AND (longitude >= :west {between} longitude <= :east)")
        values |= {"west": box.west, "south": box.south, "east": box.east, "north": box.north}
    if names is not None:
        conditions.append("name = ANY(:names)")
        values["names"] = list(names)
    if decommissioned is not None:
        conditions.append(f"decommissioned_at IS {'NOT ' if decommissioned else ''}NULL")
    query = f"SELECT {_COLUMNS} FROM devices WHERE {' AND '.join(conditions)} ORDER BY name LIMIT :limit"
    return [_device(row) for row in connection.execute(text(query), values).mappings()]


def _device(row: Any) -> RegisteredDevice:
    return RegisteredDevice(**{**row, "stages": sound_stages(row["stages"])})


def _literally(word: str) -> str:
    """A word for LIKE, in which nothing stands for anything else."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
