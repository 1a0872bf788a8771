"""Time, as the broker asks for it. Tests bring a clock of their own."""

import time
from collections.abc import Callable
from typing import Protocol

CallLater = Callable[[float, Callable[[], None]], object]
"""Runs a function after some seconds; a loop's `call_later`."""


class Clock(Protocol):
    """Two times: one to stamp events with, one to measure with."""

    def unix_ms(self) -> int:
        """The time of day, in Unix milliseconds. Never goes back either, nor jumps ahead:
        deadlines are told in it."""

    def seconds(self) -> float:
        """Seconds since some moment; never goes back."""


class SystemClock:
    """The machine's own time: of day when it started, and from then on by the steady clock.

    So a jump of the time of day, when a machine is suspended or somebody sets its clock,
    ends no turn. The price is that it follows no correction either.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.perf_counter()

    def unix_ms(self) -> int:
        return int((self._offset + time.perf_counter()) * 1000)

    seconds = staticmethod(time.perf_counter)
