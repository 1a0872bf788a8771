"""An HTTP request as a connection of the broker: one session, whose socket is a response.

What the broker says to it comes as JSON, as to a WebSocket. Answers to what it has
published are kept for whoever asked; all else is rendered into the response's body.
"""

import asyncio
from collections.abc import Hashable, Sequence
from typing import Protocol

import structlog
from msgspec import Raw

from broker.codec import JSON
from broker.messages import Error, Publish, Subscribe
from broker.transports import told as read
from broker.transports.batch import Batch
from broker.transports.handshake import Target
from broker.transports.heartbeat import Pulse
from broker.transports.port import Port
from broker.transports.streaming import HttpConnection
from broker.transports.told import Told
from broker.transports.unsent import hold_little

log = structlog.get_logger(__name__)

ROOM = 16 << 10
"""How many bytes of events are written in one turn, about, to a socket that takes them."""

HEARTBEAT = b": heartbeat\n\n"
"""What a stream says that has said nothing for a while. It is a comment."""


class Render(Protocol):
    """Makes a response's body of what the broker says."""

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""

    def begin(self) -> bytes:
        """What the body begins with."""

    def event(self, told: Told, raw: bytes | Raw) -> bytes:
        """One event, which came as `raw`: zero or more whole events of the response's."""

    def message(self, told: Told, raw: bytes | Raw) -> bytes:
        """Likewise, of any other message of the broker's."""


class Caller:
    """One HTTP request's session. See `Wire`, `Outlet`, `Guest`, `Beating`.

    Whoever makes one has to `leave`.

    Raises:
        Closed: it is not let in.

    Attributes:
        done: is set when the response's body is complete, or the peer has gone away.
    """

    def __init__(
        self,
        port: Port,
        connection: HttpConnection,
        server: str | None,
        client: str | None = None,
    ) -> None:
        self.open = True
        self.paused = False
        self.heard = self.spoke = True
        self.pulse = Pulse()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._port = port
        self._connection = connection
        self._last_id = 0
        self._batch: Batch | None = None
        self._early: list[tuple[Told, bytes | Raw]] = []
        self._render: Render | None = None
        self._chunked = True
        self._transport: asyncio.Transport | None = None  # once it streams
        self._closed = False
        wanted = Target(server, client, beside=True)
        self.session = port.admit(self, JSON, wanted, connection.peer)
        connection.guest = self

    @property
    def name(self) -> str:
        """The connection's id."""
        return self.session.name

    # ------------------------------------------------------------- what a request asks

    async def publish(self, messages: Sequence[Publish]) -> list[Error | None]:
        """Publish, and wait until each is answered; None is its acceptance.

        One such request at a time; their ids are the caller's.
        """
        first = self._last_id + 1
        for message in messages:
            self._last_id += 1
            message.id = self._last_id
        if not messages:
            return []
        batch = self._batch = Batch(first, self._last_id)
        if self._closed:
            batch.give_up("shutting_down", "the broker has closed this connection")
        self.session.perform(messages)
        await batch.settled
        self._batch = None
        return batch.answers

    def subscribe(self, message: Subscribe) -> Error | None:
        """Subscribe: its events wait until there is a `render` for them. Returns the refusal."""
        self._last_id += 1
        message.id = self._last_id
        batch = self._batch = Batch(message.id, message.id)
        self.session.perform([message])
        self.session.outbox.flush()
        self._batch = None
        return batch.answers[0]

    def render(self, render: Render) -> None:
        """What comes is rendered from now on; it is written once the response `stream`s."""
        self._render = render
        self.session.outbox.touch()

    def stream(self) -> None:
        """The response's head is written: now its body, as things come."""
        assert self._render is not None
        hold_little(self._connection.transport)
        self._chunked = self._connection.chunked
        self._transport = self._connection.transport
        self._port.beats.add(self)
        early = [self._render.message(told, raw) for told, raw in self._early]
        self._early.clear()
        self._write(self._render.begin() + b"".join(early))

    def say(self, data: bytes) -> None:
        """Write something that no message is the reason of."""
        self._write(data)
        if self._render is not None and self._render.ended:
            self._finish()

    def leave(self) -> None:
        """It is over."""
        if self._connection.guest is self:
            self._connection.guest = None
        self._port.beats.discard(self)
        if self.open:
            self.open = False
            self.session.lost()

    # ------------------------------------------------------------- Outlet

    @property
    def room(self) -> int:
        return ROOM if self._render is not None and not self.paused else 0

    def send(self, payload: bytes) -> None:
        if payload.startswith(b"["):
            self.say(b"".join([self._take(raw) for raw in read.each(payload)]))
        else:
            self.say(self._take(payload))

    def _take(self, raw: bytes | Raw) -> bytes:
        told = read.told(raw)
        render = self._render
        if told.op == "event":
            return b"" if render is None or render.ended else render.event(told, raw)
        if told.op == "ack" and self._batch is not None:
            self._batch.accept(told.id)
        elif told.op == "error" and self._batch is not None:
            self._batch.refuse(read.error(raw))
        elif told.op == "subscribed" and self._transport is None:
            self._early.append((told, raw))
        elif render is not None and not render.ended:
            return render.message(told, raw)
        return b""

    def _write(self, data: bytes) -> None:
        """Some of the response's body, in one write."""
        transport = self._transport
        if data and transport is not None and self.open and not transport.is_closing():
            self.spoke = True
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    # ------------------------------------------------------------- Wire

    @property
    def outlet(self) -> "Caller":
        return self

    def close(self, code: int, reason: str) -> None:
        self._closed = True
        if self._batch is not None:
            self._batch.give_up("shutting_down" if code == 4100 else "internal", reason)
        self._finish()

    def hold(self, reason: Hashable) -> None:
        """It brings nothing more than its request, which has been read."""

    def release(self, reason: Hashable) -> None:
        """Likewise."""

    def stop_reading(self) -> None:
        """Likewise."""

    # ------------------------------------------------------------- Guest

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self.heard = True
        self.session.outbox.touch()

    def lost(self) -> None:
        self.paused = False
        self._finish()

    # ------------------------------------------------------------- Beating

    @property
    def reading(self) -> bool:
        """Whether silence says something: there is something that the peer does not take."""
        return self.paused

    def ping_frame(self) -> None:
        """A response has no control frames."""

    def ping_message(self) -> None:
        if not self.paused:
            self._write(HEARTBEAT)

    def dead(self) -> None:
        log.info("reader stalled", connection=self.session.name)
        self._connection.abort()
