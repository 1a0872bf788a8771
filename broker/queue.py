"""One connection's events of one namespace, bounded.

A queue is *live* while the socket takes what comes. Once it does not, or while a
replay is due, the queue keeps positions instead of events (`lane`), and reads
on from them when there is room.
"""

from collections import deque
from typing import Protocol

from broker.codec import Codec
from broker.lane import Lanes, Source
from broker.plugin import Event
from broker.replay import Replay, Subscription

QUEUE_BYTES = 32 << 10
"""How much a queue holds for a socket that does not take it, before it keeps positions."""

STRICT_BYTES = 256 << 10
"""The same for a reader that refuses merging: past it, it cannot keep up."""


class Owner(Protocol):
    """The outbox that a queue is part of."""

    @property
    def writable(self) -> bool: ...

    def wake(self, queue: "Queue") -> None:
        """`queue` has something to send."""

    def too_slow(self) -> None:
        """The reader cannot keep up with what it asked for."""


class Queue:
    """One connection's events of one namespace.

    Args:
        owner: the outbox.
        codec: the connection's encoding.
        source: the namespace.
        weight: its share, when several have something to send.
    """

    __slots__ = (
        "_events",
        "_items",
        "_lanes",
        "_owner",
        "_replays",
        "_since",
        "_size",
        "_until",
        "codec",
        "delivered",
        "source",
        "waiting",
        "weight",
    )  # fmt: skip

    def __init__(self, owner: Owner, codec: Codec, source: Source, weight: int) -> None:
        self.codec = codec
        self.source = source
        self.weight = weight
        self.waiting = False
        self.delivered = 0
        self._owner = owner
        self._since: dict[Subscription, int] = {}  # after which position each is live
        self._until: dict[Subscription, int] = {}  # and up to which, while its replay is due
        self._items: list[bytes] = []
        self._events: list[Event] = []  # those of _items, should they become positions
        self._size = 0
        self._lanes: Lanes | None = None
        self._replays: deque[Replay] = deque()

    @property
    def depth(self) -> int:
        """How many events, or streams if it is behind, wait here."""
        return len(self._items) + (len(self._lanes) if self._lanes else 0)

    def offer(self, event: Event, data: bytes) -> None:
        """One live event, encoded: queue it, or remember where it is."""
        if self._lanes is None:
            self._items.append(data)
            self._events.append(event)
            self._size += len(data)
            if self._size > QUEUE_BYTES and not self._owner.writable:
                self._overflow()
        elif self._until and not self._wants(event):
            return  # its replay, which is due, will tell of it
        else:
            self._lanes.note(event)
        if not self.waiting:
            self.waiting = True
            self._owner.wake(self)

    def add(self, subscription: Subscription, replaces: Subscription | None = None) -> None:
        """Let a subscription have what comes from now on, or what another still had to get."""
        since = self.source.position
        self._since[subscription] = since if replaces is None else self._since[replaces]

    def remove(self, subscription: Subscription) -> None:
        """Let nothing out any more that only this subscription wants."""
        del self._since[subscription]
        self._until.pop(subscription, None)
        self._replays = deque(r for r in self._replays if r.subscription is not subscription)
        if self._events:
            self._hold_positions()  # what waits is read again then, and matched anew

    def replay(self, replay: Replay) -> None:
        """Give a subscription its replay, once what is queued before it is through."""
        self._replays.append(replay)
        self._until[replay.subscription] = self.source.position
        self._hold_positions()
        if not self.waiting:
            self.waiting = True
            self._owner.wake(self)

    def take(self, limit: int) -> list[bytes]:
        """About `limit` bytes, in order. Empty when nothing waits any more.

        Raises:
            Gone: this reader is too far behind.
        """
        if self._lanes is None:
            return self._take_live(limit)
        if self._replays and (self._replays[0].began or not self._lanes):
            items = self._take_replay(self._replays[0], limit)
        else:
            items = self._lanes.take(limit, merge=not self._strict)
            if self._replays and not self._lanes:  # now, or new events would come before it
                items += self._take_replay(self._replays[0], limit)
        if not self._lanes and not self._replays:
            self._lanes = None
        self.waiting = bool(self._lanes or self._replays)
        self.delivered += len(items)
        return items

    def _take_live(self, limit: int) -> list[bytes]:
        items = self._items
        if self._size <= limit:
            self._items, self._events, self._size = [], [], 0
            self.waiting = False
        else:
            count = size = 0
            while size < limit:
                size += len(items[count])
                count += 1
            items = items[:count]
            del self._items[:count], self._events[:count]
            self._size -= size
        self.delivered += len(items)
        return items

    def _take_replay(self, replay: Replay, limit: int) -> list[bytes]:
        if not replay.began:
            self._since[replay.subscription] = replay.begin(self.source)
            del self._until[replay.subscription]
        items, done = replay.take(self.source, self.codec, limit)
        if done:
            self._replays.popleft()
        return items

    @property
    def _strict(self) -> bool:
        return any(not subscription.coalesce for subscription in self._since)

    def _overflow(self) -> None:
        if not self._strict:
            self._hold_positions()
        elif self._size > STRICT_BYTES:
            self._owner.too_slow()

    def _hold_positions(self) -> None:
        """Exchange the queued events for their positions."""
        if self._lanes is None:
            self._lanes = Lanes(self.source, self.codec, self._wants)
            for event in self._events:
                self._lanes.note(event)
            self._items, self._events, self._size = [], [], 0

    def _wants(self, event: Event) -> bool:
        position = event.position
        return any(
            since < position <= self._until.get(subscription, position)
            and subscription.matches(event)
            for subscription, since in self._since.items()
        )
