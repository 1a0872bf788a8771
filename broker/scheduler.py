"""Gives every namespace its share of the loop, then lets every connection write.

One callback per turn of the loop, and none while there is nothing to do:
each namespace with publishes runs for its slice, held connections are let in
again, and what has become ready for a connection leaves in one write.
"""

from collections import deque
from collections.abc import Callable

import structlog

from broker.clock import Clock
from broker.namespace import Namespace
from broker.outbox import Outbox

log = structlog.get_logger(__name__)

SLICE = 0.0005
"""How long a namespace of weight 1 may run in one turn, in seconds: for the connections
that come fresh, and as long for those of which more waits."""

OVERRUN = 20 * SLICE
"""By how much a slice may exceed its share before that is counted and logged, in seconds. It
is by the clock on the wall: the plugin, a large body, the engine, a collection of garbage
and a busy machine look the same."""

READ_ROOM = 128 << 10
"""How much all connections together may bring in one turn, about: to parse as much takes
about as long as a slice."""

LARGE = 64 << 10
"""Of messages that came in parts and are longer than this, one is decoded in a turn."""

CATCHING_UP = 8
"""How many connections that are behind may try to read on in one turn, beside new ones."""

RESUMED = 4
"""How many of those that would have brought more are read again in one turn."""


class Scheduler:
    """The broker's turn of the loop.

    Args:
        clock: measures the slices.
        call_soon: runs a function in the next turn of the loop.

    Attributes:
        read_room: how many bytes may still come in before the next turn. Who reads counts
            them, and waits for its `next_turn` when there are none left.
    """

    def __init__(self, clock: Clock, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self.namespaces: list[Namespace] = []
        self.read_room = READ_ROOM
        self._clock = clock
        self._call_soon = call_soon
        self._woken = False
        self._touched: list[Outbox] = []
        self._behind: deque[Outbox] = deque()
        self._starved: deque[Callable[[], None]] = deque()
        self._laden: deque[Callable[[], None]] = deque()
        self._unladen = True

    def wake(self) -> None:
        """There is work: see to it that there is a turn."""
        if not self._woken:
            self._woken = True
            self._call_soon(self.turn)

    def touched(self, outbox: Outbox) -> None:
        """`outbox` has something to write."""
        self._touched.append(outbox)
        if not self._woken:
            self.wake()

    def postponed(self, outbox: Outbox) -> None:
        """`outbox` is behind, and has had, or left to others, what may be read in this turn."""
        self._behind.append(outbox)
        self.wake()

    def takes(self, size: int) -> bool:
        """Whether what came in parts, `size` bytes now, may be decoded in this turn; if so it
        counts. The last part may be short, and what it sets free is not."""
        if size > LARGE:
            if not self._unladen:
                return False
            self._unladen = False
            return True
        if self.read_room <= 0:
            return False
        self.read_room -= size
        return True

    def next_turn(self, resume: Callable[[], None], size: int = 0) -> None:
        """Let a connection that has had its share be read again, by `resume`, when those
        that had theirs before it have been; for what is `LARGE` they are others."""
        (self._laden if size > LARGE else self._starved).append(resume)
        self.wake()

    def turn(self) -> None:
        """One turn: run the namespaces, the least busy first, and let connections write.

        What is ready leaves before the next one runs: so an event of a quiet namespace,
        or of a quiet publisher, waits for nobody's backlog.
        """
        self.read_room = READ_ROOM
        self._unladen = True
        for namespace in self.namespaces:
            namespace.retained.begin_turn()
        for _ in range(min(CATCHING_UP, len(self._behind))):
            self._behind.popleft().go_on()
        busy = [namespace for namespace in self.namespaces if namespace.busy]
        if len(busy) > 1:
            busy.sort(key=_backlog)
        for fresh in (True, False):
            for namespace in busy:
                intake = namespace.intake
                if intake.fresh if fresh else intake.messages:
                    self._run(namespace, fresh=fresh)
                    self.flush()
        self._resume()
        for namespace in self.namespaces:
            if namespace.intake.held:
                namespace.intake.release_some()
        self.flush()
        self._woken = False
        if self._touched or self._starved or self._laden or self._behind or self._busy():
            self.wake()

    def _resume(self) -> None:
        """Let some go on that wait, for a slice; the first of each kind finds that it may."""
        until = self._clock.seconds() + SLICE
        if self._laden:
            self._laden.popleft()()
        for _ in range(min(RESUMED, len(self._starved))):
            self._starved.popleft()()
            if self.read_room <= 0 or self._clock.seconds() >= until:
                break

    def _busy(self) -> bool:
        for namespace in self.namespaces:
            intake = namespace.intake
            if namespace.busy or (intake.held and intake.has_room):
                return True
        return False

    def _run(self, namespace: Namespace, *, fresh: bool) -> None:
        start = self._clock.seconds()
        share = SLICE * namespace.settings.weight
        try:
            namespace.run(start + share, fresh=fresh)
        except Exception:  # the others must go on, whatever this is
            log.exception("namespace failed", namespace=namespace.name)
        took = self._clock.seconds() - start
        if took > share + OVERRUN:
            namespace.overruns += 1
            count = namespace.overruns
            if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th …: `/metrics` counts them all
                ms = round(took * 1000, 1)
                log.warning("slice overrun", namespace=namespace.name, ms=ms, count=count)

    def flush(self) -> None:
        """Let every connection that has something write it."""
        touched, self._touched = self._touched, []
        for outbox in touched:
            try:
                outbox.flush()
            except Exception:
                log.exception("connection failed")
                outbox.wire.close(1011, "internal error")


def _backlog(namespace: Namespace) -> int:
    return namespace.intake.messages
