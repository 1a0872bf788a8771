"""One connection's protocol: messages in, actions out. No I/O.

The transport hands it what came (`receive`) and what happened (`lost`); it
queues publishes with their namespaces, keeps the connection's subscriptions, and
answers through its `Outbox`. (docs/protocol.md)
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import UNSET, UnsetType

from broker.auth import Principal
from broker.codec import Codec, Malformed
from broker.config import Config
from broker.errors import Closed, ErrorInfo, Rejected
from broker.ingress import Ingress, Intake
from broker.messages import (
    ClientMessage,
    Error,
    Hello,
    Limits,
    Ping,
    Pong,
    Publish,
    Refresh,
    Refreshed,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from broker.namespace import Namespace
from broker.outbox import Outbox, Wire
from broker.plugin import Sender
from broker.queue import Queue
from broker.replay import Replay, ReplayEnd, Subscription
from broker.router import Reach
from broker.scheduler import Scheduler
from broker.topics import check_key

MIN_CLIENT = 16
"""How long the secret is, at least, by which a process is known across reconnects."""

MAX_MALFORMED = 100
"""How many bad objects of one message are answered, each: past it, this is no client."""

REMEMBERED_TOPICS = 1000
"""How many topics' ways a connection remembers."""

Wish = tuple[str, str | None, str | None]
"""What names a subscription: pattern, key, group."""


@dataclass(slots=True)
class Sessions:
    """Every connection of the broker, and what they share.

    Attributes:
        errors: how many of each error code were sent.
        opened: how many connections there ever were.
    """

    config: Config
    scheduler: Scheduler
    codes: Mapping[str, ErrorInfo]
    live: "set[Session]" = field(default_factory=set)
    errors: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    _identities: "dict[tuple[str | None, str, str], Session]" = field(default_factory=dict)

    def identify(self, session: "Session", client: str) -> None:
        """`session` is from now on the one of its client; an older one ends with 4010."""
        identity = (session.server, session.principal.name, client)
        older = self._identities.get(identity)
        self._identities[identity] = session
        if older is not None and older is not session:
            older.end(4010)

    def forget(self, session: "Session") -> None:
        self.live.discard(session)
        client = session.sender.client
        if client is not None:
            identity = (session.server, session.principal.name, client)
            if self._identities.get(identity) is session:
                del self._identities[identity]


