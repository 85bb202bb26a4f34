"""The folder of a running stack: data, logs, secrets, the lock and the published addresses."""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from embedded.errors import CannotStart

STATE_FORMAT = "{name}={value}\n"


@dataclass(frozen=True)
class Home:
    """Paths below one folder, which nobody else can list.

    The folder has mode 700; 711 where root runs the stack, because Postgres then runs under another account and must be able
    to reach its own data below it. Everything inside is closed to others either way.
    """

    root: Path

    @property
    def logs(self) -> Path:
        """Folder of the parts' output."""
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Held while ``make up`` runs; its text says which process does and where."""
        return self.root / "lock"

    @property
    def urls(self) -> Path:
        """Addresses of what runs, under the settings' names."""
        return self.root / "urls.env"

    @property
    def first_login(self) -> Path:
        """User and password that were made at the first start."""
        return self.root / "first-login"

    @property
    def secrets(self) -> Path:
        """Generated passwords."""
        return self.root / "secrets.json"

    @property
    def gateway(self) -> Path:
        """Folder of the gateway's configuration, buffer and sessions."""
        return self.root / "gateway"

    def create(self) -> None:
        """Make the folders, closed to others.

        Raises:
            CannotStart: when the folder cannot be made or belongs to somebody else.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self.gateway.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise CannotStart(
                f"{self.root} cannot be used: {error}. Set STREAMGAUGE_HOME to a folder of yours"
            ) from error


def write_private(path: Path, text: str) -> None:
    """Replace a file's content at once; only its owner can read it."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def publish(path: Path, values: Mapping[str, str]) -> None:
    """Write ``NAME=value`` lines, to be read by a shell or by ``read_published``."""
    write_private(path, "".join(STATE_FORMAT.format(name=name, value=value) for name, value in values.items()))


def read_published(path: Path) -> dict[str, str]:
    """Read ``NAME=value`` lines back."""
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


class Lock:
    """At most one ``make up`` per folder.

    Raises:
        CannotStart: when another one runs; the message has its process id and address.
    """

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("a+", encoding="utf-8")
        path.chmod(0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = _holder(self._file.read())
            self._file.close()
            raise CannotStart(
                f"Streamgauge already runs here: {holder}. Stop that one first, or set STREAMGAUGE_HOME to another folder"
            ) from None
        self.describe("starting")

    def fileno(self) -> int:
        """The descriptor that holds the lock."""
        return self._file.fileno()

    def describe(self, address: str) -> None:
        """Say for others who holds the lock, and where it can be seen."""
        self._file.truncate(0)
        self._file.write(json.dumps({"pid": os.getpid(), "address": address}))
        self._file.flush()

    def release(self) -> None:
        """Let go."""
        self._file.truncate(0)
        self._file.close()


def _holder(text: str) -> str:
    try:
        found = json.loads(text)
        return f"{found['address']} (process {found['pid']})"
    except (ValueError, KeyError, TypeError):
        return "it is starting or ending just now"
