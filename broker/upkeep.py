"""What a namespace does beside its work: let go of what is old, and compact what has ended.

Once a second it looks what there is to do, and does it a little at a time, about a
millisecond, so that nobody notices. Of what has ended a while ago (`Plugin.closing`) the parts
are left out that its end says again, and others are merged: a thousand events are one then,
and who was in the middle of it, and did not come back so long, cannot go on from there. A
stream that is being replayed has time until that is over (`Retained.held`).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import structlog

from broker.clock import CallLater, Clock
from broker.engines.base import Engine
from broker.event import Event
from broker.plugin import Plugin
from broker.retained import Retained
from broker.streams import Stream, Streams

log = structlog.get_logger(__name__)

PERIOD = 1.0
PAUSE = 0.002
"""How long it waits when there was nothing to do, and when there is more, in seconds."""

EVENTS = 256
BYTES = 64 << 10
"""How many events are merged at once, and about how many bytes: no event becomes larger."""

ALL = 1 << 30
LEFT_OUT = 16
"""As many events are left out in the time that it takes to merge one."""


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
        self._compacting: tuple[str, Iterator[int]] | None = None

    def begin(self) -> None:
        """Everything that was stored may be compacted, and let go of."""
        if self._plugin.compact_after is not None:
            keys = self._engine.keys()
            self._closed.extend((0, key) for key in keys)

    def start(self) -> None:
        """Do it from now on."""
        delay = PERIOD
        try:
            delay = PAUSE if self.some() else PERIOD
        finally:
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
                self._compacting = key, self._compact(key, now - after)
            looked_at = self._look_on(*self._compacting)
            if looked_at is None:
                self._compacting = None
            left -= looked_at or 1
        return True

    def _look_on(self, key: str, steps: Iterator[int]) -> int | None:
        """Do a step of a stream's compaction. Returns how many events were looked at; None if it
        is over, or put off."""
        if self._retained.held(key):
            self.closed(key)  # another time
            return None
        try:
            return next(steps, None)
        except Exception:  # the other streams must go on, whatever this is
            log.exception("compaction failed", namespace=self._plugin.namespace, key=key)
            return None

    def _compact(self, key: str, before: int) -> Iterator[int]:
        """Merge a stream's events up to where it is settled: again, while it makes them fewer.

        So what is merged in one go is always little, and what is merged again is much less.
        """
        stream = self._streams.get(key)
        if stream is None:
            return
        first = stream.compacted
        until = min(self._plugin.settled(stream.committed, before), self._engine.last(key))
        if until > first:
            yield from self._leave_out(stream, first, until)
        pieces = 2 if until > first and self._streams.get(key) is stream else 0
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

    def _leave_out(self, stream: Stream, since: int, until: int) -> Iterator[int]:
        """Let go of what the ends of things say again; nobody has to look into it."""
        key, parts = stream.key, self._plugin.parts
        for first, last in list(self._plugin.told(stream.committed, since, until)):
            if self._streams.get(key) is not stream:
                return  # it is forgotten
            read = self._engine.read(key, max(first - 1, self._engine.floor(key)), ALL)
            old = [event for event in read if event.position <= last]
            new = [event for event in old if event.topic not in parts]
            if len(new) < len(old) and not any(e.topic in parts and _must_stay(e) for e in old):
                self._engine.replace(key, old, new)
            yield 1 + len(old) // LEFT_OUT

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


def _must_stay(event: Event) -> bool:
    """Whether it says more than its owner knows, or its name is one that a repeat may have."""
    return event.extended or event.dedupe is not None
