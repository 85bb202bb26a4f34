"""Reading a part's settings from the environment, completely, before anything connects."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from streamgauge.errors import SettingsError
from streamgauge.settings.cloud import MigrationSettings, SubscriberSettings, WorkerSettings
from streamgauge.settings.declare import PREFIX
from streamgauge.settings.edge import GatewaySettings, SimulatorSettings
from streamgauge.settings.web import WebSettings

FOREIGN_KEYS = frozenset(
    {"HOME", "HTTP_URL", "FLOWER_URL", "API_TOKEN", "NO_SKIPS", "DEV_PASSWORD", "GATEWAY_UDP", "GATEWAY_URL"}
)
"""Keys with the prefix that are no part's setting: the supervisor, the simulator, tests and compose read them."""
FOREIGN_PREFIXES = ("EMBEDDED_", "TEST_", "BENCH_")

PARTS = (SubscriberSettings, WorkerSettings, WebSettings, MigrationSettings, GatewaySettings, SimulatorSettings)

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class SettingDoc:
    """One row of the settings table in the documentation."""

    key: str
    parts: tuple[str, ...]
    default: str
    doc: str


def load(part: type[Part], environ: Mapping[str, str]) -> Part:
    """Read one part's settings.

    Args:
        part: a settings class of this module.
        environ: normally ``os.environ``; empty values count as absent.

    Raises:
        SettingsError: naming every key that is missing, bad or unknown.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for spec in fields(part):  # type: ignore[arg-type]
        key = PREFIX + spec.metadata["key"]
        try:
            text = _raw_value(key, environ)
            if text is not None:
                values[spec.name] = spec.metadata["parse"](text)
            elif spec.default is MISSING:
                raise ValueError("is required: " + spec.metadata["doc"])
        except ValueError as error:
            problems.append(f"{key} {error}")
    problems.extend(_unknown_keys(environ))
    problems.extend(_contradictions(values))
    if problems:
        raise SettingsError(problems)
    return part(**values)


def document() -> Iterator[SettingDoc]:
    """Every setting once, sorted by key: the source of the settings table in the documentation."""
    rows: dict[str, SettingDoc] = {}
    for part in PARTS:
        name = part.__name__.removesuffix("Settings").lower()
        for spec in fields(part):
            key = PREFIX + spec.metadata["key"]
            parts = (*(rows[key].parts if key in rows else ()), name)
            rows[key] = SettingDoc(key=key, parts=parts, default=_default_text(spec.default), doc=spec.metadata["doc"])
    yield from (rows[key] for key in sorted(rows))


def _default_text(default: Any) -> str:
    if default is MISSING:
        return "required"
    if default is None:
        return "not set"
    if isinstance(default, bool):
        return "1" if default else "0"
    if isinstance(default, datetime):
        return default.isoformat().replace("+00:00", "Z")
    return f"{default:g}" if isinstance(default, float) else str(default)


def _raw_value(key: str, environ: Mapping[str, str]) -> str | None:
    text, file_name = environ.get(key) or None, environ.get(key + "_FILE") or None
    if text is not None and file_name is not None:
        raise ValueError(f"is set together with {key}_FILE: set one of the two")
    if file_name is None:
        return text
    try:
        return Path(file_name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read from the file that {key}_FILE names: {error}") from error


def _unknown_keys(environ: Mapping[str, str]) -> Iterator[str]:
    known = {spec.metadata["key"] for part in PARTS for spec in fields(part)}
    known |= {key + "_FILE" for key in known} | FOREIGN_KEYS
    for key in sorted(environ):
        bare = key.removeprefix(PREFIX)
        if key.startswith(PREFIX) and bare not in known and not bare.startswith(FOREIGN_PREFIXES):
            yield f"{key} is no setting of Streamgauge: remove it or mend its spelling (docs/settings.md lists all)"


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    soft, hard = values.get("task_soft_limit_s", 60), values.get("task_hard_limit_s", 90)
    visibility = values.get("visibility_timeout_s", 300)
    if not soft < hard < visibility:
        yield (
            f"{PREFIX}TASK_SOFT_LIMIT_S ({soft}) must be less than {PREFIX}TASK_HARD_LIMIT_S ({hard}), and that less than "
            f"{PREFIX}VISIBILITY_TIMEOUT_S ({visibility}): otherwise a task that still runs is delivered a second time"
        )
