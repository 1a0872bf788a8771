"""How much may be under way to one peer: enough to keep its link busy, and no more.

What was handed to the kernel, to TLS or to a proxy can neither be merged nor
overtaken, and a slow link takes seconds to drain what they are willing to buffer. So
the broker counts the bytes itself: it sends a control ping behind every few of them,
with the count so far as its payload, and the pong says that all of them have
arrived. That works through anything that carries WebSocket, with any client.

The bound adapts. While what a ping waits for is less than `DELAY` of queueing, it
grows whenever it was reached; where the ping waits longer, it shrinks. A peer that has
never answered a ping is not held to it (`lift`). (docs/decisions/0007-flow.md)
"""

START = 32 << 10
LEAST = 4 << 10
MOST = 8 << 20
"""The bound on bytes under way: at first, at least and at most. The first is what a link of
512 kbit/s takes half a second for; TCP begins with less."""

FIRST = 4 << 10
"""Behind how many bytes the first ping is: few, so that hardly anything queues yet. Who
says no more than that is not asked."""

PINGS = 4
"""How many pings there are in a bound's worth of bytes."""

DELAY = 0.2
"""How long bytes may queue on their way, in seconds: as long a quiet namespace's event
waits behind a flood."""

ROUNDS = 50
"""After so many that did not let the bound grow, the way is measured anew."""

_UNBOUNDED = 1 << 62


class Flow:
    """The bytes under way on one connection. Counts are of all bytes ever written.

    Attributes:
        limit: up to which count may be written.
        ping_at: from which count on a ping is due.
    """

    __slots__ = ("_arrived", "_base", "_bound", "_pinged", "_rounds", "_timed", "limit", "ping_at")

    def __init__(self) -> None:
        self.limit = START
        self.ping_at = FIRST
        self._bound = START
        self._arrived = 0
        self._pinged = 0
        self._timed: tuple[int, float, bool] | None = None
        self._rounds = 0
        self._base: float | None = None

    @property
    def answered(self) -> bool:
        """Whether the peer has ever answered a ping."""
        return self._arrived > 0

    @property
    def asking(self) -> bool:
        """Whether a ping is under way."""
        return self._pinged > self._arrived

    def ping(self, written: int, now: float) -> bytes:
        """The payload of a ping behind `written` bytes, sent at `now`, in seconds."""
        self._pinged = written
        self.ping_at = written + self._bound // PINGS
        if self._timed is None:
            full = written - self._arrived > self._bound - self._bound // PINGS
            self._timed = written, now, full
        return written.to_bytes(8, "big")

    def pong(self, payload: bytes, written: int, now: float) -> None:
        """A pong came; one that answers no ping of ours says nothing."""
        count = int.from_bytes(payload, "big")
        if len(payload) != 8 or not self._arrived <= count <= self._pinged:
            return
        self._arrived = count
        if self._timed is not None and count >= self._timed[0]:
            _, then, full = self._timed
            self._timed = None
            self._adapt(now - then, full=full)
        self.limit = count + self._bound
        self.ping_at = min(self.ping_at, written + self._bound // PINGS)

    def lift(self) -> None:
        """The peer does not answer pings: do not hold it to what it does not know."""
        self.limit = _UNBOUNDED

    def _adapt(self, took: float, *, full: bool) -> None:
        self._base = took if self._base is None else min(self._base, took)
        queued = took - self._base
        self._rounds += 1
        if queued > DELAY and self._bound == LEAST:
            self._base = took  # not for what we sent: the way itself has become longer
        elif queued > DELAY:
            self._bound = max(LEAST, self._bound // 2, int(self._bound * DELAY / queued))
        elif full and queued < DELAY / 2:
            self._bound = min(MOST, self._bound * 2)
            self._rounds = 0
        elif self._rounds >= ROUNDS:
            self._rounds = 0  # is that a queue of ours, or a longer way? See with less
            self._bound = max(LEAST, self._bound // 2)
            self._base = None
