"""What can be wrong with the buffer's file, and how SQLite says it (https://sqlite.org/rescode.html)."""

import sqlite3

from streamgauge.errors import PermanentError, TransientError

_DAMAGED = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_SCHEMA,
}
_DAMAGED_EXTENDED = {
    # What the disk cannot give back is treated as what it gives back wrong: the rest is salvaged.
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
    # Our statements are always the same: if they do not fit the tables, these are not what we made. Likewise numbers
    # that were never used and are there nevertheless.
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
}
_NO_SPACE_EXTENDED = {
    # SQLite calls only ENOSPC "full"; a quota (EDQUOT) or a limit on file size (EFBIG) is a failed write to it.
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}


DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What calls of sqlite3 raise. SQLite quotes a damaged schema in its message, and sqlite3 may fail to decode that."""


class BufferUnwritable(TransientError):
    """The buffer cannot be written or opened just now; nothing of what was asked for is in it."""


class BufferFull(BufferUnwritable):
    """There is no space left, neither on the disk nor by giving readings up.

    Attributes:
        is_disk: it came when the log was written: it is the disk, not the file's own bound.
    """

    is_disk = False


class BufferInUse(TransientError):
    """Another process holds this buffer."""


class BufferTooNew(PermanentError):
    """The file was written by a newer program, which alone may read it."""


class ParcelTooLarge(PermanentError):
    """What must be committed together does not fit into the buffer even when it is empty."""


class FileDamaged(TransientError):
    """The file holds something else than what was written: it is to be set aside and its rows salvaged."""


def fault_of(error: Exception) -> BufferUnwritable | FileDamaged:
    """What one of ``DATABASE_ERRORS`` means for the buffer."""
    if isinstance(error, UnicodeDecodeError):
        return FileDamaged(f"text that is no text: {error}")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code & 0xFF in _DAMAGED or code in _DAMAGED_EXTENDED:
        return FileDamaged(f"{name}: {error}")
    if code & 0xFF == sqlite3.SQLITE_FULL or code in _NO_SPACE_EXTENDED:
        return BufferFull(f"the buffer cannot be written ({name}: {error}); is its disk full?")
    return BufferUnwritable(
        f"the buffer cannot be used ({name}: {error}); check its disk and the permissions of its folder"
    )
