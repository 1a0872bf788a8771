"""An engine in this process's memory. It commits at once, inside `append`.

What is retained is let go a *segment* at a time, a row of events that came
together: to count each event out singly would cost as much as to store it.
"""

import secrets
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence

from broker.config import History
from broker.engines.base import Batch
from broker.errors import Conflict
from broker.lane import Gone
from broker.plugin import Event

OVERHEAD = 400
"""What one retained event costs beside its body's bytes, about, in bytes (measured)."""

SEGMENTS = 64
"""In about how many segments a full history is kept."""


class _Log:
    """One stream's retained events.

    Attributes:
        last: the position of its newest event, retained or not.
        dropped: the position of the newest event that was let go.
        early: how many were let go while their segment is still there.
        names: the dedupe names, each with the position of the last event that has it. (Two
            have one where a stream was forgotten, and comes back with what a file has of it.)
    """

    __slots__ = ("dropped", "early", "events", "last", "names")

    def __init__(self, dropped: int) -> None:
        self.events: list[Event] = []
        self.last = 0
        self.dropped = dropped
        self.early = 0
        self.names: dict[str, int] = {}

    def after(self, position: int, limit: int) -> list[Event]:
        first = bisect_right(self.events, position, key=_position)
        return self.events[first : first + limit]

    def drop(self, count: int) -> int:
        """Let the oldest `count` events go. Returns the bytes that they took."""
        gone = self.events[:count]
        del self.events[:count]
        if gone:
            self.dropped = gone[-1].position
        if self.names:
            for event in gone:
                if event.dedupe is not None and self.names.get(event.dedupe) == event.position:
                    del self.names[event.dedupe]
        return sum([len(event.raw) + OVERHEAD for event in gone])


class _Segment:
    """Events that came in a row: how many of each stream, their bytes, from when to when."""

    __slots__ = ("bytes", "counts", "first", "newest")

    def __init__(self) -> None:
        self.counts: dict[_Log, int] = {}
        self.bytes = 0
        self.first = 0
        self.newest = 0


class MemoryEngine:
    """Keeps the newest events of a namespace, within its `History`.

    Positions are counted over the whole namespace, so that a stream which was
    forgotten and comes back never repeats one.
    """

    immediate = True
    full = False
    failure = None
    pending = 0

    def __init__(self, history: History) -> None:
        self.epoch = secrets.token_hex(4)
        self._history = history
        self._segment_bytes = history.bytes // SEGMENTS
        self._segment_ms = int(history.age * 1000 / SEGMENTS)
        self._logs: dict[str, _Log] = {}
        self._segments: deque[_Segment] = deque([_Segment()])
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
        if batch.runs:
            self.store(batch.runs)
        self._delivered(batch)

    def restore(self) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def position(self) -> int:
        return self._position

    def begin(self, position: int) -> None:
        """Go on after a position, up to which nothing is retained; called before `store`."""
        self._position = self._forgotten = position

    def store(self, runs: Sequence[list[Event]]) -> None:
        """Give events the next positions, and retain them."""
        segment = self._segment(runs[0][0].time)
        counts = segment.counts
        size = 0
        position = self._position
        for run in runs:
            log = self._logs.get(run[0].key)
            if log is None:
                log = self._logs[run[0].key] = _Log(self._forgotten)
            for event in run:
                position += 1
                event.position = position
                size += len(event.raw)
                if event.dedupe is not None:
                    log.names[event.dedupe] = position
            size += OVERHEAD * len(run)
            self._position = log.last = position
            log.events += run
            counts[log] = counts.get(log, 0) + len(run)
            if len(log.events) > self._history.events:
                excess = len(log.events) - self._history.events
                self._drop_early(log, excess + self._history.events // 8)
        segment.bytes += size
        self._bytes += size
        while self._bytes > self._history.bytes:
            self._drop_segment()

    def floor(self, key: str) -> int:
        log = self._logs.get(key)
        return self._forgotten if log is None else log.dropped

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        log = self._logs.get(key)
        if after < self.floor(key):
            raise Gone(key)
        return () if log is None else log.after(after, limit)

    def keys(self) -> Sequence[str]:
        return [key for key, log in self._logs.items() if log.events]

    def last(self, key: str) -> int:
        log = self._logs.get(key)
        return 0 if log is None else log.last

    def has_name(self, key: str, name: str) -> bool:
        log = self._logs.get(key)
        return log is not None and name in log.names

    def forget(self, key: str) -> None:
        log = self._logs.pop(key, None)
        if log is not None:
            self._drop_early(log, len(log.events))
            self._forgotten = max(self._forgotten, log.last)

    def trim(self, now: int) -> None:
        oldest = now - int(self._history.age * 1000)
        while self._segments[0].counts and self._segments[0].newest < oldest:
            self._drop_segment()

    def _segment(self, now: int) -> _Segment:
        """The segment that events of now go to."""
        segment = self._segments[-1]
        full = segment.bytes > self._segment_bytes or now - segment.first > self._segment_ms
        if full and segment.counts:
            segment = _Segment()
            self._segments.append(segment)
        if not segment.counts:
            segment.first = now
        segment.newest = now
        return segment

    def _drop_segment(self) -> None:
        """Let the namespace's oldest segment go, but for what has gone already."""
        segment = self._segments.popleft()
        if not self._segments:
            self._segments.append(_Segment())
        for log, count in segment.counts.items():
            gone = min(count, log.early)
            log.early -= gone
            if count > gone:
                self._bytes -= log.drop(count - gone)

    def _drop_early(self, log: _Log, count: int) -> None:
        """Let a stream's oldest events go while other streams have older ones."""
        self._bytes -= log.drop(count)
        log.early += count


def _position(event: Event) -> int:
    return event.position
