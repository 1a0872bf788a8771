"""A connection's places in the streams of one namespace, while it is not up to date.

A reader that keeps up is handed every event as it comes. One that is behind, or
waits for a replay, holds no events but a position for each stream that has
something for it, and reads on from there as its socket drains: a thousand
stalled readers cost a thousand positions. What it reads is merged by the
events' owner, so that it catches up in fewer and larger events, and loses none.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from broker.codec import Codec
from broker.plugin import Event

READ_EVENTS = 512
"""How many events one stream gives before the next stream has its turn."""


class Source(Protocol):
    """The retained events of one namespace, as a reader of them needs them."""

    @property
    def position(self) -> int:
        """The position of the last event that was delivered."""

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        """Up to `limit` delivered events of a stream, after a position.

        Raises:
            Gone: some of them are not retained any more.
        """

    def snapshot(self, key: str | None) -> Sequence[Event]:
        """The compacted state of one stream, or (None) of all of them."""

    def merge(self, run: Sequence[Event]) -> Sequence[Event]:
        """Neighbours of one stream, with those joined that lose nothing by it."""

    def encode(self, event: Event, codec: Codec, sub: int | None = None) -> bytes:
        """The event as it goes to a client; with `sub`, as a part of that replay."""


class Gone(Exception):
    """A reader asked for events that are not retained any more."""


class Lanes:
    """The streams of one namespace in which one reader is not up to date.

    Args:
        source: where the events are.
        codec: the reader's encoding.
        wants: whether the reader's subscriptions match an event.
    """

    __slots__ = ("_codec", "_positions", "_source", "_wants")

    def __init__(self, source: Source, codec: Codec, wants: Callable[[Event], bool]) -> None:
        self._source = source
        self._codec = codec
        self._wants = wants
        self._positions: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def note(self, event: Event) -> None:
        """Remember that there is something from `event` on in its stream."""
        self._positions.setdefault(event.key, event.position - 1)

    def take(self, limit: int, *, merge: bool) -> list[bytes]:
        """About `limit` bytes of encoded events, each stream in its turn, and move on.

        Raises:
            Gone: the reader is so far behind that events it needs were let go.
        """
        items: list[bytes] = []
        room = limit
        while room > 0 and self._positions:
            key = next(iter(self._positions))
            after = self._positions.pop(key)
            read = self._source.read(key, after, READ_EVENTS)
            wanted: Sequence[Event] = [event for event in read if self._wants(event)]
            if merge and len(wanted) > 1:
                wanted = self._source.merge(wanted)
            reached = read[-1].position if len(read) == READ_EVENTS else None
            for index, event in enumerate(wanted):
                items.append(self._source.encode(event, self._codec))
                room -= len(items[-1])
                if room <= 0 and index + 1 < len(wanted):
                    reached = event.position
                    break
            if reached is not None:
                self._positions[key] = reached  # at the end: the others come first
        return items
