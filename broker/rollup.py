"""Merging on request: what comes within some milliseconds goes out as one (`rollupMs`).

A window belongs to a stream and a length in time, so that all readers who asked for
the same share its frames. The first event after a pause goes at once and opens a
window; what comes before it closes is gathered by each reader's queue, and merged
when it does. A window in which nothing came is not opened again.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from broker.clock import CallLater, Clock
from broker.codec import Codec
from broker.envelope import Piece
from broker.event import Event
from broker.lane import Source

log = structlog.get_logger(__name__)

MOST_BODIES = 4 << 20
"""How much is kept decoded meanwhile, as bytes of what was decoded; the rest is decoded again."""

SPREAD = 8
"""Windows that close within this part of their length are closed together."""


class Gathering(Protocol):
    """A reader's queue, as far as it gathers events."""

    codec: Codec

    def window(self, event: Event) -> int:
        """How long, in ms, the subscriptions for `event` let it wait; 0: not at all."""

    def gather(self, events: Sequence[Event]) -> None:
        """Keep events of one stream until they are `gathered`, behind those kept before."""

    def gathers(self, key: str) -> bool:
        """Whether events of this stream are kept."""

    def gathered(self, key: str) -> Sequence[Event]:
        """The events kept of a stream, which are the caller's now; none if it has let go."""

    def offer(self, piece: Piece) -> None:
        """Let it have these events now."""


class _Window:
    """One stream's window of one length.

    Attributes:
        opened: the position of the event that did; 0 for one that was opened by time.
        closes: when, in seconds.
        queues: those that gather, in order.
        bodies: of the events that they have gathered, by position: they are at hand now, and
            merging would have to decode them again.
        size: how many bytes those were.
    """

    __slots__ = ("bodies", "closes", "key", "ms", "opened", "queues", "size")

    def __init__(self, key: str, ms: int, opened: int, closes: float) -> None:
        self.key = key
        self.ms = ms
        self.opened = opened
        self.closes = closes
        self.queues: dict[Gathering, None] = {}
        self.bodies: dict[int, Any] = {}
        self.size = 0


class Rollups:
    """The windows of one namespace.

    Args:
        source: merges and encodes.
        clock: tells when a window closes.
        call_later: runs a function after some seconds.
    """

    def __init__(self, source: Source, clock: Clock, call_later: CallLater) -> None:
        self._source = source
        self._clock = clock
        self._call_later = call_later
        self._size = 0  # of all bodies that are kept
        self._windows: dict[tuple[str, int], _Window] = {}
        self._due: dict[int, deque[_Window]] = {}  # by length, so in the order of closing

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, queue: Gathering, run: Sequence[Event]) -> None:
        """Events of one topic and key for a reader that has asked for merging."""
        key = run[0].key
        ms = queue.window(run[0])
        if not ms:
            self._let_go(queue, key)
            queue.offer(self._piece(run, queue.codec))
            return
        window = self._windows.get((key, ms)) or self._open(key, ms, run[0].position)
        if window.opened == run[0].position and not queue.gathers(key):
            queue.offer(self._piece(run[:1], queue.codec))
            run = run[1:]
        if run:
            queue.gather(run)
            window.queues[queue] = None
            if queue.gathers(key):
                self._keep_bodies(window, run)

    def _keep_bodies(self, window: _Window, run: Sequence[Event]) -> None:
        bodies = window.bodies
        if run[-1].position in bodies or self._size > MOST_BODIES:
            return
        size = 0
        for event in run:
            bodies[event.position] = event.body
            size += len(event.raw)
        window.size += size
        self._size += size

    def _piece(self, events: Sequence[Event], codec: Codec) -> Piece:
        return Piece(self._source.encode(events, codec), len(events), events)

    def _let_go(self, queue: Gathering, key: str) -> None:
        """An event that does not wait comes: what is gathered goes before it."""
        gathered = queue.gathered(key)
        if gathered:
            queue.offer(self._merged(gathered, queue.codec))

    def _merged(self, events: Sequence[Event], codec: Codec) -> Piece:
        merged = self._source.merge(events)
        return Piece(self._source.encode(merged, codec), len(merged), events)

    def _open(self, key: str, ms: int, opened: int) -> _Window:
        window = _Window(key, ms, opened, self._clock.seconds() + ms / 1000)
        self._windows[key, ms] = window
        due = self._due.setdefault(ms, deque())
        due.append(window)
        if len(due) == 1:
            self._wait(ms)
        return window

    def _wait(self, ms: int) -> None:
        """For the first window of this length, and those that close soon after it."""
        delay = self._due[ms][0].closes - self._clock.seconds() + ms / 1000 / SPREAD
        self._call_later(max(0.0, delay), lambda: self._close(ms))

    def _close(self, ms: int) -> None:
        due = self._due[ms]
        now = self._clock.seconds()
        while due and due[0].closes <= now:
            window = due.popleft()
            if not window.queues:
                del self._windows[window.key, ms]
                continue
            self._flush(window)
            window.queues = {}
            window.bodies = {}
            self._size -= window.size
            window.size = 0
            window.opened = 0
            window.closes = now + ms / 1000
            due.append(window)
        if due:
            self._wait(ms)
        else:
            del self._due[ms]

    def _flush(self, window: _Window) -> None:
        """Offer what was gathered; readers of the same events share what is made of them."""
        shared: dict[tuple[Codec, tuple[int, ...]], Piece] = {}
        for queue in window.queues:
            events = queue.gathered(window.key)
            if not events:
                continue  # it fell behind, or had to let go before
            try:
                same = queue.codec, tuple([event.position for event in events])
                piece = shared.get(same)
                if piece is None:
                    for event in events:
                        event.body = window.bodies.get(event.position)
                    piece = shared[same] = self._merged(events, queue.codec)
                queue.offer(piece)
            except Exception:  # the others must go on, whatever this is
                log.exception("merging failed")
