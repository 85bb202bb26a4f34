"""One table of gateway.toml as its struct, or everything that is wrong with its shape, in words for an installer."""

from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

import msgspec

Table = TypeVar("Table", bound=msgspec.Struct)

_WANTED: Mapping[Any, str] = {
    str: 'a text in quotation marks, such as "weir"',
    float: "a number with a decimal point and without quotation marks, such as 1.5",
    bool: "true or false, without quotation marks",
    dict[str, float]: "numbers by name, without quotation marks, such as { Pmin = 0.0, Pmax = 1.0 }",
    tuple[str, ...]: 'a list of texts, such as ["/usr/local/bin/siren", "on"]',
}


def read_table(item: object, kind: type[Table]) -> tuple[Table | None, list[str]]:
    """The table, or None, and one sentence for each key that is unknown, missing or of the wrong type.

    Args:
        item: what stands in the file.
        kind: what it must be.
    """
    if not isinstance(item, dict):
        return None, ["must be a table of keys and values"]
    fields = msgspec.structs.fields(kind)
    known = {field.encode_name for field in fields}
    faults = [f"{name} is no key here (there are: {', '.join(sorted(known))})" for name in sorted(item.keys() - known)]
    for field in fields:
        name = field.encode_name
        if name not in item:
            faults += [f"{name} is missing: give {_wanted(field.type)}"] if field.required else []
            continue
        try:
            msgspec.convert(item[name], field.type)
        except msgspec.ValidationError:
            # A key that stands in the clear by mistake must not stand in a message too.
            found = "" if name.endswith(("_key", "token_sha256")) else f"is {item[name]!r}, but "
            faults.append(f"{name} {found}must be {_wanted(field.type)}")
    return (None, faults) if faults else (msgspec.convert(item, kind), [])


def _wanted(kind: Any) -> str:
    choices = [choice for choice in get_args(kind) if isinstance(choice, str)]
    if choices and get_origin(kind) is not dict:
        return "one of " + ", ".join(f'"{choice}"' for choice in choices)
    if kind in _WANTED:
        return _WANTED[kind]
    return next((_WANTED[part] for part in get_args(kind) if part in _WANTED), str(kind))
