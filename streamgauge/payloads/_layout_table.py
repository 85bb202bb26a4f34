"""Reading TOML tables so that everything that is wrong is told at once, with its place and what to do."""

import math
import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MAX_NAME = 64


class Table:
    """One TOML table while it is read: what was asked for, what is wrong, and where.

    Args:
        content: the table.
        place: where it stands, such as ``frames[2].fields[1]``; empty for the file itself.
        problems: where the sentences go, which all of a file's tables share.
    """

    def __init__(self, content: Mapping[str, Any], place: str, problems: list[str]) -> None:
        self.content = content
        self.place = place
        self.problems = problems
        self._asked: set[str] = set()

    def wrong(self, key: str, what: str) -> None:
        """Note what is wrong with a key and what to do."""
        place = f"{self.place}.{key}" if self.place and key else self.place or key
        self.problems.append(f"{place}: {what}")

    def text(self, key: str, *, required: bool = False) -> str | None:
        """A text that is not empty."""
        value = self._get(key, required=required, wanted="a text")
        if value is None:
            return None
        if isinstance(value, str) and value.strip():
            return value
        self.wrong(key, f"is {value!r}, but must be a text that is not empty")
        return None

    def name(self, key: str) -> str | None:
        """A name in lower case, digits and single underscores; required."""
        value = self.text(key, required=True)
        if value is None or (_NAME.fullmatch(value) and len(value) <= _MAX_NAME):
            return value
        self.wrong(key, f"is {value!r}, but must be at most {_MAX_NAME} of a-z, 0-9 and single underscores")
        return None

    def flag(self, key: str) -> bool:
        """True or false; false if it is not there."""
        value = self._get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.wrong(key, f"is {value!r}, but must be true or false")
        return False

    def whole(self, key: str, low: int, high: int, *, required: bool = False) -> int | None:
        """A whole number within bounds."""
        value = self._get(key, required=required, wanted=f"a whole number from {low} to {high}")
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.wrong(key, f"is {value!r}, but must be a whole number from {low} to {high}")
        return None

    def number(self, key: str, default: float) -> float:
        """A finite number."""
        value = self._get(key)
        if value is None:
            return default
        found = _finite(value)
        if found is None:
            self.wrong(key, f"is {value!r}, but must be a finite number")
        return default if found is None else found

    def numbers(self, key: str, count: int | None = None) -> tuple[float, ...] | None:
        """A list of finite numbers, of a given length if ``count`` says so."""
        value = self._get(key)
        if value is None:
            return None
        found = [_finite(item) for item in value] if isinstance(value, list) else []
        if not isinstance(value, list) or None in found or (count is not None and len(found) != count):
            wanted = "finite numbers" if count is None else f"{count} finite numbers"
            self.wrong(key, f"is {value!r}, but must be a list of {wanted}")
            return None
        return tuple(item for item in found if item is not None)

    def tables(self, key: str, *, required: bool = False) -> list["Table"]:
        """The tables of an array of tables; one table alone counts as an array of one."""
        value = self._get(key, required=required, wanted=f"one or more [[{key}]] tables")
        items = [value] if isinstance(value, dict) else value
        if items is None:
            return []
        if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
            self.wrong(key, f"must be one or more tables: write [[{key}]]")
            return []
        prefix = f"{self.place}.{key}" if self.place else key
        return [Table(item, f"{prefix}[{number}]{_named(item)}", self.problems) for number, item in enumerate(items, 1)]

    def table(self, key: str) -> "Table | None":
        """The one table under a key; required."""
        value = self._get(key, required=True, wanted=f"a [{key}] table")
        if value is None or isinstance(value, dict):
            return None if value is None else Table(value, f"{self.place}.{key}" if self.place else key, self.problems)
        self.wrong(key, f"must be one table: write [{key}]")
        return None

    def refuse_others(self) -> None:
        """Note every key that nothing asked for."""
        for key in self.content:
            if key not in self._asked:
                self.wrong(
                    str(key), f"is no key here (there are: {', '.join(sorted(self._asked))}); remove or correct it"
                )

    def _get(self, key: str, *, required: bool = False, wanted: str = "") -> Any:
        self._asked.add(key)
        value = self.content.get(key)
        if value is None and required:
            self.wrong(key, f"is missing: give {wanted}")
        return value


def _named(item: Mapping[str, Any]) -> str:
    name = item.get("name")
    return f" ({name})" if isinstance(name, str) and len(name) <= _MAX_NAME else ""


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
