"""From committed events to the queues of their readers, encoded once per codec."""

from collections.abc import Sequence
from typing import Literal, Protocol

from broker.clock import CallLater, Clock
from broker.codec import JSON
from broker.envelope import Piece
from broker.event import Event
from broker.lane import Source
from broker.queue import Queue
from broker.rollup import Rollups
from broker.subscriptions import Subscriptions


class Taker(Protocol):
    """A reader that is no connection: it takes events, and sees to them itself."""

    live: Literal[False]

    def note(self, events: Sequence[Event], /) -> None:
        """Events of one topic and key."""


class Fanout:
    """The readers of one namespace.

    Args:
        source: encodes its events, and merges them.
        clock, call_later: for readers that want what comes within some time as one.
    """

    def __init__(self, source: Source, clock: Clock, call_later: CallLater) -> None:
        self.subscriptions: Subscriptions[Queue | Taker] = Subscriptions()
        self.delivered = 0
        self._source = source
        self._rollups = Rollups(source, clock, call_later)

    def deliver(self, run: Sequence[Event]) -> None:
        """Offer events of one topic and key to every connection with a subscription for them."""
        json: Piece | None = None
        msgpack: Piece | None = None
        offered = 0
        for queue in self.subscriptions.readers(run[0].topic, run[0].key):
            offered += 1
            if not queue.live:
                queue.note(run)
            elif queue.rolls:
                self._rollups.take(queue, run)
            elif queue.codec is JSON:
                if json is None:
                    json = Piece(self._source.encode(run, JSON), len(run), run)
                queue.offer(json)
            else:
                if msgpack is None:
                    msgpack = Piece(self._source.encode(run, queue.codec), len(run), run)
                queue.offer(msgpack)
        self.delivered += offered * len(run)
