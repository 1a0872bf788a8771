"""What waits to be handled by one namespace: bounded, and fair to its publishers.

Each publishing connection has an `Ingress`, and they take turns, so that one of
them that floods does not delay the others. A connection that fills the
namespace is not read from until there is room: nothing accepted is dropped.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from msgspec import Raw
from mypy_extensions import mypyc_attr

from broker.auth import Principal
from broker.codec import Codec
from broker.config import Queue as Bound
from broker.errors import Rejected
from broker.event import Sender
from broker.messages import Publish
from broker.outbox import Receipts

RELEASED = 4
"""How many held connections are let in again in one turn, at most."""

SHARES = 64
"""Who has more than a 64th of a full namespace's messages, or brings more than a 64th of
its bytes at once, is held."""

HANDFUL = 16 << 10
"""How many bytes of one connection are taken at once: no more once there are as many. To
decode and check as much takes up to about a slice."""


class Publisher(Protocol):
    """A connection, as far as a namespace it publishes to needs to know it."""

    @property
    def principal(self) -> Principal: ...

    @property
    def sender(self) -> Sender: ...

    @property
    def codec(self) -> Codec: ...

    def refuse(self, error: Rejected, id: int | None, topic: str) -> None:
        """Answer one publish with an error."""

    def acknowledge(self) -> None:
        """Some publishes are through: see its receipts."""

    def defer(self, receipts: Receipts) -> None:
        """Acknowledge nothing from a publish on that waits for something, until `forget`."""

    def forget(self, receipts: Receipts) -> None:
        """It is through as well."""

    def hold(self, intake: "Intake") -> None:
        """Stop reading from this connection: a namespace that it publishes to is full."""

    def release(self, intake: "Intake") -> None:
        """That namespace has room again."""


@mypyc_attr(acyclic=True)
class Queued:
    """A publish as it waits to be handled: what came, looked at once.

    Attributes:
        body: its own bytes, not a slice of what may be a large array.
        key, dedupe: None where it had none.
        id: 0 where it had none.
    """

    __slots__ = ("body", "dedupe", "id", "key", "topic")

    def __init__(self, message: Publish) -> None:
        id, key, dedupe = message.id, message.key, message.dedupe
        self.topic = message.topic
        self.body: Raw = message.body.copy()
        self.id: int = id if isinstance(id, int) else 0
        self.key: str | None = key if isinstance(key, str) else None
        self.dedupe: str | None = dedupe if isinstance(dedupe, str) else None


class Ingress:
    """What one connection has published to one namespace, and is not handled yet.

    Attributes:
        held: it is not read from.
        turns: how many turns what waits has had.
        heavy: what waited the last time had more than one.
        parting: its connection is gone: to be called once all of it is handled.
    """

    __slots__ = ("heavy", "held", "parting", "publisher", "queue", "receipts", "turns")

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.queue: list[Queued] = []
        self.receipts = Receipts()
        self.held = False
        self.turns = 0
        self.heavy = False
        self.parting: Callable[[], None] | None = None

    def part(self) -> None:
        """All of it is handled."""
        parting, self.parting = self.parting, None
        if parting is not None:
            parting()


class Intake:
    """A namespace's bounded queue of publishes.

    Once more waits than it is to hold, those who have more than a share in it are not
    read from, and beyond twice as much nobody is: so that one who floods does not hold
    up those who say little.

    Args:
        bound: how much may wait. It can be exceeded by what one read brought.
        wake: called when there is something to handle.

    Attributes:
        fresh: the connections of which something waits that had nothing waiting before, but
            for heavy ones: they have a turn before the others, so that who says little hardly
            waits for who floods.
        ready: the others of which something waits, each in its turn.
        held: the connections that are not read from, first come first.
        handled: how many publishes were ever taken.
    """

    __slots__ = (
        "_most_bytes", "_most_messages", "_share", "_wake",
        "bytes", "fresh", "handled", "held", "messages", "ready",
    )  # fmt: skip

    def __init__(self, bound: Bound, wake: Callable[[], None]) -> None:
        self.messages = 0
        self.bytes = 0
        self.handled = 0
        self.fresh: deque[Ingress] = deque()
        self.ready: deque[Ingress] = deque()
        self.held: deque[Ingress] = deque()
        self._most_messages = bound.messages
        self._most_bytes = bound.bytes
        self._share = max(1, bound.messages // SHARES)
        self._wake = wake

    def put(self, ingress: Ingress, message: Queued) -> None:
        """Queue one publish; hold its connection if that is too much."""
        queue = ingress.queue
        if not queue:
            (self.ready if ingress.heavy else self.fresh).append(ingress)
            self._wake()
        queue.append(message)
        if message.id:
            ingress.receipts.taken = message.id
        size = len(message.body)
        self.messages += 1
        self.bytes += size
        if self.messages > self._most_messages or self.bytes > self._most_bytes:
            self._hold(ingress, size)

    def _hold(self, ingress: Ingress, size: int) -> None:
        if ingress.held:
            return
        if (
            len(ingress.queue) > self._share
            or size * SHARES > self._most_bytes
            or self.messages > 2 * self._most_messages
            or self.bytes > 2 * self._most_bytes
        ):
            ingress.held = True
            self.held.append(ingress)
            ingress.publisher.hold(self)

    def take(self, ingress: Ingress, limit: int) -> list[Queued]:
        """The next publishes of `ingress`: up to `limit`, or to the one that makes `HANDFUL`."""
        queue = taken = ingress.queue
        size = count = 0
        for message in queue:
            if count >= limit or size >= HANDFUL:
                break
            count += 1
            size += len(message.body)
        if count < len(queue):
            taken = queue[:count]
            del queue[:count]
            ingress.turns += 1
        else:
            ingress.queue = []
            ingress.heavy = ingress.turns > 0
            ingress.turns = 0
        self.messages -= count
        self.handled += count
        self.bytes -= size
        return taken

    @property
    def has_room(self) -> bool:
        """Whether half of the queue is free."""
        return self.messages * 2 <= self._most_messages and self.bytes * 2 <= self._most_bytes

    def release_some(self) -> None:
        """Let held connections be read again, while there is room.

        A few at a time: each may bring a whole read, and together they would refill
        the queue at once.
        """
        for _ in range(min(RELEASED, len(self.held))):
            if not self.has_room:
                return
            ingress = self.held.popleft()
            ingress.held = False
            ingress.publisher.release(self)