class Session:
    """One connection. See `Publisher` for what its namespaces know of it.

    Args:
        shared: all connections.
        wire: the socket below.
        codec: its encoding.
        server: the named server, or None for all of them.
        reach: the namespaces that it may touch.
        principal: who it is.
        client: its secret across reconnects, where it came with the upgrade request.

    Raises:
        Closed: 4009, the secret is too short.
    """

    __slots__ = (
        "_greeted", "_ingresses", "_last_id", "_queues", "_reach", "_shared", "_subscriptions",
        "_topics", "codec", "outbox", "principal", "received", "sender", "server",
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
    ) -> None:
        if client is not None and len(client) < MIN_CLIENT:
            raise Closed(4009, f"client: at least {MIN_CLIENT} characters")
        self.codec = codec
        self.server = server
        self.principal = principal
        self.sender = Sender(principal.name, None, secrets.token_urlsafe(9))
        self.outbox = Outbox(codec, wire, shared.scheduler.touched)
        self.received = 0
        self._shared = shared
        self._reach = reach
        self._greeted = False
        self._last_id = 0
        self._topics: dict[str, tuple[Namespace, Ingress]] = {}
        self._ingresses: dict[Namespace, Ingress] = {}
        self._queues: dict[Namespace, Queue] = {}
        self._subscriptions: dict[Wish, Subscription] = {}
        shared.live.add(self)
        shared.opened += 1
        if client is not None:
            self._identify(client)
        self._welcome()

    @property
    def name(self) -> str:
        """The connection's id, as `welcome` tells it and the log has it."""
        return self.sender.connection

    @property
    def subscription_count(self) -> int:
        return len(self._subscriptions)

    @property
    def queues(self) -> Mapping[Namespace, Queue]:
        return self._queues

    # ------------------------------------------------------------- what the transport tells

    def receive(self, data: bytes) -> None:
        """One WebSocket message.

        Raises:
            UnicodeDecodeError: it is text, but not UTF-8.
        """
        malformed = 0
        for message in self.codec.decode_client(data):
            self.received += 1
            if type(message) is Publish:
                self._publish(message)
            elif isinstance(message, Malformed):
                malformed += 1
                if malformed > MAX_MALFORMED:
                    self.end(4009, f"over {MAX_MALFORMED} malformed objects in one message")
                    return
                self._answer(message.error, message.id)
            else:
                self._operate(message)

    def lost(self) -> None:
        """The connection is gone. What it published before stays accepted."""
        for subscription in self._subscriptions.values():
            self._detach(subscription)
        self._subscriptions.clear()
        self._shared.forget(self)

    def end(self, code: int, reason: str = "") -> None:
        """Say goodbye, and close."""
        self.outbox.end(code, reason)

    # ------------------------------------------------------------- what namespaces tell

    def refuse(self, error: Rejected, id: int | None, topic: str) -> None:
        self._answer(error, id or UNSET, topic)

    def acknowledge(self) -> None:
        self.outbox.touch()

    def hold(self, intake: Intake) -> None:
        self.outbox.wire.hold(intake)

    def release(self, intake: Intake) -> None:
        self.outbox.wire.release(intake)

    # ------------------------------------------------------------- publish

    def _publish(self, message: Publish) -> None:
        id = message.id
        self._greeted = True
        try:
            if id is not UNSET:
                self._check_id(id)
            known = self._topics.get(message.topic)
            namespace, ingress = known if known is not None else self._route(message.topic)
            namespace.enqueue(ingress, message)
        except Rejected as error:
            self._answer(error, id, message.topic)

    def _route(self, topic: str) -> tuple[Namespace, Ingress]:
        namespace = self._reach.publish(topic)
        ingress = self._ingresses.get(namespace)
        if ingress is None:
            ingress = self._ingresses[namespace] = Ingress(self)
            self.outbox.receipts.append(ingress.receipts)
        if len(self._topics) < REMEMBERED_TOPICS:
            self._topics[topic] = (namespace, ingress)
        return namespace, ingress

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
                self._unsubscribe(message)
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
        self._shared.identify(self, digest)

    def _subscribe(self, message: Subscribe) -> None:
        key = None if message.key is UNSET else message.key
        if key is not None:
            check_key(key)
        self._check_supported(message)
        namespaces = self._reach.subscribe(message.topic)
        if not self.principal.may("subscribe", message.topic, key):
            raise Rejected("forbidden", f"{self.principal.name} may not subscribe to it")
        wish: Wish = (message.topic, key, None)
        older = self._subscriptions.get(wish)
        limit = self._shared.config.limits.max_subscriptions
        if older is None and len(self._subscriptions) >= limit:
            raise Rejected("too_many_subscriptions", f"a connection has at most {limit}")
        coalesce = message.coalesce == "auto"
        replaying = [n for n in namespaces if message.replay != "none" or n.plugin.retained]
        cursor: str | UnsetType = UNSET
        if not replaying and key is not None and len(namespaces) == 1:
            cursor = namespaces[0].fanout.cursor(namespaces[0].position)
        self.outbox.reply(Subscribed(message.id, cursor))
        subscription = Subscription(message.id, message.topic, key, namespaces, coalesce)
        end = ReplayEnd(message.id, len(replaying))
        for namespace in namespaces:
            self._attach(namespace, subscription, older, end if namespace in replaying else None)
        if older is not None:
            self._detach(older)
        self._subscriptions[wish] = subscription

    def _check_supported(self, message: Subscribe) -> None:
        for name, asked in (
            ("after", message.after is not UNSET),
            ("group", message.group is not UNSET),
            ("replay: history", message.replay == "history"),
        ):
            if asked:
                raise Rejected("bad_message", f"subscribe: this broker has no {name} yet")

    def _attach(
        self,
        namespace: Namespace,
        subscription: Subscription,
        older: Subscription | None,
        end: ReplayEnd | None,
    ) -> None:
        """Make a subscription live in one namespace, after a replay where there is one."""
        queue = self._queues.get(namespace)
        if queue is None:
            queue = Queue(self.outbox, self.codec, namespace, namespace.settings.weight)
            self._queues[namespace] = queue
        queue.add(subscription, replaces=older)
        readers = namespace.fanout.subscriptions
        readers.add(subscription.pattern, subscription.key, queue)
        if end is not None:
            one = subscription.key is not None and len(subscription.namespaces) == 1
            queue.replay(Replay(subscription, end, namespace.fanout.cursor if one else None))

    def _unsubscribe(self, message: Unsubscribe) -> None:
        key = None if message.key is UNSET else message.key
        wish: Wish = (message.topic, key, None)
        subscription = self._subscriptions.get(wish)
        if subscription is None or message.group is not UNSET:
            raise Rejected("not_subscribed", "there is no such subscription")
        del self._subscriptions[wish]
        self._detach(subscription)
        self.outbox.reply(Unsubscribed(message.id))

    def _detach(self, subscription: Subscription) -> None:
        for namespace in subscription.namespaces:
            queue = self._queues[namespace]
            namespace.fanout.subscriptions.remove(subscription.pattern, subscription.key, queue)
            queue.remove(subscription)

    # ------------------------------------------------------------- answers

    def _welcome(self) -> None:
        config = self._shared.config
        reach = self._reach.namespaces
        self.outbox.reply(
            Welcome(
                connection=self.sender.connection,
                namespaces=[namespace.name for namespace in reach],
                heartbeatMs=round(config.heartbeat.interval * 1000),
                limits=Limits(
                    maxMessageBytes=config.limits.max_message_bytes,
                    maxSubscriptions=config.limits.max_subscriptions,
                    maxBodyBytes={n.name: n.settings.max_body_bytes for n in reach},
                ),
                server=UNSET if self.server is None else self.server,
            )
        )

    def _check_id(self, id: int) -> None:
        if id <= self._last_id:
            raise Rejected(
                "bad_message", f"the id {id} does not grow: the last was {self._last_id}"
            )
        self._last_id = id

    def _answer(self, error: Rejected, id: int | UnsetType, topic: str | UnsetType = UNSET) -> None:
        self._shared.errors[error.code] += 1
        self.outbox.reply(
            Error(
                error.code,
                error.message,
                self._shared.codes[error.code].retryable,
                id,
                topic,
                UNSET if error.detail is None else dict(error.detail),
            )
        )
