"""An engine in this process's memory. It commits at once, inside `append`."""

import secrets
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from broker.config import History
from broker.engines.base import Batch
from broker.errors import Conflict
from broker.lane import Gone
from broker.plugin import Event

OVERHEAD = 700
"""What one retained event costs beside its body's bytes, about, in bytes (measured)."""


class _Log:
    """One stream's retained events: those of `events` from `start` on."""

    __slots__ = ("dropped", "events", "last", "names", "owed", "start")

    def __init__(self, dropped: int) -> None:
        self.events: list[Event | None] = []
        self.start = 0
        self.last = 0
        self.dropped = dropped  # the position of the last event that was let go
        self.names: set[str] = set()
        self.owed = 0  # events let go that still stand in the namespace's order

    @property
    def size(self) -> int:
        return len(self.events) - self.start

    def after(self, position: int, limit: int) -> list[Event]:
        first = bisect_right(self.events, position, lo=self.start, key=_position)
        return cast(list[Event], self.events[first : first + limit])

    def pop(self) -> Event:
        event = cast(Event, self.events[self.start])
        self.events[self.start] = None
        self.start += 1
        if self.start > 64 and self.start > len(self.events) // 2:
            del self.events[: self.start]
            self.start = 0
        self.dropped = event.position
        if event.dedupe is not None:
            self.names.discard(event.dedupe)
        return event


class MemoryEngine:
    """Keeps the newest events of a namespace, within its `History`.

    Positions are counted over the whole namespace, so that a stream which was
    forgotten and comes back never repeats one.
    """

    immediate = True

    def __init__(self, history: History) -> None:
        self.epoch = secrets.token_hex(4)
        self._history = history
        self._limit = history.events
        self._logs: dict[str, _Log] = {}
        self._order: deque[_Log] = deque()  # whose event it is, oldest first
        self._owed = 0
        self._bytes = 0
        self._position = 0
        self._forgotten = 0  # the newest position of any stream that has no log any more
        self._delivered: Callable[[Batch], None]
        self._failed: Callable[[Batch, Exception], None]

    def open(
        self, delivered: Callable[[Batch], None], failed: Callable[[Batch, Exception], None]
    ) -> None:
        self._delivered = delivered
        self._failed = failed

    def append(self, batch: Batch) -> None:
        logs = self._logs
        for key, expected in batch.expected.items():
            log = logs.get(key)
            if (0 if log is None else log.last) != expected:
                self._failed(batch, Conflict(f"a stream is not at {expected} any more"))
                return
        for event in batch.events:
            self._store(event)
        while self._bytes > self._history.bytes:
            self._drop_oldest()
        self._delivered(batch)

    def _store(self, event: Event) -> None:
        log = self._logs.get(event.key)
        if log is None:
            log = self._logs[event.key] = _Log(self._forgotten)
        self._position = event.position = log.last = self._position + 1
        log.events.append(event)
        self._order.append(log)
        self._bytes += len(event.raw) + OVERHEAD
        if event.dedupe is not None:
            log.names.add(event.dedupe)
        if log.size > self._limit:
            self._drop_early(log)

    def floor(self, key: str) -> int:
        log = self._logs.get(key)
        return self._forgotten if log is None else log.dropped

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        log = self._logs.get(key)
        if after < self.floor(key):
            raise Gone(key)
        return () if log is None else log.after(after, limit)

    def last(self, key: str) -> int:
        log = self._logs.get(key)
        return 0 if log is None else log.last

    def has_name(self, key: str, name: str) -> bool:
        log = self._logs.get(key)
        return log is not None and name in log.names

    def forget(self, key: str) -> None:
        log = self._logs.pop(key, None)
        if log is not None:
            while log.size:
                self._drop_early(log)
            self._forgotten = max(self._forgotten, log.last)

    def trim(self, now: int) -> None:
        oldest = now - int(self._history.age * 1000)
        while self._order:
            log = self._order[0]
            if not log.owed and cast(Event, log.events[log.start]).time >= oldest:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Let the namespace's oldest event go, or note that it has gone already."""
        log = self._order.popleft()
        if log.owed:
            log.owed -= 1
            self._owed -= 1
        else:
            self._bytes -= len(log.pop().raw) + OVERHEAD

    def _drop_early(self, log: _Log) -> None:
        """Let a stream's oldest event go while other streams have older ones."""
        self._bytes -= len(log.pop().raw) + OVERHEAD
        log.owed += 1
        self._owed += 1
        if self._owed > 1024 and self._owed > len(self._order) // 2:
            self._settle()

    def _settle(self) -> None:
        """Take out of the order what has gone: of each stream, its oldest."""
        kept: deque[_Log] = deque()
        for log in self._order:
            if log.owed:
                log.owed -= 1
            else:
                kept.append(log)
        self._order = kept
        self._owed = 0


def _position(event: Event | None) -> int:
    return cast(Event, event).position
