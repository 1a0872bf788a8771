"""One stream's retained events.

They are kept in rows, tuples of a few: a collection of garbage looks at a row once, and never
again, since nothing in it can be part of a cycle. One list of them all would be looked
through in every full collection, which stopped a busy broker for 50 ms.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from mypy_extensions import mypyc_attr

from broker.event import Event

ROW = 16
"""About how many events are a row."""

OVERHEAD = 400
"""What one retained event costs beside its body's bytes, about, in bytes (measured)."""


@mypyc_attr(acyclic=True)
class Log:
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

    __slots__ = ("count", "dropped", "key", "last", "names", "rows", "tail", "torn")

    def __init__(self, key: str, dropped: int) -> None:
        self.key = key
        self.dropped = dropped
        self.last = 0
        self.count = 0
        self.rows: list[tuple[Event, ...]] = []
        self.tail: list[Event] | None = None
        self.names: dict[str, int] | None = None
        self.torn: tuple[int, ...] = ()

    # ------------------------------------------------------------- what comes

    def append(self, run: Sequence[Event]) -> None:
        """Retain events that have their positions."""
        tail = self.tail
        if tail is None:
            tail = self.tail = []
        tail += run
        self.count += len(run)
        self.last = run[-1].position
        if len(tail) >= ROW:
            self._close_row()

    def name(self, run: Iterable[Event]) -> None:
        """Remember the dedupe names of events that have one."""
        names = self.names or {}
        names.update({e.dedupe: e.position for e in run if e.dedupe is not None})
        self.names = names or None

    # ------------------------------------------------------------- what is there

    def whole(self, after: int) -> bool:
        """Whether one who had everything up to a position can be told what followed."""
        return after >= self.dropped and bisect_right(self.torn, after) % 2 == 0

    def readable(self, after: int) -> bool:
        """Whether one may read on after a position: the same, or everything from the start."""
        return after == self.dropped or self.whole(after)

    def after(self, position: int, limit: int) -> list[Event]:
        """Up to `limit` events after a position, in order."""
        tail = self.tail or []
        if tail and position >= tail[0].position:
            first = bisect_right(tail, position, key=_position)
            return tail[first : first + limit]
        found: list[Event] = []
        for number in range(bisect_right(self.rows, position, key=_end), len(self.rows)):
            row = self.rows[number]
            found += row[bisect_right(row, position, key=_position) :]
            if len(found) >= limit:
                return found[:limit]
        return found + tail[: limit - len(found)]

    def all(self) -> list[Event]:
        """Everything that is retained, in order."""
        return [event for row in self.rows for event in row] + (self.tail or [])

    def nth(self, number: int) -> int:
        """The position of the event that has so many before it."""
        for row in self.rows:
            if number < len(row):
                return row[number].position
            number -= len(row)
        assert self.tail is not None
        return self.tail[number].position

    # ------------------------------------------------------------- what goes

    def drop(self, until: int) -> int:
        """Let go of what is up to a position. Returns what it counted in the history."""
        if self.tail is not None and self.tail[0].position <= until:
            self._close_row()
        gone: list[Event] = []
        rows = bisect_right(self.rows, until, key=_end)
        for row in self.rows[:rows]:
            gone += row
        del self.rows[:rows]
        if self.rows and self.rows[0][0].position <= until:
            row = self.rows[0]
            first = bisect_right(row, until, key=_position)
            gone += row[:first]
            self.rows[0] = row[first:]
        if not gone:
            return 0
        self.dropped = gone[-1].position
        self.count -= len(gone)
        self._forget(gone)
        return size(gone)

    def replace(self, old: Sequence[Event], new: Sequence[Event]) -> int:
        """Put events in the place of neighbours that they say the same as.

        Args:
            old: as they were read.
            new: fewer. Each is one of `old`, or has the position of one and stands for those
                that were behind the one before it. The last one has that of the last.

        Returns what is saved in the history.
        """
        self._close_row()
        begin, end = self._rows(old[0].position, old[-1].position)
        events = [event for row in self.rows[begin:end] for event in row]
        at = bisect_left(events, old[0].position, key=_position)
        events[at : at + len(old)] = new
        self.rows = [*self.rows[:begin], tuple(events), *self.rows[end:]]
        self.count -= len(old) - len(new)
        at = 0
        for event in new:
            begin, at = at, bisect_right(old, event.position, key=_position)
            last = at - 2 if event is old[at - 1] else at - 1  # it is there itself, or is a part
            if last > begin:
                self._tear(old[begin].position, old[last].position)
        return size(old) - size(new)

    def _tear(self, first: int, last: int) -> None:
        """Nobody can go on after a position from `first` on and before `last` any more."""
        torn = self.torn
        begin, end = bisect_left(torn, first), bisect_right(torn, last)
        here = (first,) * (begin % 2 == 0) + (last,) * (end % 2 == 0)
        self.torn = torn[:begin] + here + torn[end:]

    def _rows(self, first: int, last: int) -> tuple[int, int]:
        """From which row on, and before which, there are the events between two positions."""
        begin = bisect_left(self.rows, first, key=_end)
        return begin, bisect_right(self.rows, last, lo=begin, key=_begin)

    def _close_row(self) -> None:
        if self.tail is not None:
            self.rows.append(tuple(self.tail))
            self.tail = None

    def _forget(self, gone: Iterable[Event]) -> None:
        """Forget the names of events, and where nobody can go on who is too late anyway."""
        while self.torn and self.torn[1] <= self.dropped:
            self.torn = self.torn[2:]
        if self.names is not None:
            for event in gone:
                if event.dedupe is not None and self.names.get(event.dedupe) == event.position:
                    del self.names[event.dedupe]


@mypyc_attr(acyclic=True)
class Numbered:
    """Events that have their positions: the last one, what they count in a history, in bytes,
    and whether some of them have a dedupe name."""

    __slots__ = ("last", "named", "size")

    def __init__(self, last: int, size: int, named: bool) -> None:
        self.last = last
        self.size = size
        self.named = named


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


def numbered(run: Sequence[Event]) -> Numbered:
    """The same of events that have positions already."""
    return Numbered(run[-1].position, size(run), any(e.dedupe is not None for e in run))


def size(events: Sequence[Event]) -> int:
    """What events count in a history, in bytes."""
    return sum([len(event.raw) for event in events]) + OVERHEAD * len(events)


def _position(event: Event) -> int:
    return event.position


def _begin(row: tuple[Event, ...]) -> int:
    return row[0].position


def _end(row: tuple[Event, ...]) -> int:
    return row[-1].position
