"""What is due at a certain time, and waking for it."""

import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, TypeVar

from broker.clock import CallLater, Clock

T = TypeVar("T")

AT_ONCE = 100
"""How many things that are due have their turn in one go."""


class Deadlines:
    """The next deadline of each stream, at which it may have something to say.

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
        try:
            while self._heap and self._heap[0][0] <= now and asked < AT_ONCE:
                due, key = heapq.heappop(self._heap)
                if self._next.get(key) == due:
                    del self._next[key]
                    self._due(key, now)
                    asked += 1
        finally:
            if self._heap:
                self._wait()


class Timeouts(Generic[T]):
    """Things that are all due the same time after they were added.

    Args:
        clock, call_later: as above.
        after: that time, in ms.
        due: called with each whose time has come; it is not among them any more.
    """

    def __init__(
        self, clock: Clock, call_later: CallLater, after: int, due: Callable[[T], None]
    ) -> None:
        self._clock = clock
        self._call_later = call_later
        self._after = after
        self._due = due
        self._times: dict[T, int] = {}  # in the order in which they are due
        self._waking = False

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[T]:
        return iter(self._times)

    def add(self, thing: T) -> None:
        """Let the time of `thing` begin, or begin anew."""
        self._times.pop(thing, None)
        self._times[thing] = self._clock.unix_ms() + self._after
        self._wait()

    def discard(self, thing: T) -> None:
        """Forget `thing`, if it is there."""
        self._times.pop(thing, None)

    def _wait(self) -> None:
        if self._times and not self._waking:
            self._waking = True
            first = next(iter(self._times.values()))
            delay = max(0.0, (first - self._clock.unix_ms()) / 1000)
            self._call_later(delay, self._wake)

    def _wake(self) -> None:
        self._waking = False
        now = self._clock.unix_ms()
        try:
            for thing, at in list(islice(self._times.items(), AT_ONCE)):
                if at > now:
                    break
                if self._times.get(thing) == at:  # one before it may have ended it
                    del self._times[thing]
                    self._due(thing)
        finally:
            self._wait()
