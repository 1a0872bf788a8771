"""What becomes of commits in the file, when memory does not need them any more as they are.

    a segment is dropped  → the states of its streams are stored, where they cannot do without
                            what was dropped; then its commits go
    a segment is cold     → its streams are stored, each as a whole, with what is retained of
                            it by now; then its commits go as well

So the file has what memory has, and what open streams have come to. Everything is done a
little at a time, in this order, and what is said of a stream takes the place of what was
said before at once: whenever the process ends, the file has every event once.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from time import perf_counter

from broker.engines.base import Essence
from broker.engines.journal import StreamRow
from broker.engines.memory import MemoryEngine, Segment
from broker.engines.rows import encode_kept, encode_piece
from broker.engines.writer import Keep, Order

SLICE = 0.001
"""For how long something is done at once, in seconds."""

PIECE = 256
"""How many events are encoded at once."""

SOME = 256 << 10
STREAMS = 100
"""About how many bytes, and streams, are stored at once."""

Rows = Callable[[Iterable[str]], Iterator[StreamRow | None]]


class Keeping:
    """See the module's text.

    Args:
        log: what is retained in memory.
        cold: how long after its last event a segment is, in ms; None: never.
        put: gives the writer an order.
    """

    def __init__(self, log: MemoryEngine, cold: int | None, put: Callable[[Order], object]) -> None:
        self.essence: Essence = lambda key: ()
        self._log = log
        self._cold = cold
        self._put = put
        self._cut: set[str] = set()
        self._doing: Collection[str] = ()  # the streams that something is said of now
        self._again: set[str] = set()  # those of which it may not have been stored
        self._kept: dict[str, int] = {}  # up to where streams are stored as a whole
        self._until = 0  # commits up to there were let go, and this is
        self._stored = 0  # done
        self._orders: deque[Keep] = deque()
        self._going_on: Iterator[None] | None = None

    @property
    def pending(self) -> int:
        """How much was ordered, and is not done."""
        return len(self._orders)

    def begin(self, since: int, kept: Mapping[str, int]) -> None:
        """Go on from what the file has: commits behind a position, and streams up to theirs."""
        self._until = self._stored = since
        self._kept = dict(kept)

    def cut(self, key: str) -> None:
        """Something of a stream is let go."""
        self._cut.add(key)

    def kept(self) -> None:
        """The first order of those that were put is done."""
        self._stored = max(self._stored, self._orders.popleft().until)

    def lost(self) -> None:
        """Nothing else of what was put is done, nor will be."""
        self._again.update(self._doing)
        for order in self._orders:
            self._again.update([stream.key for stream in order.streams])
        self._orders.clear()
        self._until = self._stored
        self._going_on = None

    def some(self, now: int) -> bool:
        """Do some of what is to be done; `now` in Unix ms. Returns whether there is more."""
        end = perf_counter() + SLICE
        while perf_counter() < end:
            if self._going_on is None:
                self._going_on = self._next(now)
                if self._going_on is None:
                    return False
            if next(self._going_on, self) is self:
                self._going_on = None
        return True

    def _next(self, now: int) -> Iterator[None] | None:
        if self._again:
            return self._redo()
        if self._log.gone > self._until:
            return self._let_go()
        segment = self._next_cold(now)
        return None if segment is None else self._store(segment)

    def _next_cold(self, now: int) -> Segment | None:
        if self._cold is not None:
            for segment in self._log.segments:
                if segment.last > self._until:
                    cold = segment.newest < now - self._cold
                    return segment if cold and segment is not self._log.segments[-1] else None
        return None

    # ------------------------------------------------------------- one thing after the other

    def _redo(self) -> Iterator[None]:
        keys, self._again = self._again, set()
        yield from self._tell(keys, self._whole, 0)

    def _let_go(self) -> Iterator[None]:
        until = self._log.gone
        keys, self._cut = self._cut, set()
        yield from self._tell(keys, self._states, until)

    def _store(self, segment: Segment) -> Iterator[None]:
        gone = self._log.gone
        yield from self._tell([log.key for log in segment.logs], self._whole, 0)
        if self._log.gone == gone:  # or the states of what is dropped by now come first
            self._finish([], segment.last)

    def _tell(self, keys: Collection[str], rows: Rows, until: int) -> Iterator[None]:
        """Have rows of streams stored, and then commits let go of up to a position."""
        self._doing = keys
        told: list[StreamRow] = []
        size = 0
        for row in rows(keys):
            if row is not None:
                told.append(row)
                size += len(row.state) + len(row.kept or b"")
                if size > SOME or len(told) > STREAMS:
                    self._finish(told, 0)
                    told, size = [], 0
            yield
        if told or until:
            self._finish(told, until)
        self._doing = ()

    def _finish(self, rows: list[StreamRow], until: int) -> None:
        for row in rows:
            if row.kept:
                self._kept[row.key] = row.position
            elif row.kept is not None:
                self._kept.pop(row.key, None)
        order = Keep(rows, until)
        self._until = max(self._until, until)
        self._orders.append(order)
        self._put(order)

    def _states(self, keys: Iterable[str]) -> Iterator[StreamRow | None]:
        """Of streams of which something is dropped. What is stored of one as a whole goes when
        all of that is dropped."""
        for key in keys:
            over = self._kept.get(key, self._log.position) <= self._log.floor(key)
            yield StreamRow(key, self._state(key), 0, b"" if over else None)

    def _whole(self, keys: Iterable[str]) -> Iterator[StreamRow | None]:
        """Of streams, everything; and None now and then, since one may be long."""
        for key in keys:
            log = self._log.log(key)
            events, last, floor, torn = log.all(), log.last, log.dropped, log.torn
            state = self._state(key)
            pieces: list[bytes] = []
            for at in range(0, len(events), PIECE):
                pieces.append(encode_piece(events[at : at + PIECE]))
                yield None
            yield StreamRow(key, state, last, encode_kept(floor, torn, pieces) if events else b"")

    def _state(self, key: str) -> bytes:
        essence = self.essence(key)
        return encode_piece(essence) if essence else b""
