"""Subscriptions, and the replay that one may begin with: a snapshot, or the history."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import UNSET

from broker.codec import Codec
from broker.envelope import Piece
from broker.event import Event
from broker.lane import Gone, Source, read_some
from broker.messages import Replayed
from broker.topics import matches


class Subscription:
    """One standing wish of a connection.

    Args:
        id: of the subscribe.
        pattern: a topic or pattern.
        key: of one stream, or None for all.
        namespaces: those that the pattern is about.
        coalesce: whether events may be merged for it.
        rollup: for how many ms events may wait, to be merged with those that follow.
    """

    __slots__ = ("coalesce", "id", "key", "namespaces", "pattern", "rollup")

    def __init__(
        self,
        id: int,
        pattern: str,
        key: str | None,
        namespaces: Sequence[Any],
        *,
        coalesce: bool = True,
        rollup: int = 0,
    ) -> None:
        self.id = id
        self.pattern = pattern
        self.key = key
        self.namespaces = namespaces
        self.coalesce = coalesce
        self.rollup = rollup if coalesce else 0

    def matches(self, event: Event) -> bool:
        return (self.key is None or self.key == event.key) and (
            self.pattern == event.topic or matches(self.pattern, event.topic)
        )


class ReplayEnd:
    """Tells when every namespace of a subscription has been replayed.

    Args:
        sub: the subscription's id.
        parts: how many namespaces are replayed.
    """

    def __init__(self, sub: int, parts: int) -> None:
        self._sub = sub
        self._parts = parts
        self._waiting: list[Callable[[], None]] = []

    def part_done(self, cursor: str | None, go_on: Callable[[], None]) -> Replayed | None:
        """The message that ends the replay, once its last part is through.

        Then each part may `go_on`: until then, live events wait in all of them.
        """
        self._parts -= 1
        self._waiting.append(go_on)
        if self._parts:
            return None
        for each in self._waiting:
            each()
        return Replayed(self._sub, UNSET if cursor is None else cursor)


class Content(Protocol):
    """What a replay tells."""

    def begin(self, source: Source) -> None:
        """Settle what is told: everything up to the source's position now."""

    def take(self, source: Source, codec: Codec, limit: int) -> list[Piece]:
        """About `limit` bytes of it; nothing once all is told.

        Raises:
            Gone: some of it is not retained any more.
        """

    @property
    def left(self) -> bool:
        """Whether something is left to tell."""


class Replay:
    """What one subscription is told of the past, in one namespace.

    It begins when the reader is up to date, and from that position on its
    subscription is live: the two meet without a gap or a repeat.

    Args:
        content: what it tells.
        end: tells that it is through.
        cursor: writes a position, where the subscription is one stream.

    Attributes:
        told: nothing of it is left; it is over when those of other namespaces are, too.
    """

    def __init__(
        self,
        subscription: Subscription,
        content: Content,
        end: ReplayEnd,
        cursor: Callable[[int], str] | None,
    ) -> None:
        self.subscription = subscription
        self._content = content
        self._end = end
        self._cursor = cursor
        self._position: int | None = None
        self.told = False

    @property
    def began(self) -> bool:
        return self._position is not None

    def begin(self, source: Source) -> int:
        """Settle what is told. Returns the position at which live begins."""
        self._content.begin(source)
        self._position = source.position
        return source.position

    def take(
        self, source: Source, codec: Codec, limit: int, over: Callable[[], None]
    ) -> list[Piece]:
        """About `limit` bytes of it; `over` is called when it is over.

        Raises:
            Gone: some of it is not retained any more.
        """
        assert self._position is not None
        pieces = self._content.take(source, codec, limit)
        if not self._content.left:
            self.told = True
            cursor = self._cursor(self._position) if self._cursor else None
            end = self._end.part_done(cursor, over)
            if end is not None:
                pieces.append(Piece(codec.encode(end)))
        return pieces


class Snapshot:
    """The compacted state of the streams that a subscription is about, without cursors.

    Args:
        since: only what has changed after this position; None for what counts now.
    """

    def __init__(self, subscription: Subscription, since: int | None = None) -> None:
        self._wanted = subscription
        self._since = since
        self._left: deque[Event] = deque()

    def begin(self, source: Source) -> None:
        events = source.snapshot(self._wanted.key, self._since)
        self._left = deque(e for e in events if matches(self._wanted.pattern, e.topic))

    def take(self, source: Source, codec: Codec, limit: int) -> list[Piece]:
        pieces: list[Piece] = []
        while self._left and limit > 0:
            data = source.encode((self._left.popleft(),), codec, self._wanted.id, cursors=False)
            pieces.append(Piece(data))
            limit -= len(data)
        return pieces

    @property
    def left(self) -> bool:
        return bool(self._left)


class History:
    """The retained events of the streams that a subscription is about, stream by stream.

    What is more than one read of a stream gives is merged as for a reader that is behind,
    which this is; a few events are told one by one.

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
