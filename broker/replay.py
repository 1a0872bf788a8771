"""Subscriptions, and the replay that one may begin with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import UNSET

from broker.codec import Codec
from broker.envelope import Piece
from broker.event import Event
from broker.lane import Source
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
    """What a replay tells: see `contents`."""

    @property
    def covers(self) -> Mapping[str, int]:
        """Of streams that have changed since it began, up to where it has told them."""

    def wait(self, source: Source) -> None:
        """It is going to begin: what it needs has to stay until then."""

    def close(self, source: Source) -> None:
        """It is not told, or not to the end."""

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

    @property
    def covers(self) -> Mapping[str, int]:
        """See `Content`."""
        return self._content.covers

    def wait(self, source: Source) -> None:
        """It is going to begin."""
        self._content.wait(source)

    def close(self, source: Source) -> None:
        """It is not told, or not to the end."""
        self._content.close(source)

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
