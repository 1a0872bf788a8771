"""An engine in this process's memory. It commits at once, inside `append`.

What is retained is let go a *segment* at a time, a row of events that came
together: to count each event out singly would cost as much as to store it.
"""

import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from broker.config import History
from broker.engines.base import Batch, Essence, Figures
from broker.engines.log import Log, Numbered, number
from broker.errors import Conflict
from broker.event import Event
from broker.lane import Gone

SEGMENTS = 64
"""In about how many segments a full history is kept."""

SEGMENT_BYTES = 4 << 20
SEGMENT_STREAMS = 1000
"""How many bytes a segment has, at most, and events of how many streams: it goes at once."""


class Segment:
    """Events that came in a row.

    Attributes:
        last: the position of its last event.
        first, newest: their times, in Unix ms.
        bytes: what they counted in the history when they came.
        logs: the streams that they belong to.
    """

    __slots__ = ("bytes", "first", "last", "logs", "newest")

    def __init__(self, last: int, logs: Collection[Log]) -> None:
        self.last = last
        self.logs = logs
        self.first = 0
        self.newest = 0
        self.bytes = 0


class MemoryEngine:
    """Keeps the newest events of a namespace, within its `History`.

    Positions are counted over the whole namespace, so that a stream which was
    forgotten and comes back never repeats one.

    Args:
        cut: is told the key of each stream of which something is let go.

    Attributes:
        segments: what is retained, the oldest first; never empty.
        gone: the position up to which nothing is retained of any stream.
    """

    immediate = True
    full = False
    failure = None
    pending = 0

    def __init__(self, history: History, cut: Callable[[str], None] | None = None) -> None:
        self.epoch = secrets.token_hex(4)
        self.gone = 0
        self._history = history
        self._cut = cut
        self._segment_bytes = min(history.bytes // SEGMENTS, SEGMENT_BYTES)
        self._segment_ms = int(history.age * 1000 / SEGMENTS)
        self._logs: dict[str, Log] = {}
        self.segments: deque[Segment] = deque()
        self._newest: set[Log] = set()  # those of the last segment
        self._bytes = 0
        self._position = 0
        self._forgotten = 0  # the newest position of any stream that has no log any more
        self._begin_segment()
        self._delivered: Callable[[Batch], None]
        self._failed: Callable[[Batch, Exception], None]

    def open(
        self,
        delivered: Callable[[Batch], None],
        failed: Callable[[Batch, Exception], None],
        essence: Essence | None = None,
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
            self.roll(batch.runs[0][0].time)
            self.retain(batch.runs, number(batch.runs, self._position))
        self._delivered(batch)

    def restore(self, fold: Callable[[Sequence[Event]], None]) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def position(self) -> int:
        return self._position

    def figures(self) -> Figures:
        return Figures(sum([log.count for log in self._logs.values()]), self._bytes)

    # ------------------------------------------------------------- what comes

    def roll(self, now: int) -> None:
        """Begin a segment for events of now, if the last one is full."""
        segment = self.segments[-1]
        if segment.logs and (
            segment.bytes > self._segment_bytes
            or now - segment.first > self._segment_ms
            or len(segment.logs) > SEGMENT_STREAMS
        ):
            segment.logs = tuple(segment.logs)  # at which a collection of garbage looks once
            segment = self._begin_segment()
        if not segment.logs:
            segment.first = now
        segment.newest = now

    def _begin_segment(self) -> Segment:
        self._newest = set()
        segment = Segment(self._position, self._newest)
        self.segments.append(segment)
        return segment

    def retain(self, runs: Iterable[Sequence[Event]], numbered: Numbered) -> None:
        """Retain events that have their positions, in the last segment."""
        segment = self.segments[-1]
        logs = self._newest
        most = self._history.events
        for run in runs:
            log = self._logs.get(run[0].key)
            if log is None:
                log = self._logs[run[0].key] = Log(run[0].key, self._forgotten)
            log.append(run)
            logs.add(log)
            if numbered.named:
                log.name(run)
            if log.count > most:
                self._drop(log, log.nth(log.count - most + most // 8 - 1))
        self._position = segment.last = numbered.last
        segment.bytes += numbered.size
        self._bytes += numbered.size
        while self._bytes > self._history.bytes:
            self._drop_segment()

    def begin(self, position: int) -> None:
        """Nothing is retained up to a position, but of streams that are `resume`d; the events
        of those, and what is behind it, are to be given to `retain`."""
        self._forgotten = self.gone = position

    def resume(self, key: str, last: int, floor: int, torn: tuple[int, ...]) -> None:
        """Know a stream again, of which there are no events yet."""
        log = self._logs[key] = Log(key, floor)
        log.last = last
        log.torn = torn

    def go_on(self, position: int) -> None:
        """New events come behind a position."""
        self._position = position

    # ------------------------------------------------------------- what is there

    def log(self, key: str) -> Log:
        """What is retained of a stream, and known of what is not."""
        return self._logs.get(key) or Log(key, self._forgotten)

    def floor(self, key: str) -> int:
        return self.log(key).dropped

    def whole(self, key: str, after: int) -> bool:
        return self.log(key).whole(after)

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        log = self.log(key)
        if not log.readable(after):
            raise Gone(key)
        return log.after(after, limit)

    def keys(self) -> Sequence[str]:
        return [key for key, log in self._logs.items() if log.count]

    def last(self, key: str) -> int:
        log = self._logs.get(key)
        return 0 if log is None else log.last

    def has_name(self, key: str, name: str) -> bool:
        log = self._logs.get(key)
        return log is not None and log.names is not None and name in log.names

    # ------------------------------------------------------------- what goes

    def replace(self, key: str, old: Sequence[Event], new: Sequence[Event]) -> None:
        self._bytes -= self._logs[key].replace(old, new)

    def forget(self, key: str) -> None:
        log = self._logs.pop(key, None)
        if log is not None:
            self._drop(log, log.last)
            self._forgotten = max(self._forgotten, log.last)

    def trim(self, now: int) -> bool:
        oldest = now - int(self._history.age * 1000)
        first = self.segments[0]
        if not first.logs or first.newest >= oldest:
            return False
        self._drop_segment()
        return True

    def _drop_segment(self) -> None:
        """Let the namespace's oldest segment go, but for what has gone already."""
        segment = self.segments.popleft()
        self.gone = max(self.gone, segment.last)
        if not self.segments:
            self._begin_segment()
        for log in segment.logs:
            self._drop(log, segment.last)

    def _drop(self, log: Log, until: int) -> None:
        """Let go of what a stream has up to a position."""
        freed = log.drop(until)
        self._bytes -= freed
        if freed and self._cut is not None:
            self._cut(log.key)
