"""One connection's events of one namespace, bounded.

A queue is *live* while the socket takes what comes. Once it does not, or while a
replay is due, the queue keeps positions instead of events (`lane`), and reads
on from them when there is room.
"""

from collections.abc import Sequence
from typing import Protocol

from broker.codec import Codec
from broker.envelope import Piece
from broker.event import Event
from broker.lane import Lane, Latest, Positions, Source
from broker.replay import Replay, Subscription
from broker.wishes import Wishes

QUEUE_BYTES = 64 << 10
"""How much a queue holds for a socket that does not take it, before it keeps positions."""

STRICT_BYTES = 256 << 10
"""The same for a reader that refuses merging: past it, it cannot keep up."""

MOST_GATHERED = 1000
GATHERED_BYTES = 256 << 10
"""How many events of one stream are gathered, at most, for one that asked for merging, and how
many bytes of them all: past it, it keeps positions."""


class Owner(Protocol):
    """The outbox that a queue is part of."""

    @property
    def writable(self) -> bool: ...

    def wake(self, queue: "Queue") -> None:
        """`queue` has something to send."""

    def denied(self) -> None:
        """A queue that is behind may read no more in this turn."""

    def too_slow(self) -> None:
        """The reader cannot keep up with what it asked for."""


class Queue:
    """One connection's events of one namespace.

    Args:
        owner: the outbox.
        codec: the connection's encoding.
        source: the namespace.
        weight: its share, when several have something to send.

    Attributes:
        live: events are offered as they come; if not, they are noted.
        rolls: some subscription asked for merging (`rollup`), so that events may be
            gathered before they are offered.
    """

    __slots__ = (
        "_gathered", "_gathered_size", "_lane", "_owner", "_pieces", "_replays", "_size", "_wishes",
        "codec", "live", "rolls", "source", "waiting", "weight",
    )  # fmt: skip

    def __init__(self, owner: Owner, codec: Codec, source: Source, weight: int) -> None:
        self.codec = codec
        self.source = source
        self.weight = weight
        self.live = True
        self.rolls = False
        self.waiting = False
        self._owner = owner
        self._wishes = Wishes()
        self._pieces: list[Piece] = []
        self._size = 0
        self._gathered: dict[str, list[Event]] = {}
        self._gathered_size = 0
        self._lane: Lane | None = None  # while it is not live
        self._replays: dict[Subscription, Replay] = {}

    @property
    def depth(self) -> int:
        """How many events, or streams if it is behind, wait here."""
        waiting = sum(piece.count for piece in self._pieces)
        return waiting + (len(self._lane) if self._lane is not None else 0)

    # ------------------------------------------------------------- what comes in

    def offer(self, piece: Piece) -> None:
        """Live events, encoded."""
        if not self.live:  # an event that was offered together with these filled the queue
            self.note(piece.events)
            return
        self._pieces.append(piece)
        self._size += len(piece.data)
        if not self.waiting:
            self.waiting = True
            self._owner.wake(self)
        if self._size > QUEUE_BYTES and not self._owner.writable:
            self._overflow()

    def note(self, run: Sequence[Event]) -> None:
        """Events of one topic and key, while this queue is not live: where they are."""
        assert self._lane is not None
        if self._wishes.due:
            run = [event for event in run if self._wishes.want(event)]
            if not run:
                return  # its replay, which is due, will tell of it
        if type(self._lane) is Positions and self.source.latest and self._may_thin:
            self._lane = self._lane.latest()
        self._lane.note(run)
        self._wake()

    def window(self, event: Event) -> int:
        """The shortest `rollup` of the subscriptions for `event`, in ms."""
        return self._wishes.window(event)

    def gather(self, events: Sequence[Event]) -> None:
        """Keep live events of one stream until they are `gathered`."""
        if not self.live:
            self.note(events)
            return
        kept = self._gathered.setdefault(events[0].key, [])
        kept.extend(events)
        self._gathered_size += _size(events)
        if len(kept) > MOST_GATHERED or self._gathered_size > GATHERED_BYTES:
            self._hold_positions()

    def gathers(self, key: str) -> bool:
        return key in self._gathered

    def gathered(self, key: str) -> Sequence[Event]:
        """The events kept of a stream; none if they have become positions."""
        events = self._gathered.pop(key, ())
        self._gathered_size -= _size(events)
        return events

    # ------------------------------------------------------------- subscriptions

    def add(self, subscription: Subscription, replaces: Subscription | None = None) -> None:
        """Let a subscription have what comes from now on, or what another still had to get."""
        wishes = self._wishes
        if replaces is None:
            wishes.add(subscription, self.source.position)
        else:
            wishes.add(subscription, wishes.since(replaces), wishes.covers(replaces))
        self.rolls = wishes.rolling > 0
        if not subscription.coalesce and isinstance(self._lane, Latest):
            self._owner.too_slow()  # what it must not miss is being left out already

    def remove(self, subscription: Subscription) -> None:
        """Let nothing out any more that only this subscription wants."""
        self._wishes.remove(subscription)
        self.rolls = self._wishes.rolling > 0
        replay = self._replays.pop(subscription, None)
        if replay is not None:
            replay.close(self.source)
        if self._lane is None:
            if self._pieces or self._gathered:
                self._hold_positions()  # what waits is read again then, and matched anew
        elif replay is not None and replay.told:
            self._wake()  # others may have waited for it

    def close(self) -> None:
        """The connection is gone: nothing goes out any more."""
        self._wishes = Wishes()
        for replay in self._replays.values():
            replay.close(self.source)
        self._replays.clear()
        self._forget_events()
        self._lane = None
        self.live = True

    def replay(self, replay: Replay) -> None:
        """Give a subscription its replay, once what is queued before it is through."""
        self._replays[replay.subscription] = replay
        replay.wait(self.source)
        self._wishes.await_replay(replay.subscription, self.source.position)
        self._hold_positions()
        self._wake()

    # ------------------------------------------------------------- what goes out

    def take(self, limit: int) -> list[Piece]:
        """About `limit` bytes, in order. Empty when nothing waits any more.

        Raises:
            Gone: this reader is too far behind.
        """
        lane = self._lane
        if lane is None:
            if self._size > limit:
                return self._take_some(limit)
            pieces, self._pieces, self._size = self._pieces, [], 0
            self.waiting = False
            return pieces
        replay = self._next_replay
        if replay is not None and replay.told:
            self.waiting = False  # until it is over
            return []
        if not self.source.may_read:
            self._owner.denied()
            return []
        if replay is not None and (replay.began or not lane):
            pieces = self._take_replay(replay, limit)
        else:
            pieces = lane.take(limit)
            if replay is not None and not lane:  # now, or new events would come before it
                pieces += self._take_replay(replay, limit)
        if not lane and not self._replays:
            self._lane = None
            self._wishes.caught_up()
            self.live = True
        self.waiting = bool(lane or self._replays)
        return pieces

    @property
    def _next_replay(self) -> Replay | None:
        return next(iter(self._replays.values()), None)

    def _take_some(self, limit: int) -> list[Piece]:
        """About `limit` bytes of live events, of which there are more."""
        count = size = 0
        while size < limit:
            size += len(self._pieces[count].data)
            count += 1
        taken = self._pieces[:count]
        del self._pieces[:count]
        self._size -= size
        self.waiting = bool(self._pieces)
        return taken

    def _take_replay(self, replay: Replay, limit: int) -> list[Piece]:
        if not replay.began:
            since = replay.begin(self.source)
            self._wishes.begin_replay(replay.subscription, since, replay.covers)
        return replay.take(self.source, self.codec, limit, self._replay_over)

    def _replay_over(self) -> None:
        """The first replay is over: on with what has come since."""
        del self._replays[next(iter(self._replays))]
        self._wake()

    def _wake(self) -> None:
        if not self.waiting:
            self.waiting = True
            self._owner.wake(self)

    def _forget_events(self) -> None:
        self._pieces, self._size = [], 0
        self._gathered, self._gathered_size = {}, 0

    # ------------------------------------------------------------- falling behind

    @property
    def _may_thin(self) -> bool:
        """Whether this reader is behind, and events may be left out for it."""
        return not self._owner.writable and not self._wishes.strict

    def _overflow(self) -> None:
        if not self._wishes.forbid_merging(self._pieces[-1].events[0]):
            self._hold_positions(latest=self.source.latest and not self._wishes.strict)
        elif self._size > STRICT_BYTES:
            self._hold_positions()  # its socket may take long to end
            self._owner.too_slow()

    def _hold_positions(self, *, latest: bool = False) -> None:
        """Exchange the queued events for their positions, or for the latest of them."""
        if self._lane is None:
            self.live = False
            kind = Latest if latest else Positions
            self._lane = kind(self.source, self.codec, self._wishes)
            for piece in self._pieces:
                self._lane.note(piece.events)
            for events in self._gathered.values():
                self._lane.note(events)
            self._forget_events()
            if self._lane:  # there may have been gathered events alone
                self._wake()


def _size(events: Sequence[Event]) -> int:
    size = 0
    for event in events:  # a `sum` would cost as much as all else that is done with one event
        size += len(event.raw)
    return size
