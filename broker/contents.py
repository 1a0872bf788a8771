"""What a replay tells: a snapshot, or the history. Each a little at a time."""

from collections import deque
from collections.abc import Mapping, Sequence

from broker.codec import Codec
from broker.envelope import Piece
from broker.event import Event
from broker.lane import Gone, Source, read_some
from broker.replay import Subscription
from broker.topics import matches


class Snapshot:
    """The compacted state of the streams that a subscription is about, without cursors.

    One stream after the other: each as it is when its turn comes. What of it is said between
    the beginning and then is a part of that (`covers`), and is not told again.

    Args:
        since: only what has changed after this position; None for what counts now.
    """

    def __init__(self, subscription: Subscription, since: int | None = None) -> None:
        self._covers: dict[str, int] = {}
        self._wanted = subscription
        self._since = since
        self._begun = 0
        self._streams: deque[str] = deque()
        self._left: deque[Event] = deque()

    @property
    def covers(self) -> Mapping[str, int]:
        return self._covers

    def wait(self, source: Source) -> None:
        pass  # a state is always there

    def close(self, source: Source) -> None:
        pass

    def begin(self, source: Source) -> None:
        self._begun = source.position
        if self._wanted.key is None:
            self._streams.extend(source.streams())
        else:
            self._look_at(source, self._wanted.key)  # now: its cursor is of now

    def take(self, source: Source, codec: Codec, limit: int) -> list[Piece]:
        pieces: list[Piece] = []
        while limit > 0 and self._has_next(source):
            data = source.encode((self._left.popleft(),), codec, self._wanted.id, cursors=False)
            pieces.append(Piece(data))
            limit -= len(data)
        return pieces

    def _has_next(self, source: Source) -> bool:
        while not self._left and self._streams and source.may_read:
            self._look_at(source, self._streams.popleft())
        return bool(self._left)

    def _look_at(self, source: Source, key: str) -> None:
        events = source.snapshot(key, self._since)
        self._left.extend(e for e in events if matches(self._wanted.pattern, e.topic))
        if source.last(key) > self._begun:
            self._covers[key] = source.position

    @property
    def left(self) -> bool:
        return bool(self._left or self._streams)


class History:
    """The retained events of the streams that a subscription is about, stream by stream.

    What is more than one read of a stream gives is merged as for a reader that is behind,
    which this is; a few events are told one by one. A stream stays as it is while it is told.

    Args:
        after: those after this position, of one stream; None for all that are retained.
    """

    def __init__(self, subscription: Subscription, after: int | None = None) -> None:
        self._wanted = subscription
        self._after = after
        self._until = 0
        self._streams: deque[tuple[str, int]] = deque()  # and after which position
        self._begun: str | None = None  # the stream of which something has been told
        self._merging: str | None = None  # the stream of which there is more than one read
        self._held: tuple[str, float] | None = None  # the stream that it is inside of, since when

    @property
    def covers(self) -> Mapping[str, int]:
        return {}  # it tells nothing from behind its beginning

    def wait(self, source: Source) -> None:
        if self._wanted.key is not None and self._after is not None:
            self._hold(source, self._wanted.key)

    def close(self, source: Source) -> None:
        self._hold(source, None)

    def _hold(self, source: Source, key: str | None) -> None:
        """Be inside one stream, or none, and no other any more."""
        held = self._held
        if held is not None and held[0] != key:
            self._held = None
            source.release(*held)
            held = None
        if key is not None and held is None:
            self._held = key, source.hold(key)

    def begin(self, source: Source) -> None:
        self._until = source.position
        key = self._wanted.key
        if key is not None and self._after is not None:
            self._streams.append((key, self._after))
        else:
            keys = source.keys() if key is None else [key]
            self._streams.extend((each, source.floor(each)) for each in keys)

    def take(self, source: Source, codec: Codec, limit: int) -> list[Piece]:
        pieces: list[Piece] = []
        while self._streams and limit > 0 and source.may_read:
            key, after = self._streams.popleft()
            events, reached = self._read(source, key, after)
            self._begun = key
            for index, event in enumerate(events):
                data = source.encode((event,), codec, self._wanted.id)
                pieces.append(Piece(data))
                limit -= len(data)
                if limit <= 0 and index + 1 < len(events):
                    reached = event.position
                    break
            self._hold(source, None if reached is None else key)
            if reached is not None:
                self._streams.appendleft((key, reached))
        return pieces

    def _read(self, source: Source, key: str, after: int) -> tuple[Sequence[Event], int | None]:
        """What comes next in a stream, and how far that is, if there may be more."""
        try:
            read, reached = read_some(source, key, after)
        except Gone:
            if self._after is not None or self._begun == key:
                raise
            read, reached = read_some(source, key, source.floor(key))
        if read and read[-1].position > self._until:
            reached = None
        until, pattern = self._until, self._wanted.pattern
        events = [e for e in read if e.position <= until and matches(pattern, e.topic)]
        if reached is not None:
            self._merging = key
        if self._merging == key and self._wanted.coalesce and len(events) > 1:
            return source.merge(events), reached
        return events, reached

    @property
    def left(self) -> bool:
        return bool(self._streams)
