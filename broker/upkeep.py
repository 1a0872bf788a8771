"""What a namespace does beside its work: let go of what is old, and compact what has ended.

Once a second it looks what there is to do, and does it a little at a time, about a
millisecond, so that nobody notices. What has ended a while ago (`Plugin.closing`) is
merged where it is retained: what was said in a thousand events is one event then, and who
was in the middle of it, and did not come back so long, cannot go on from there.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from broker.clock import CallLater, Clock
from broker.engines.base import Engine
from broker.plugin import Event, Plugin
from broker.retained import Retained
from broker.streams import Streams

PERIOD = 1.0
PAUSE = 0.005
"""How long it waits when there was nothing to do, and when there is more, in seconds."""

EVENTS = 512
BYTES = 64 << 10
"""How many events are merged at once, and about how many bytes: no event becomes larger."""


class Upkeep:
    """See the module's text."""

    def __init__(
        self,
        plugin: Plugin[Any],
        engine: Engine,
        streams: Streams,
        retained: Retained,
        clock: Clock,
        call_later: CallLater,
    ) -> None:
        self._plugin = plugin
        self._engine = engine
        self._streams = streams
        self._retained = retained
        self._clock = clock
        self._call_later = call_later
        self._closed: deque[tuple[int, str]] = deque()  # when, and of which stream
        self._compacting: Iterator[int] | None = None

    def begin(self) -> None:
        """Everything that was stored may be compacted, and let go of."""
        if self._plugin.compact_after is not None:
            keys = self._engine.keys()
            self._closed.extend((0, key) for key in keys)

    def start(self) -> None:
        """Do it from now on."""
        delay = PAUSE if self.some() else PERIOD
        self._call_later(delay, self.start)

    def closed(self, key: str) -> None:
        """Something has ended in a stream."""
        if self._plugin.compact_after is not None:
            self._closed.append((self._clock.unix_ms(), key))

    def some(self) -> bool:
        """Do some of what there is to do. Returns whether there is more."""
        now = self._clock.unix_ms()
        more = self._engine.trim(now)
        return self._compact_some(now) or more

    def _compact_some(self, now: int) -> bool:
        after = self._plugin.compact_after
        if after is None:
            return False
        left = EVENTS
        while left > 0:
            if self._compacting is None:
                if not self._closed or self._closed[0][0] + after > now:
                    return False
                _, key = self._closed.popleft()
                self._compacting = self._compact(key, now - after)
            looked_at = next(self._compacting, None)
            if looked_at is None:
                self._compacting = None
            left -= looked_at or 1
        return True

    def _compact(self, key: str, before: int) -> Iterator[int]:
        """Merge a stream's events up to where it is settled: again, while it makes them fewer.

        So what is merged in one go is always little, and what is merged again is much less.
        """
        stream = self._streams.get(key)
        if stream is None:
            return
        first = stream.compacted
        until = min(self._plugin.settled(stream.committed, before), self._engine.last(key))
        pieces = 2 if until > first else 0
        while pieces > 1:
            position, pieces, merged = first, 0, False
            while old := self._piece(key, position, until):
                new = self._retained.compact(old)
                if len(new) < len(old):
                    self._engine.replace(key, old, new)
                    merged = True
                position = old[-1].position
                pieces += 1
                yield len(old)
                if self._streams.get(key) is not stream:
                    return  # it is forgotten
            if not merged:
                break
        stream.compacted = max(first, until)

    def _piece(self, key: str, after: int, until: int) -> Sequence[Event]:
        """The next events of a stream, as many as are merged at once."""
        size = 0
        events = self._engine.read(key, max(after, self._engine.floor(key)), EVENTS)
        for index, event in enumerate(events):
            if event.position > until:
                return events[:index]
            size += len(event.raw)
            if size > BYTES:
                return events[: index + 1]
        return events
