"""One connection's subscriptions in one namespace, and which of them want an event.

Its queue asks for each event that it does not send at once. So the answer must not cost
more for a thousand subscriptions than for one: they are found by the stream's key, and what
was found is remembered.
"""

from collections.abc import Iterable, Mapping
from itertools import chain

from broker.event import Event
from broker.replay import Subscription

REMEMBERED = 1000
"""Of how many topics and keys it is remembered which subscriptions match."""


class Wishes:
    """The subscriptions of one queue; each is live after a position, and may be due a replay.

    Attributes:
        rolling: how many of them asked for merging (`rollup`).
        strict: how many refuse it (`coalesce`).
    """

    __slots__ = (
        "_by_key",
        "_covers",
        "_every_key",
        "_matching",
        "_since",
        "_until",
        "rolling",
        "strict",
    )

    def __init__(self) -> None:
        self.rolling = 0
        self.strict = 0
        self._since: dict[Subscription, int] = {}  # after which position each is live
        self._until: dict[Subscription, int] = {}  # and up to which, while its replay is due
        self._covers: dict[Subscription, Mapping[str, int]] = {}  # what a replay told beyond that
        self._by_key: dict[str, dict[Subscription, None]] = {}
        self._every_key: dict[Subscription, None] = {}
        self._matching: dict[tuple[str, str], list[Subscription]] = {}

    def add(
        self, subscription: Subscription, since: int, covers: Mapping[str, int] | None = None
    ) -> None:
        """One more, which is live after the position `since`; some streams are after later ones,
        by key (`covers`), until it has `caught_up`."""
        self._since[subscription] = since
        if covers is not None:
            self._covers[subscription] = covers
        key = subscription.key
        same = self._every_key if key is None else self._by_key.setdefault(key, {})
        same[subscription] = None
        self._count(subscription, 1)

    def remove(self, subscription: Subscription) -> None:
        """One less."""
        del self._since[subscription]
        self._until.pop(subscription, None)
        self._covers.pop(subscription, None)
        key = subscription.key
        if key is None:
            del self._every_key[subscription]
        else:
            same = self._by_key[key]
            del same[subscription]
            if not same:
                del self._by_key[key]
        self._count(subscription, -1)

    def _count(self, subscription: Subscription, change: int) -> None:
        self._matching.clear()
        if subscription.rollup:
            self.rolling += change
        if not subscription.coalesce:
            self.strict += change

    def since(self, subscription: Subscription) -> int:
        """After which position it is live."""
        return self._since[subscription]

    def covers(self, subscription: Subscription) -> Mapping[str, int] | None:
        """See `add`."""
        return self._covers.get(subscription)

    def told(self, key: str) -> int:
        """The position up to which replays have told a stream to everybody here."""
        covers = self._covers
        if not covers:
            return 0
        wishes = chain(self._by_key.get(key, ()), self._every_key)
        return min([covers[w].get(key, 0) if w in covers else 0 for w in wishes], default=0)

    def caught_up(self) -> None:
        """Everything up to now has been told."""
        self._covers.clear()

    @property
    def due(self) -> bool:
        """Whether some are due a replay."""
        return bool(self._until)

    def await_replay(self, subscription: Subscription, until: int) -> None:
        """Its replay, which is due, will tell of what came after the position `until`."""
        self._until[subscription] = until

    def begin_replay(
        self, subscription: Subscription, since: int, covers: Mapping[str, int]
    ) -> None:
        """Its replay has begun, and tells of everything up to the position `since`; and of some
        streams up to others, by key, which is going to stand in `covers`."""
        self._since[subscription] = since
        self._covers[subscription] = covers
        del self._until[subscription]

    def want(self, event: Event) -> bool:
        """Whether one of them is live, and matches."""
        position = event.position
        for wish in self._match(event):
            if self._since[wish] < position <= self._until.get(wish, position):
                covers = self._covers.get(wish)
                if covers is None or covers.get(event.key, 0) < position:
                    return True
        return False

    def forbid_merging(self, event: Event) -> bool:
        """Whether one that matches wants each event alone."""
        if not self.strict:
            return False
        return any(not wish.coalesce for wish in self._match(event))

    def window(self, event: Event) -> int:
        """The shortest `rollup` of those that match, in ms."""
        if len(self._since) == 1:  # as is usual; and it matches, or we were not asked
            return next(iter(self._since)).rollup
        return min([wish.rollup for wish in self._match(event)], default=0)

    def _match(self, event: Event) -> list[Subscription]:
        name = event.topic, event.key
        found = self._matching.get(name)
        if found is None:
            if len(self._matching) >= REMEMBERED:
                self._matching.clear()
            keyed: Iterable[Subscription] = self._by_key.get(event.key, ())
            found = [wish for wish in chain(keyed, self._every_key) if wish.matches(event)]
            self._matching[name] = found
        return found
