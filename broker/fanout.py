"""From a committed event to the queues of its readers, encoded once per codec."""

from msgspec import UNSET

from broker.codec import JSON, Codec, transcode
from broker.messages import EventMessage
from broker.plugin import Event
from broker.queue import Queue
from broker.subscriptions import Subscriptions


class Fanout:
    """The readers of one namespace.

    Args:
        epoch: names the engine's numbering, so that a cursor of another is noticed.
    """

    def __init__(self, epoch: str) -> None:
        self.subscriptions: Subscriptions[Queue] = Subscriptions()
        self.delivered = 0
        self._epoch = epoch

    def deliver(self, event: Event) -> None:
        """Offer one event to every connection that has a subscription for it."""
        json: bytes | None = None
        msgpack: bytes | None = None
        for queue in self.subscriptions.readers(event.topic, event.key):
            if queue.codec is JSON:
                data = json = json or self.encode(event, JSON)
            else:
                data = msgpack = msgpack or self.encode(event, queue.codec)
            queue.offer(event, data)
            self.delivered += 1

    def encode(self, event: Event, codec: Codec, sub: int | None = None) -> bytes:
        """The event as it goes to a client; with `sub`, as a part of that replay.

        An event without a position, such as one of a snapshot, has no cursor.
        """
        return codec.encode(
            EventMessage(
                event.topic,
                event.time,
                event.raw if event.codec is codec else transcode(event.raw, event.codec, codec),
                event.key or UNSET,
                self.cursor(event.position) if event.position and sub is None else UNSET,
                UNSET if sub is None else sub,
            )
        )

    def cursor(self, position: int) -> str:
        """A position as clients see it."""
        return f"{self._epoch}.{position}"
