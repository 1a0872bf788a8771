"""One connection's protocol: messages in, actions out. No I/O.

The transport hands it what came (`receive`) and what happened (`lost`); it
queues publishes with their namespaces (`Ties`), hands what is to be read to its `Reader`,
and answers through its `Outbox`. (docs/protocol.md)
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator

import structlog
from msgspec import UNSET, UnsetType

from broker.auth import Principal
from broker.codec import Codec, Malformed
from broker.errors import Closed, Rejected
from broker.event import Event, Sender
from broker.fanout import Fanout
from broker.ingress import Intake
from broker.messages import (
    ClientMessage,
    Hello,
    Ping,
    Pong,
    Publish,
    Refresh,
    Refreshed,
    Subscribe,
    Unsubscribe,
)
from broker.outbox import Outbox, Receipts, Wire
from broker.reader import Reader
from broker.router import Reach
from broker.sessions import Sessions
from broker.ties import Ties
from broker.topics import check_key
from broker.work import Worker

log = structlog.get_logger(__name__)

MIN_CLIENT = 16
"""How long the secret is, at least, by which a process is known across reconnects."""

MAX_MALFORMED = 100
"""How many bad objects of one message are answered, each: past it, this is no client."""

AT_ONCE = 512
"""How many operations of one message are handled before others have their turn; one that
is malformed counts as `LONG_WAY`."""

LONG_WAY = 16


class Session:
    """One connection. See `Publisher` for what its namespaces know of it.

    Args:
        shared: all connections.
        wire: the socket below.
        codec: its encoding.
        server: the named server, or None for all of them.
        reach: the namespaces that it may touch.
        principal: who it is.
        client: its secret across reconnects, where it came with the request.
        beside: it supersedes no other connection of its client, nor do they it.

    Raises:
        Closed: 4009, the secret is too short.
    """

    __slots__ = (
        "_greeted", "_last_id", "_lost", "_malformed", "_over", "_reach", "_rest", "_shared",
        "_ties", "beside", "codec", "outbox", "principal", "reader", "received", "sender", "server",
    )  # fmt: skip

    def __init__(
        self,
        shared: Sessions,
        wire: Wire,
        codec: Codec,
        server: str | None,
        reach: Reach,
        principal: Principal,
        client: str | None = None,
        beside: bool = False,
    ) -> None:
        if client is not None and len(client) < MIN_CLIENT:
            raise Closed(4009, f"client: at least {MIN_CLIENT} characters")
        self.beside = beside
        self.codec = codec
        self.server = server
        self.principal = principal
        self.sender = Sender(principal.name, None, secrets.token_urlsafe(9))
        self.outbox = Outbox(codec, wire, shared.scheduler.touched, shared.scheduler.postponed)
        self.reader = Reader(self.outbox, shared.config.limits.max_subscriptions)
        self.received = 0
        self._shared = shared
        self._reach = reach
        self._greeted = False
        self._last_id = 0
        self._malformed = 0
        self._rest: Iterator[ClientMessage | Malformed] | None = None
        self._lost = False
        self._over = False
        self._ties = Ties(self, reach, self.outbox)
        shared.live.add(self)
        shared.opened += 1
        self.outbox.reply(shared.welcome(self, reach.namespaces))
        if client is not None:
            self._identify(client)

    @property
    def name(self) -> str:
        """The connection's id, as `welcome` tells it and the log has it."""
        return self.sender.connection

    # ------------------------------------------------------------- what the transport tells

    def receive(self, data: bytes) -> None:
        """One WebSocket message. The next may come when `Wire.hold` has no reason left.

        Raises:
            UnicodeDecodeError: it is text, but not UTF-8.
        """
        self.perform(self.codec.decode_client(data))

    def perform(self, messages: Iterable[ClientMessage | Malformed]) -> None:
        """The operations of one message."""
        self._malformed = 0
        self._handle(iter(messages))

    def _handle(self, messages: Iterator[ClientMessage | Malformed]) -> bool:
        """The operations of one message; those over `AT_ONCE` when the others had a turn.

        Returns whether that was all of them.
        """
        left = AT_ONCE
        for message in messages:
            if self._over:
                return True
            self.received += 1
            if type(message) is Publish:
                self._publish(message)
            elif isinstance(message, Malformed):
                self._malformed += 1
                if self._malformed > MAX_MALFORMED:
                    self.end(4009, f"over {MAX_MALFORMED} malformed objects in one message")
                    return True
                self._answer(message.error, message.id)
                left -= LONG_WAY
            else:
                self._operate(message)
            left -= 1
            if left <= 0:
                self._rest = messages
                self.outbox.wire.hold("message")  # the next one comes behind this one's rest
                self._shared.scheduler.next_turn(self._go_on)
                return False
        return True

    def _go_on(self) -> None:
        assert self._rest is not None
        try:
            done = self._handle(self._rest)
        except Exception:
            log.exception("connection failed", connection=self.name)
            self.outbox.wire.close(1011, "internal error")
            done = True
        if done:
            self._rest = None
            self.outbox.wire.release("message")
            if self._lost:
                self.lost()

    def lost(self) -> None:
        """The connection is gone. What it published before stays accepted; and of a message
        that came whole, all of it is handled first."""
        self._lost = True
        if self._rest is not None:
            return
        self._over = True
        self._ties.leave()
        self.reader.close()
        self._shared.forget(self)

    def end(self, code: int, reason: str = "") -> None:
        """Say goodbye, and close."""
        self._over = True
        self.reader.retire()
        self.outbox.end(code, reason)

    # ------------------------------------------------------------- what namespaces tell

    def refuse(self, error: Rejected, id: int | None, topic: str) -> None:
        self._answer(error, id or UNSET, topic)

    def acknowledge(self) -> None:
        self.outbox.touch()

    def defer(self, receipts: Receipts) -> None:
        self.outbox.defer(receipts)

    def forget(self, receipts: Receipts) -> None:
        self.outbox.forget(receipts)

    def hold(self, intake: Intake) -> None:
        self.outbox.wire.hold(intake)

    def release(self, intake: Intake) -> None:
        self.outbox.wire.release(intake)

    def tell(self, data: bytes) -> None:
        if not self.beside:  # what is no part of its subscriptions would have it resume wrongly
            self.outbox.tell(data)

    def reads(self, fanout: Fanout, event: Event) -> bool:
        readers = fanout.subscriptions.readers(event.topic, event.key)
        return any(queue in readers for queue in self.reader.queues.values())

    # ------------------------------------------------------------- publish

    def _publish(self, message: Publish) -> None:
        id = message.id
        self._greeted = True
        try:
            if isinstance(id, int):
                self._check_id(id)
            known = self._ties.ways.get(message.topic)
            namespace, ingress = known if known is not None else self._ties.way(message.topic)
            namespace.enqueue(ingress, message)
        except Rejected as error:
            self._answer(error, id, message.topic)

    # ------------------------------------------------------------- the other operations

    def _operate(self, message: ClientMessage) -> None:
        id: int | UnsetType = UNSET if isinstance(message, Hello) else message.id
        try:
            if isinstance(message, Hello):
                self._hello(message)
                return
            self._greeted = True
            if id is not UNSET:
                self._check_id(id)
            if isinstance(message, Subscribe):
                self._subscribe(message)
            elif isinstance(message, Unsubscribe):
                self.reader.unsubscribe(message)
            elif isinstance(message, Refresh):
                self.outbox.reply(Refreshed(message.id))
            elif isinstance(message, Ping):
                self.outbox.reply(Pong(message.id))
        except Rejected as error:
            topic = message.topic if isinstance(message, Subscribe | Unsubscribe) else UNSET
            self._answer(error, id, topic)

    def _hello(self, message: Hello) -> None:
        if self._greeted:
            raise Rejected("bad_message", "hello: comes once, before all other operations")
        self._greeted = True
        if message.client is UNSET:
            return
        if len(message.client) < MIN_CLIENT:
            raise Rejected("bad_message", f"hello: client has at least {MIN_CLIENT} characters")
        if self.sender.client is not None:
            raise Rejected("bad_message", "hello: the client came with the request already")
        self._identify(message.client)

    def _identify(self, client: str) -> None:
        """Be known by `client`: of it only a digest is kept."""
        digest = hashlib.sha256(client.encode()).hexdigest()[:32]
        self.sender = Sender(self.principal.name, digest, self.sender.connection)
        if not self.beside:
            self._shared.identify(self, digest)
        self._ties.join()

    def _subscribe(self, message: Subscribe) -> None:
        key = None if message.key is UNSET else message.key
        if key is not None:
            check_key(key)
        namespaces = self._reach.subscribe(message.topic)
        if not self.principal.may("subscribe", message.topic, key):
            raise Rejected("forbidden", f"{self.principal.name} may not subscribe to it")
        if message.group is UNSET:
            self.reader.subscribe(message, namespaces)
        else:
            worker = Worker(self.sender, self.outbox, self.server)
            self.reader.join(message, message.group, namespaces, worker)

    # ------------------------------------------------------------- answers

    def _check_id(self, id: int) -> None:
        if id <= self._last_id:
            raise Rejected(
                "bad_message", f"the id {id} does not grow: the last was {self._last_id}"
            )
        self._last_id = id

    def _answer(self, error: Rejected, id: int | UnsetType, topic: str | UnsetType = UNSET) -> None:
        self.outbox.reply(self._shared.refusal(error, id, topic))
