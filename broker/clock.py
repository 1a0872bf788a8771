"""Time, as the broker asks for it. Tests bring a clock of their own."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two times: one to stamp events with, one to measure with."""

    def unix_ms(self) -> int:
        """The time of day, in Unix milliseconds."""

    def seconds(self) -> float:
        """Seconds since some moment; never goes back."""


class SystemClock:
    """The machine's own time."""

    def unix_ms(self) -> int:
        return int(time.time() * 1000)

    seconds = staticmethod(time.perf_counter)
