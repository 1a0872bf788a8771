"""Which streams of a namespace have something to say at a certain time, and waking for it."""

import heapq
from collections.abc import Callable

from broker.clock import CallLater, Clock

AT_ONCE = 100
"""How many streams are asked in one go."""


class Deadlines:
    """The next deadline of each stream.

    Args:
        clock: tells the time.
        call_later: runs a function after some seconds.
        due: asks a stream what it has to say now; it sets the next deadline.
    """

    def __init__(
        self, clock: Clock, call_later: CallLater, due: Callable[[str, int], None]
    ) -> None:
        self._clock = clock
        self._call_later = call_later
        self._due = due
        self._next: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._waking = 0  # when the earliest timer that counts fires; 0: there is none

    def __len__(self) -> int:
        return len(self._next)

    def set(self, key: str, at: int) -> None:
        """Ask the stream `key` at `at`, in Unix ms, or earlier if that was said before."""
        known = self._next.get(key)
        if known is not None and known <= at:
            return
        self._next[key] = at
        heapq.heappush(self._heap, (at, key))
        self._wait()

    def _wait(self) -> None:
        at = self._heap[0][0]
        if not self._waking or at < self._waking:
            self._waking = at
            delay = max(0.0, (at - self._clock.unix_ms()) / 1000)
            self._call_later(delay, lambda: self._wake(at))

    def _wake(self, at: int) -> None:
        if self._waking != at:
            return  # an earlier one has come between
        self._waking = 0
        now = self._clock.unix_ms()
        asked = 0
        while self._heap and self._heap[0][0] <= now and asked < AT_ONCE:
            due, key = heapq.heappop(self._heap)
            if self._next.get(key) == due:
                del self._next[key]
                self._due(key, now)
                asked += 1
        if self._heap:
            self._wait()
