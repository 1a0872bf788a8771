"""What is known of a durable namespace's file beside it: how far it went, and since when.

SQLite cannot tell that the end of its log is missing, or all of it. So the position that was
stored last is written down here as well: into mapped memory, which costs nothing, and which
the kernel keeps when the process is killed.
"""

import fcntl
import mmap
import os
import struct
from pathlib import Path

_LAST = struct.Struct("<Q")
_BOOT = 64


class InUse(OSError):
    """Another process has it open."""


class Witness:
    """A small file, open and locked.

    Attributes:
        last: the position up to which everything was stored.
        boot: names the time between two starts of the machine in which that was; "" if unknown.

    Raises:
        InUse: another process has it open.
        OSError: it cannot be made, or read.
    """

    def __init__(self, path: Path) -> None:
        size = _LAST.size + _BOOT
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(file)
            found = os.read(file, size)
            if len(found) < size:  # written, so that there is room for it whatever comes
                found = found.ljust(size, b"\0")
                os.pwrite(file, found, 0)
            self._map = mmap.mmap(file, size)
        except BaseException:
            os.close(file)
            raise
        self._file = file
        self.boot = found[_LAST.size :].rstrip(b"\0").decode("ascii", "replace")

    @property
    def last(self) -> int:
        last: int = _LAST.unpack_from(self._map)[0]
        return last

    @last.setter
    def last(self, position: int) -> None:
        _LAST.pack_into(self._map, 0, position)

    def begin(self, last: int, boot: str) -> None:
        """Stand for the file from now on, which goes up to a position."""
        self.last = last
        self.boot = boot
        self._map[_LAST.size :] = boot.encode("ascii").ljust(_BOOT, b"\0")[:_BOOT]

    def close(self) -> None:
        """Let go of it."""
        self._map.close()
        os.close(self._file)


def _lock(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUse("another process has it open") from None
