"""How a setting is declared, and how its text is read. A reader raises ValueError with what the value must be."""

import re
from collections.abc import Callable
from dataclasses import MISSING, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PREFIX = "STREAMGAUGE_"


def setting(key: str, parse: Callable[[str], Any], doc: str, *, default: Any = MISSING, secret: bool = False) -> Any:
    """A field that is read from ``STREAMGAUGE_<key>``; without a default it is required."""
    metadata = {"key": key, "parse": parse, "doc": doc, "secret": secret}
    if default is MISSING:
        return field(repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number in a range."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """A duration in a range, in seconds."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return value

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text

    return parse


def flag(text: str) -> bool:
    """Yes or no."""
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be 1 or 0 (also true/false, yes/no, on/off)")


def name(text: str) -> str:
    """A name as the wire has it."""
    if not re.fullmatch(r"[A-Za-z0-9._:\-]{1,64}", text):
        raise ValueError("must be 1 to 64 of A–Z a–z 0–9 . _ : -")
    return text


def secret_key(text: str) -> str:
    """A secret that is long enough not to be guessed."""
    if len(text) < 32:
        raise ValueError(
            "must have at least 32 characters (make one: python -c 'import secrets; print(secrets.token_hex(32))')"
        )
    return text


def url(*schemes: str) -> Callable[[str], str]:
    """A URL of one of some schemes that names a host."""

    def parse(text: str) -> str:
        # The message never repeats the value: it holds a password.
        try:
            parts = urlsplit(text)
            _ = parts.port
        except ValueError:
            raise ValueError(f"is not a URL ({schemes[0]}://user:password@host:port…)") from None
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(
                f"must be a URL that begins with {' or '.join(scheme + '://' for scheme in schemes)} and names a host"
            )
        return text

    return parse


def moment(text: str) -> datetime:
    """A moment, as aware UTC."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be an RFC 3339 time, for example 2000-01-01T00:00:00Z") from None
    if value.tzinfo is None:
        raise ValueError("must have an offset, for example 2000-01-01T00:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9999") from None


def path(text: str) -> Path:
    """A file or folder; whether it is there is seen where it is used."""
    return Path(text)
