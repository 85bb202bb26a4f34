"""What schemathesis loads for ``fuzz_api``: two paths of three lead to something that there is."""

from typing import Any
from zlib import crc32

import schemathesis

KNOWN: dict[str, tuple[Any, ...]] = {"device": ("mill", "weir"), "alert_id": (1, 2, 3, 4), "run_id": (1, 2)}


@schemathesis.hook
def map_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Replace a made-up name or number, by what it is, so that the same seed gives the same requests."""
    if not path_parameters:
        return path_parameters
    return {name: _known(name, value) for name, value in path_parameters.items()}


def _known(name: str, value: Any) -> Any:
    there = KNOWN.get(name, ())
    number = crc32(repr(value).encode("utf-8", "replace"))
    return there[number % len(there)] if there and number % 3 else value
