"""``python -m stress.jumpy``: edgestream, with a wall clock that somebody else moves.

Whatever asks Python for the time of day gets the machine's, and as many seconds more as the
file that ``STRESS_CLOCK`` names says: a double, to be written at any moment.
"""

import mmap
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

AHEAD = struct.Struct("d")


class WallClock:
    """Moves the clock of processes that were started with its `environ`."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(AHEAD.pack(0.0))
        self._shared = _shared(str(file), mmap.ACCESS_WRITE)
        self.environ = {"STRESS_CLOCK": str(file)}
        self.ahead = 0.0

    def jump(self, seconds: float) -> None:
        """Forward, or back."""
        self.ahead += seconds
        AHEAD.pack_into(self._shared, 0, self.ahead)


def _shared(file: str, access: int) -> mmap.mmap:
    descriptor = os.open(file, os.O_RDWR)
    try:
        return mmap.mmap(descriptor, AHEAD.size, access=access)
    finally:
        os.close(descriptor)


def _move() -> None:
    """From now on, in this process, the time of day is that of the file."""
    shared = _shared(os.environ["STRESS_CLOCK"], mmap.ACCESS_READ)
    real: Callable[[], float] = time.time

    def moved() -> float:
        ahead: float = AHEAD.unpack_from(shared)[0]
        return real() + ahead

    time.time = moved
    time.time_ns = lambda: int(moved() * 1e9)


if __name__ == "__main__":
    _move()  # before anybody takes `time.time` away
    from broker.cli import main

    sys.exit(main())
