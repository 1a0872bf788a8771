"""What is published, and by whom: the envelope that goes through the broker."""

from typing import Any

from msgspec import Raw
from mypy_extensions import mypyc_attr

from broker.codec import JSON, Codec


@mypyc_attr(acyclic=True)
class Sender:
    """Who published: stored with the event, since ownership is part of a stream's state.
    Never changed.

    Attributes:
        principal: the principal's name.
        client: a digest of the process's secret, or None where it gave none.
        connection: the connection's id.
    """

    __slots__ = ("client", "connection", "principal")

    def __init__(self, principal: str, client: str | None, connection: str) -> None:
        self.principal = principal
        self.client = client
        self.connection = connection

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sender):
            return NotImplemented
        return (
            self.connection == other.connection
            and self.client == other.client
            and self.principal == other.principal
        )

    def __hash__(self) -> int:
        return hash((self.principal, self.client, self.connection))

    def is_same(self, other: "Sender") -> bool:
        """Whether both are one sender: the same client, or without one the same connection."""
        if self.client is None:
            return self.connection == other.connection
        return self.client == other.client and self.principal == other.principal

    @property
    def identity(self) -> str:
        """The same for senders that are the same (`is_same`), and for no others."""
        if self.client is None:
            return self.connection
        return f"{self.client}:{self.principal}"


BROKER = Sender("broker", None, "broker")
"""The sender of what the broker itself publishes."""


@mypyc_attr(acyclic=True)
class Event:
    """One envelope at one position of its stream. Never changed once it is appended.

    Attributes:
        topic: where it was published.
        key: which stream of the namespace; "" where the namespace's topic has no key.
        body: the checked body, of its topic's type: while a plugin is asked about the
            event, and None once it is only retained. A state keeps what it needs of it.
        raw: the body's bytes as they came, in `codec`. Unknown fields live only here.
        time: its acceptance in Unix ms. It never orders anything.
        sender: who published it.
        extended: whether `raw` has fields that the body's type does not know.
        dedupe: a name given by its publisher, or None.
        position: its place in the namespace, growing; 0 until it is appended.
    """

    __slots__ = (
        "body", "codec", "dedupe", "extended", "key", "position", "raw", "sender", "time", "topic",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        key: str,
        body: Any,
        raw: Raw,
        time: int,
        sender: Sender,
        codec: Codec = JSON,
        extended: bool = False,
        dedupe: str | None = None,
    ) -> None:
        self.topic = topic
        self.key = key
        self.body = body
        self.raw = raw
        self.time = time
        self.sender = sender
        self.codec = codec
        self.extended = extended
        self.dedupe = dedupe
        self.position = 0

    @classmethod
    def of(cls, topic: str, key: str, body: Any, time: int, sender: Sender = BROKER) -> "Event":
        """An event that the broker makes itself, such as one of a snapshot."""
        return cls(topic, key, body, Raw(JSON.encode_any(body)), time, sender)

    def __repr__(self) -> str:
        return f"<Event {self.topic} {self.key!r} at {self.position}>"
