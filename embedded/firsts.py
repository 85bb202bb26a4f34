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
        return Secrets(**{spec.name: str(found[spec.name]) for spec in fields(Secrets)})
    except (ValueError, KeyError, TypeError) as error:
        raise CannotStart(
            f"{path} is damaged ({error}). Delete the folder {path.parent} to start anew, without its data"
        ) from error


@dataclass(frozen=True)
class Login:
    """A user of the web pages."""

    user: str
    password: str = field(repr=False)


def keep_login(path: Path, output: str) -> Login | None:
    """Keep the login that ``create-admin`` printed, or find the one that an earlier start kept.

    Args:
        path: where it is kept.
        output: what the command printed: a JSON object on its last line, or nothing when there are users already.
    """
    lines = [line for line in output.splitlines() if line.strip()]
    if lines:
        made = json.loads(lines[-1])
        write_private(path, json.dumps({"user": made["user"], "password": made["password"]}) + "\n")
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    return Login(kept["user"], kept["password"])
