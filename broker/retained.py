"""What a namespace retains, as its readers see it: see `lane.Source`."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from msgspec import Raw

from broker.codec import Codec
from broker.engines.base import Engine
from broker.envelope import encode
from broker.event import Event
from broker.lane import READ_EVENTS
from broker.plugin import Plugin
from broker.streams import Streams

READ_COST = 16
READ_BYTES_EACH = 128
"""How many events a read of some stream counts for, beside those that it gives; and for how
many bytes of a snapshot there is one more."""

HOLD = 60.0
"""How long a stream stays as it is for a reader that is in the middle of it, in seconds."""


class Retained:
    """The delivered events of one namespace, and the state that they amount to.

    Args:
        seconds: a clock's.
        weight: its share, when several namespaces have readers that are behind.

    Attributes:
        position: that of the last event that was delivered.
    """

    def __init__(
        self,
        plugin: Plugin[Any],
        engine: Engine,
        streams: Streams,
        seconds: Callable[[], float],
        weight: int = 1,
    ) -> None:
        self.position = 0
        self._share = READ_EVENTS * weight
        self._read = 0
        self._plugin = plugin
        self._engine = engine
        self._streams = streams
        self._seconds = seconds
        self._held: dict[str, list[float]] = {}  # since when, the earliest first

    @property
    def latest(self) -> bool:
        return self._plugin.latest

    def begin_turn(self) -> None:
        """A turn of the loop begins: so much may be read in it again."""
        self._read = 0

    @property
    def may_read(self) -> bool:
        return self._read < self._share

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        events = self._engine.read(key, after, limit)
        self._read += len(events) + READ_COST
        return events

    def floor(self, key: str) -> int:
        return self._engine.floor(key)

    def keys(self) -> Sequence[str]:
        return self._engine.keys()

    def streams(self) -> Sequence[str]:
        return [stream.key for stream in self._streams]

    def last(self, key: str) -> int:
        return self._engine.last(key)

    def hold(self, key: str) -> float:
        now = self._seconds()
        self._held.setdefault(key, []).append(now)
        return now

    def release(self, key: str, since: float) -> None:
        times = self._held[key]
        times.remove(since)
        if not times:
            del self._held[key]

    def held(self, key: str) -> bool:
        """Whether some replay is inside a stream, and has not been for too long."""
        times = self._held.get(key)
        return times is not None and times[-1] > self._seconds() - HOLD

    def snapshot(self, key: str, since: int | None) -> Sequence[Event]:
        stream = self._streams.get(key)
        told = [] if stream is None else list(self._plugin.snapshot(stream.committed, since))
        self._read += READ_COST + sum([len(event.raw) for event in told]) // READ_BYTES_EACH
        return told

    def merge(self, run: Sequence[Event]) -> Sequence[Event]:
        self._decode(run)
        merged = self._plugin.merge(run)
        for event in run:
            event.body = None
        return merged

    def compact(self, run: Sequence[Event]) -> Sequence[Event]:
        """The same, to be retained. What has a dedupe name stays what it is."""
        compacted: list[Event] = []
        for named, group in groupby(run, lambda event: event.dedupe is not None):
            events = list(group)
            if not named:
                self._decode(events)
                events = list(self._plugin.merge(events))
            compacted += events
        for event in run:
            event.body = None
        for event in compacted:
            if event.body is not None:  # it is a new one
                event.body = None
                event.raw = Raw(bytes(memoryview(event.raw)))  # the encoder's has room to spare
        return compacted

    def _decode(self, run: Sequence[Event]) -> None:
        for event in run:
            if event.body is None:
                self._streams.decode(event)

    def encode(
        self,
        events: Sequence[Event],
        codec: Codec,
        sub: int | None = None,
        *,
        cursors: bool = True,
    ) -> bytes:
        return encode(events, codec, self._engine.epoch, sub, cursors=cursors)

    def cursor(self, position: int) -> str:
        """A position as clients see it."""
        return f"{self._engine.epoch}.{position}"

    def resume(self, key: str, cursor: str) -> tuple[int, bool]:
        """A cursor's position in a stream, and whether one can go on from there.

        One that is not of this numbering counts as before the first retained event.
        """
        epoch, _, number = cursor.rpartition(".")
        if epoch != self._engine.epoch or not (number.isascii() and number.isdigit()):
            return 0, False
        position = int(number[:20])
        if position > self.position:
            return 0, False
        return position, self._engine.whole(key, position)
