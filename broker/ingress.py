"""What waits to be handled by one namespace: bounded, and fair to its publishers.

Each publishing connection has an `Ingress`, and they take turns, so that one of
them that floods does not delay the others. A connection that fills the
namespace is not read from until there is room: nothing accepted is dropped.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from msgspec import UNSET

from broker.auth import Principal
from broker.codec import Codec
from broker.config import Queue as Bound
from broker.errors import Rejected
from broker.messages import Publish
from broker.outbox import Receipts
from broker.plugin import Sender

RELEASED = 4
"""How many held connections are let in again in one turn, at most."""


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

    def hold(self, intake: "Intake") -> None:
        """Stop reading from this connection: a namespace that it publishes to is full."""

    def release(self, intake: "Intake") -> None:
        """That namespace has room again."""


class Ingress:
    """What one connection has published to one namespace, and is not handled yet."""

    __slots__ = ("held", "publisher", "queue", "receipts")

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.queue: deque[Publish] = deque()
        self.receipts = Receipts()
        self.held = False


class Intake:
    """A namespace's bounded queue of publishes.

    Args:
        bound: how much may wait. It can be exceeded by what one read brought.
        wake: called when there is something to handle.

    Attributes:
        ready: the connections that have something, each in its turn.
        held: the connections that are not read from, first come first.
    """

    __slots__ = ("_bound", "_wake", "bytes", "held", "messages", "ready", "received")

    def __init__(self, bound: Bound, wake: Callable[[], None]) -> None:
        self.messages = 0
        self.bytes = 0
        self.received = 0
        self._bound = bound
        self._wake = wake
        self.ready: deque[Ingress] = deque()
        self.held: deque[Ingress] = deque()

    def put(self, ingress: Ingress, message: Publish) -> None:
        """Queue one publish; hold its connection if that fills the namespace."""
        if not ingress.queue:
            self.ready.append(ingress)
            self._wake()
        ingress.queue.append(message)
        if message.id is not UNSET:
            ingress.receipts.taken = message.id
        self.received += 1
        self.messages += 1
        self.bytes += len(message.body)
        if (
            self.messages > self._bound.messages or self.bytes > self._bound.bytes
        ) and not ingress.held:
            ingress.held = True
            self.held.append(ingress)
            ingress.publisher.hold(self)

    def take(self, ingress: Ingress, limit: int) -> list[Publish]:
        """The next publishes of `ingress`, up to `limit`."""
        queue = ingress.queue
        if len(queue) <= limit:
            taken = list(queue)
            queue.clear()
        else:
            taken = [queue.popleft() for _ in range(limit)]
        self.messages -= len(taken)
        self.bytes -= sum([len(message.body) for message in taken])
        return taken

    @property
    def has_room(self) -> bool:
        """Whether half of the queue is free."""
        bound = self._bound
        return self.messages * 2 <= bound.messages and self.bytes * 2 <= bound.bytes

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
