"""What goes to the file when something of it is let go in memory: a little at a time.

    a stream is cut     → its state, as events, if it cannot do without what was cut
    nothing is retained
    up to a position    → rows up to there may go, once those states are stored
    a segment is cold   → its rows are written anew, with what is still retained of them

So the file has what memory has, and what open streams have come to. What is put into the
queue in this order is done in this order, each whole or not at all.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from broker.engines.base import Essence
from broker.engines.journal import State
from broker.engines.log import Log
from broker.engines.memory import MemoryEngine, Segment
from broker.engines.rows import Kept, encode_kept
from broker.engines.writer import Keep, Order, Rewrite

SOME = 50
"""How many streams are looked at in one go."""


class Keeping:
    """See the module's text.

    Args:
        log: what is retained in memory.
        cold: how long after its last event a segment is written anew, in ms; None: never.
        put: gives the writer an order.
    """

    def __init__(self, log: MemoryEngine, cold: int | None, put: Callable[[Order], object]) -> None:
        self.essence: Essence = lambda key: ()
        self._log = log
        self._cold = cold
        self._put = put
        self._cut: set[str] = set()
        self._saved: dict[str, int] = {}  # whose state is stored, up to which position
        self._alone = False
        self._gone = 0  # what the writer was told of `MemoryEngine.gone`
        self._rewritten = 0  # the position up to which rows are written anew
        self._going_on: Iterator[None] | None = None

    def begin(self, states: Iterable[State], rewritten: int) -> None:
        """Go on from what the file has."""
        self._saved = {state.key: state.position for state in states}
        self._gone = self._log.gone
        self._rewritten = rewritten

    def cut(self, key: str) -> None:
        """Something of a stream is let go."""
        self._cut.add(key)

    def lost(self) -> None:
        """What the writer was told last may not have been done."""
        self._cut.update(self._saved)
        self._saved.clear()
        self._alone = True
        self._gone = 0
        self._going_on = None

    def some(self, now: int) -> bool:
        """Do some of what is to be done; `now` in Unix ms. Returns whether there is more."""
        if self._going_on is None:
            self._going_on = self._round(now)
        try:
            next(self._going_on)
        except StopIteration:
            self._going_on = None
            return False
        return True

    def _round(self, now: int) -> Iterator[None]:
        yield from self._keep()
        while (segment := self._next_cold(now)) is not None:
            yield from self._rewrite(segment)

    def _keep(self) -> Iterator[None]:
        """Store the states of streams that were cut; then what was cut may go."""
        until = self._log.gone
        keys, self._cut = self._cut, set()
        alone, self._alone = self._alone, False
        states: list[State] = []
        left = iter(keys)
        while some := list(islice(left, SOME)):
            states += self._states(some)
            yield
        if states or alone or until > self._gone:
            self._gone = until
            self._put(Keep(states, until, alone))

    def _states(self, keys: Iterable[str]) -> Iterator[State]:
        """The states that have to be stored, or stored anew, or not any more."""
        for key in keys:
            if self._saved.get(key, -1) < self._log.floor(key):
                state = State(key, self._log.position, self.essence(key))
                if state.events:
                    self._saved[key] = state.position
                    yield state
                elif self._saved.pop(key, None) is not None:
                    yield state

    def _next_cold(self, now: int) -> Segment | None:
        """The oldest segment whose rows are as they came, if that was long ago."""
        if self._cold is not None:
            for segment in self._log.segments:
                if segment.last > self._rewritten:
                    cold = (
                        segment is not self._log.segments[-1] and segment.newest < now - self._cold
                    )
                    return segment if cold else None
        return None

    def _rewrite(self, segment: Segment) -> Iterator[None]:
        self._rewritten = segment.last
        parts: list[bytes] = []
        logs = iter(list(segment.logs))
        while some := list(islice(logs, SOME)):
            states = list(self._states([log.key for log in some if log.key in self._cut]))
            if states:  # or what was cut meanwhile would be nowhere
                self._put(Keep(states, self._gone, alone=False))
            parts.append(encode_kept(_kept(some, segment)))
            yield
        if segment.last > self._log.gone:
            self._put(Rewrite(segment.since, segment.last, parts))


def _kept(logs: Iterable[Log], segment: Segment) -> Kept:
    """What is still retained of a segment."""
    runs, torn, floors = [], [], []
    for log in logs:
        events, pairs = log.around(segment.since, segment.last)
        if events:
            runs.append(events)
        torn += [(log.key, first, last) for first, last in pairs]
        if log.dropped > segment.since:
            floors.append((log.key, log.dropped))
    return Kept(runs, torn, floors)
