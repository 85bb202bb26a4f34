"""Space that is kept occupied so that it can be given up when the disk is full."""

import errno
import logging
import os
import shutil
from pathlib import Path

log = logging.getLogger("streamgauge.gateway.ballast")


class Ballast:
    """One file of a fixed size, really allocated.

    Args:
        path: where it lies.
        size_bytes: its size; 0: there is none.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def is_laid(self) -> bool:
        """Whether there is something to give up."""
        return self._size_bytes > 0 and self._path.exists()

    def lay(self) -> bool:
        """Occupy the space if it is not occupied and twice as much is free; returns whether it is now."""
        if self.is_laid or not self._size_bytes:
            return self.is_laid
        try:
            if shutil.disk_usage(self._path.parent).free < 2 * self._size_bytes:
                return False
            self._allocate()
        except OSError as error:
            self._path.unlink(missing_ok=True)
            if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                log.warning("no ballast could be laid", extra={"reason": str(error)})
            return False
        return True

    def give_up(self) -> bool:
        """Free the space; returns whether there was any."""
        if not self.is_laid:
            return False
        try:
            self._path.unlink()
        except OSError as error:
            log.warning("the ballast could not be given up", extra={"reason": str(error)})
            return False
        return True

    def _allocate(self) -> None:
        with self._path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self._size_bytes)
            else:
                file.write(b"\0" * self._size_bytes)
