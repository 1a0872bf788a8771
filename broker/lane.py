"""A connection's places in the streams of one namespace, while it is not up to date.

A reader that keeps up is handed every event as it comes. One that is behind, or
waits for a replay, holds no events but a position for each stream that has
something for it, and reads on from there as its socket drains: a thousand
stalled readers cost a thousand positions. What it reads is merged by the
events' owner, so that it catches up in fewer and larger events, and loses none.

Where the owner says that only the latest counts, a reader that is behind gets
that, and is told how many were left out (`Latest`).
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from msgspec import UNSET, Struct

from broker.codec import Codec
from broker.envelope import Piece
from broker.event import Event
from broker.messages import Dropped

READ_EVENTS = 512
READ_BYTES = 16 << 10
"""How many events one stream gives before the next has its turn, and about how many bytes.
All readers of a namespace together get about as many in one turn of the loop (`may_read`)."""


class Source(Protocol):
    """The retained events of one namespace, as a reader of them needs them."""

    @property
    def position(self) -> int:
        """The position of the last event that was delivered."""

    @property
    def latest(self) -> bool:
        """Whether a reader that is behind gets the latest of each topic and key alone."""

    @property
    def may_read(self) -> bool:
        """Whether something may still be read in this turn of the loop: however many readers
        are behind, and however far, it is not theirs alone."""

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        """Up to `limit` delivered events of a stream, after a position.

        Raises:
            Gone: some of them are not retained any more.
        """

    def floor(self, key: str) -> int:
        """The position after which everything of a stream is retained."""

    def keys(self) -> Sequence[str]:
        """The streams of which something is retained."""

    def streams(self) -> Sequence[str]:
        """The streams that have a state."""

    def last(self, key: str) -> int:
        """The position of a stream's last event; 0 where there is none."""

    def snapshot(self, key: str, since: int | None) -> Sequence[Event]:
        """The compacted state of a stream; with `since`, only what has changed after that
        position."""

    def hold(self, key: str) -> float:
        """A replay is inside a stream, which stays as it is for a while: see `release`."""

    def release(self, key: str, since: float) -> None:
        """Undo one `hold`, of which this is the answer."""

    def merge(self, run: Sequence[Event]) -> Sequence[Event]:
        """Neighbours of one stream, with those joined that lose nothing by it."""

    def encode(
        self,
        events: Sequence[Event],
        codec: Codec,
        sub: int | None = None,
        *,
        cursors: bool = True,
    ) -> bytes:
        """Events as they go to a client; with `sub`, as a part of that replay."""


class Wanted(Protocol):
    """A reader's subscriptions, which may change meanwhile.

    Attributes:
        strict: how many of them refuse merging.
    """

    strict: int

    def want(self, event: Event) -> bool:
        """Whether one of them is for this event."""

    def told(self, key: str) -> int:
        """The position up to which none of them wants anything more of a stream."""

    def forbid_merging(self, event: Event) -> bool:
        """Whether one that is for this event wants each alone."""


class Gone(Exception):
    """A reader asked for events that are not retained any more."""


def read_some(source: Source, key: str, after: int) -> tuple[Sequence[Event], int | None]:
    """What comes next in a stream, and how far that is, if there may be more.

    Raises:
        Gone: some of it is not retained any more.
    """
    read = source.read(key, after, READ_EVENTS)
    size = 0
    for index, event in enumerate(read):
        size += len(event.raw)
        if size > READ_BYTES and index + 1 < len(read):
            return read[: index + 1], event.position
    return read, read[-1].position if len(read) == READ_EVENTS else None


class Lane(Protocol):
    """What a reader that is not up to date still has to get of one namespace."""

    def __len__(self) -> int:
        """How many things wait: streams, or events."""

    def note(self, events: Sequence[Event]) -> None:
        """Remember that there is something from these events of one stream on."""

    def take(self, limit: int) -> list[Piece]:
        """About `limit` bytes of encoded events, each stream in its turn, and move on.

        Raises:
            Gone: the reader is so far behind that events it needs were let go.
        """


class Positions:
    """A `Lane` that loses nothing: a position for each stream.

    Args:
        source: where the events are.
        codec: the reader's encoding.
        wanted: the reader's subscriptions.
    """

    __slots__ = ("_codec", "_positions", "_source", "_wanted")

    def __init__(self, source: Source, codec: Codec, wanted: Wanted) -> None:
        self._source = source
        self._codec = codec
        self._wanted = wanted
        self._positions: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._positions)

    def note(self, events: Sequence[Event]) -> None:
        first = events[0]
        self._positions.setdefault(first.key, first.position - 1)

    def latest(self) -> "Latest":
        """The same, for a reader of which the latest is enough now."""
        lane = Latest(self._source, self._codec, self._wanted)
        for key, position in self._positions.items():
            after: int | None = max(position, self._source.floor(key))
            while after is not None:
                read, after = read_some(self._source, key, after)
                lane.note([event for event in read if self._wanted.want(event)])
        return lane

    def take(self, limit: int) -> list[Piece]:
        pieces: list[Piece] = []
        room = limit
        while room > 0 and self._positions and self._source.may_read:
            key = next(iter(self._positions))
            after = max(self._positions.pop(key), self._wanted.told(key))
            read, reached = read_some(self._source, key, after)
            wanted = self._merge([event for event in read if self._wanted.want(event)])
            for index, event in enumerate(wanted):
                pieces.append(Piece(self._source.encode((event,), self._codec)))
                room -= len(pieces[-1].data)
                if room <= 0 and index + 1 < len(wanted):
                    reached = event.position
                    break
            if reached is not None:
                self._positions[key] = reached  # at the end: the others come first
        return pieces

    def _merge(self, run: Sequence[Event]) -> Sequence[Event]:
        if len(run) < 2:
            return run
        if not self._wanted.strict:
            return self._source.merge(run)
        merged: list[Event] = []
        for alone, group in groupby(run, self._wanted.forbid_merging):
            events = list(group)
            merged += events if alone else self._source.merge(events)
        return merged


class _Last(Struct):
    """The last event of one topic and key, and how many there were before it."""

    event: Event
    before: int


class Latest:
    """A `Lane` that keeps the last event of each topic and key, and counts the others."""

    __slots__ = ("_codec", "_last", "_source", "_wanted")

    def __init__(self, source: Source, codec: Codec, wanted: Wanted) -> None:
        self._source = source
        self._codec = codec
        self._wanted = wanted
        self._last: dict[tuple[str, str], _Last] = {}

    def __len__(self) -> int:
        return len(self._last)

    def note(self, events: Sequence[Event]) -> None:
        for event in events:
            name = event.topic, event.key
            noted = self._last.get(name)
            if noted is not None and noted.event.position >= event.position:
                continue  # it was read already, where positions became the latest (`Positions`)
            older = self._last.pop(name, None)  # to the end: in the order of the last ones
            missed = older is not None and self._wanted.want(older.event)
            self._last[name] = _Last(event, older.before + 1 if older and missed else 0)

    def take(self, limit: int) -> list[Piece]:
        pieces: list[Piece] = []
        room = limit
        while room > 0 and self._last:
            (topic, key), last = next(iter(self._last.items()))
            del self._last[topic, key]
            if not self._wanted.want(last.event):
                continue
            if last.before:
                dropped = Dropped(topic, last.before, key or UNSET)
                pieces.append(Piece(self._codec.encode(dropped)))
            pieces.append(Piece(self._source.encode((last.event,), self._codec)))
            room -= len(pieces[-1].data)
        return pieces
