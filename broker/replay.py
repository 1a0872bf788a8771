"""Subscriptions, and the replay that one may begin with."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET

from broker.codec import Codec
from broker.envelope import Piece
from broker.lane import Source
from broker.messages import Replayed
from broker.plugin import Event
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

    def part_done(self, cursor: str | None) -> Replayed | None:
        """The message that ends the replay, once its last part is through."""
        self._parts -= 1
        if self._parts:
            return None
        return Replayed(self._sub, UNSET if cursor is None else cursor)


class Replay:
    """A snapshot for one subscription, in one namespace.

    It begins when the reader is up to date, and from that position on its
    subscription is live: the two meet without a gap or a repeat.

    Args:
        cursor: writes a position, where the subscription is one stream.
    """

    def __init__(
        self, subscription: Subscription, end: ReplayEnd, cursor: Callable[[int], str] | None
    ) -> None:
        self.subscription = subscription
        self._end = end
        self._cursor = cursor
        self._position = 0
        self._left: deque[Event] | None = None

    @property
    def began(self) -> bool:
        return self._left is not None

    def begin(self, source: Source) -> int:
        """Take the snapshot. Returns the position at which live begins."""
        wanted = self.subscription
        events = source.snapshot(wanted.key)
        self._left = deque(e for e in events if matches(wanted.pattern, e.topic))
        self._position = source.position
        return self._position

    def take(self, source: Source, codec: Codec, limit: int) -> tuple[list[Piece], bool]:
        """About `limit` bytes of it, and whether that was the end."""
        pieces: list[Piece] = []
        while self._left and limit > 0:
            event = self._left.popleft()
            pieces.append(Piece(source.encode((event,), codec, self.subscription.id)))
            limit -= len(pieces[-1].data)
        if self._left:
            return pieces, False
        end = self._end.part_done(self._cursor(self._position) if self._cursor else None)
        if end is not None:
            pieces.append(Piece(codec.encode(end)))
        return pieces, True
