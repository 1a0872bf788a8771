"""Who of those that matter to some streams is connected, and since when the others are not."""

from collections import Counter
from collections.abc import Iterable

from broker.plugin import Sender


class Presence:
    """Senders by identity, and the streams that each matters to.

    It is no part of a stream's state, which a restarted broker folds again from what is
    stored: it then knows whom a stream waits for, and nobody of them is connected yet.

    Args:
        grace: how long a stream waits for whom it depends on, in ms. Whoever has left is
            remembered for as long, though nothing depends on it: something of it may still be
            under way by which a stream will. After that it makes no difference when it left.
    """

    def __init__(self, grace: int) -> None:
        self._grace = grace
        self._connected: Counter[str] = Counter()
        self._left: dict[str, int] = {}
        self._streams: dict[str, Counter[str]] = {}
        self._load: Counter[str] = Counter()

    def matters(self, sender: Sender, key: str, times: int = 1) -> None:
        """The stream `key` depends on this sender, in so many respects."""
        identity = sender.identity
        streams = self._streams.setdefault(identity, Counter())
        self._load[identity] += times - streams[key]
        streams[key] = times

    def settled(self, sender: Sender, key: str) -> None:
        """It does not any more."""
        identity = sender.identity
        streams = self._streams.get(identity)
        if streams is not None:
            self._load[identity] -= streams.pop(key, 0)
            if not streams:
                del self._streams[identity], self._load[identity]

    def load(self, sender: Sender) -> int:
        """In how many respects streams depend on it."""
        return self._load.get(sender.identity, 0)

    def joined(self, sender: Sender) -> Iterable[str]:
        """It is connected. Returns the streams that depend on it."""
        identity = sender.identity
        self._connected[identity] += 1
        self._left.pop(identity, None)
        return tuple(self._streams.get(identity, ()))

    def left(self, sender: Sender, now: int) -> Iterable[str]:
        """One connection of it is gone. Returns the streams that depend on it."""
        identity = sender.identity
        self._connected[identity] -= 1
        if self._connected[identity] > 0:
            return ()
        del self._connected[identity]
        self._forget(now)
        self._left[identity] = now
        return tuple(self._streams.get(identity, ()))

    def _forget(self, now: int) -> None:
        """Forget those who left longer than a grace period ago: the first ones."""
        while self._left:
            identity = next(iter(self._left))
            if now - self._left[identity] <= self._grace:
                return
            del self._left[identity]

    def gone_since(self, sender: Sender, started: int) -> int | None:
        """When it left, in Unix ms; None while it is connected.

        One that was not seen since the broker `started` counts as gone since then; so does
        one that left longer than the grace period ago: it is over for both.
        """
        identity = sender.identity
        if self._connected.get(identity):
            return None
        return self._left.get(identity, started)
