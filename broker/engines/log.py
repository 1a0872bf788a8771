"""One stream's retained events.

They are kept in rows, tuples of a few: a garbage collection looks at a row once, and never
again, since nothing in it can be part of a cycle. One list of them all would be looked
through in every full collection, for half a second's work of a busy broker.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from broker.plugin import Event

ROW = 16
"""About how many events are a row."""

OVERHEAD = 400
"""What one retained event costs beside its body's bytes, about, in bytes (measured)."""


class Log(Struct, gc=False, eq=False):
    """The events of one stream, from the oldest that is retained.

    Attributes:
        key: the stream's.
        dropped: the position of the newest event that was let go.
        last: the position of its newest event, retained or not.
        count: how many are retained.
        rows: full rows, the oldest first; the newest events are in `tail`.
        names: the dedupe names, each with the position of the last event that has it. (Two
            have one where a stream was forgotten, and comes back with what a file has of it.)
        torn: positions in pairs, in order: from the first up to the second, without it,
            nobody can go on, since there were events that are a part of others now.
    """

    key: str
    dropped: int
    last: int = 0
    count: int = 0
    rows: list[tuple[Event, ...]] = []
    tail: list[Event] = []
    names: dict[str, int] | None = None
    torn: list[int] | None = None

    def append(self, run: Sequence[Event]) -> None:
        """Retain events that have their positions."""
        self.tail += run
        self.count += len(run)
        self.last = run[-1].position
        if len(self.tail) >= ROW:
            self._close_row()

    def name(self, run: Iterable[Event]) -> None:
        """Remember the dedupe names of events that have one."""
        for event in run:
            if event.dedupe is not None:
                if self.names is None:
                    self.names = {}
                self.names[event.dedupe] = event.position

    def whole(self, after: int) -> bool:
        """Whether one who had everything up to a position can be told what followed."""
        return after >= self.dropped and not self._is_torn(after)

    def readable(self, after: int) -> bool:
        """Whether one may read on after a position: the same, or everything from the start."""
        return after == self.dropped or self.whole(after)

    def after(self, position: int, limit: int) -> list[Event]:
        """Up to `limit` events after a position, in order."""
        if self.tail and position >= self.tail[0].position:
            first = bisect_right(self.tail, position, key=_position)
            return self.tail[first : first + limit]
        found: list[Event] = []
        for row in self.rows[bisect_right(self.rows, position, key=_end) :]:
            found += (
                row if row[0].position > position else [e for e in row if e.position > position]
            )
            if len(found) >= limit:
                return found[:limit]
        return found + self.tail[: limit - len(found)]

    def nth(self, number: int) -> int:
        """The position of the event that has so many before it."""
        for row in self.rows:
            if number < len(row):
                return row[number].position
            number -= len(row)
        return self.tail[number].position

    def drop(self, until: int) -> int:
        """Let go of what is up to a position. Returns what it counted in the history."""
        gone: list[Event] = []
        if self.tail and self.tail[0].position <= until:
            self._close_row()
        rows = bisect_right(self.rows, until, key=_end)
        for row in self.rows[:rows]:
            gone += row
        del self.rows[:rows]
        if self.rows and self.rows[0][0].position <= until:
            first = bisect_right(self.rows[0], until, key=_position)
            gone += self.rows[0][:first]
            self.rows[0] = self.rows[0][first:]
        if not gone:
            return 0
        self.dropped = gone[-1].position
        self.count -= len(gone)
        self._forget_names(gone)
        self._mend()
        return size(gone)

    def replace(self, old: Sequence[Event], new: Sequence[Event]) -> int:
        """Put events in the place of neighbours that they say the same as.

        Args:
            old: as they were read.
            new: fewer. Each is one of `old`, or stands for some that were neighbours, and has
                the position of the last of them.

        Returns what is saved in the history.
        """
        self._close_row()
        rows = self._rows(old[0].position, old[-1].position)
        events = [event for row in self.rows[rows] for event in row]
        at = bisect_left(events, old[0].position, key=_position)
        events[at : at + len(old)] = new
        self.rows[rows] = [tuple(events)]
        self.count -= len(old) - len(new)
        at = 0
        for event in new:
            first = old[at].position
            at = bisect_right(old, event.position, key=_position)
            self.tear(first, event.position)
        return size(old) - size(new)

    def tear(self, first: int, last: int) -> None:
        """Nobody can go on after a position from `first` on and before `last` any more."""
        if first == last:
            return
        torn = self.torn = self.torn or []
        begin, end = bisect_left(torn, first), bisect_right(torn, last)
        torn[begin:end] = [first] * (begin % 2 == 0) + [last] * (end % 2 == 0)

    def around(self, since: int, last: int) -> tuple[list[Event], list[tuple[int, int]]]:
        """The events between two positions (without the first), and what is torn there; an
        event that stands for some from there is one of them, wherever it has its position."""
        torn = self.torn or ()
        pairs = [
            (first, end)
            for first, end in zip(torn[::2], torn[1::2], strict=True)
            if first <= last and end > since
        ]
        if pairs:
            last = max(last, pairs[-1][1])
        self._close_row()
        rows = self.rows[self._rows(since + 1, last)]
        return [event for row in rows for event in row if since < event.position <= last], pairs

    def _rows(self, first: int, last: int) -> slice:
        """The rows that have events from one position to another."""
        begin = bisect_left(self.rows, first, key=_end)
        return slice(begin, bisect_right(self.rows, last, lo=begin, key=_begin))

    def _is_torn(self, position: int) -> bool:
        return self.torn is not None and bisect_right(self.torn, position) % 2 == 1

    def _close_row(self) -> None:
        if self.tail:
            self.rows.append(tuple(self.tail))
            self.tail = []

    def _mend(self) -> None:
        """Forget where those can go on who are too late anyway."""
        while self.torn and self.torn[1] <= self.dropped:
            del self.torn[:2]
        self.torn = self.torn or None

    def _forget_names(self, gone: Iterable[Event]) -> None:
        if self.names is not None:
            for event in gone:
                if event.dedupe is not None and self.names.get(event.dedupe) == event.position:
                    del self.names[event.dedupe]
            self.names = self.names or None


class Numbered(NamedTuple):
    """Events that have their positions: the last one, what they count in a history, in bytes,
    and whether some of them have a dedupe name."""

    last: int
    size: int
    named: bool


def number(runs: Iterable[Sequence[Event]], position: int) -> Numbered:
    """Give events the positions that follow one."""
    size = 0
    named = False
    for run in runs:
        for event in run:
            position += 1
            event.position = position
            size += len(event.raw)
            if event.dedupe is not None:
                named = True
        size += OVERHEAD * len(run)
    return Numbered(position, size, named)


def numbered(runs: Iterable[Sequence[Event]], last: int) -> Numbered:
    """The same of events that have positions already, up to `last`."""
    events = [event for run in runs for event in run]
    return Numbered(last, size(events), any(event.dedupe is not None for event in events))


def size(events: Sequence[Event]) -> int:
    """What events count in a history, in bytes."""
    return sum([len(event.raw) for event in events]) + OVERHEAD * len(events)


def _position(event: Event) -> int:
    return event.position


def _begin(row: tuple[Event, ...]) -> int:
    return row[0].position


def _end(row: tuple[Event, ...]) -> int:
    return row[-1].position
