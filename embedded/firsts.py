"""What is made once, at the first start: passwords and the first login."""

import json
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from embedded.errors import CannotStart
from embedded.home import write_private


def _generated() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Generated passwords; each is safe inside a URL."""

    postgres_admin: str = field(default_factory=_generated, repr=False)
    postgres: str = field(default_factory=_generated, repr=False)
    redis: str = field(default_factory=_generated, repr=False)
    broker: str = field(default_factory=_generated, repr=False)
    flower: str = field(default_factory=_generated, repr=False)
    secret_key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    gateway_key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)


_ADDED_LATER = frozenset({"gateway_key"})
"""What a folder of an earlier version does not have yet; it is made when it is missed."""


def load_secrets(path: Path) -> Secrets:
    """Read the passwords of this folder, or make them.

    Raises:
        CannotStart: when the file is damaged. Deleting it alone does not help: the data was made with these passwords.
    """
    if not path.exists():
        made = Secrets()
        write_private(path, json.dumps(asdict(made), indent=1))
        return made
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = [spec.name for spec in fields(Secrets) if spec.name in found or spec.name not in _ADDED_LATER]
        completed = Secrets(**{name: str(found[name]) for name in names})
    except (ValueError, KeyError, TypeError) as error:
        raise CannotStart(
            f"{path} is damaged ({error}). Delete the folder {path.parent} to start anew, without its data"
        ) from error
    if len(names) < len(fields(Secrets)):
        write_private(path, json.dumps(asdict(completed), indent=1))
    return completed


@dataclass(frozen=True)
class Login:
    """A user of the web pages."""

    user: str
    password: str = field(repr=False)


def keep_login(path: Path, output: str) -> Login | None:
    """Keep the login that ``create-admin`` printed, or find the one that an earlier start kept.

    Args:
        path: where it is kept.
        output: what the command printed; a login is a line with a JSON object that has ``user`` and ``password``.
    """
    for made in map(_login_in, output.splitlines()):
        if made is not None:
            write_private(path, json.dumps(asdict(made)) + "\n")
    return _login_in(path.read_text(encoding="utf-8")) if path.exists() else None


def _login_in(line: str) -> Login | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None  # a log line or a warning
    if not isinstance(found, dict) or not {"user", "password"} <= found.keys():
        return None
    return Login(str(found["user"]), str(found["password"]))
