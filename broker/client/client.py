"""The client: one identity at a broker, over as many connections as it takes."""

import asyncio
import random as randomness
import secrets
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, Self

from msgspec import UNSET

from broker.client.backoff import Backoff
from broker.client.errors import Unacknowledged
from broker.client.gate import Gate
from broker.client.link import Door
from broker.client.receipt import OnRejected, Receipt
from broker.client.registry import Registry
from broker.client.sender import Sender
from broker.client.subscription import Coalesce, Replay, Subscription
from broker.client.upkeep import Upkeep
from broker.codec import JSON, MSGPACK
from broker.messages import Subscribe, Welcome


class Client:
    """Publishes and subscribes at a broker, and comes back when the connection is lost.

    To be used as ``async with connect(url) as client``. Leaving the block waits until
    everything is acknowledged, and closes; leaving it with an exception just closes.

    Args:
        url: such as ``ws://127.0.0.1:8080/ws/chat``.
        client: the secret by which the broker knows this process again, 16 characters
            or more; by default a random one, kept for the life of the client.
        token: a bearer token.
        codec: how messages travel.
        max_in_flight: how many messages may wait for their answer before `publish` waits.
        max_in_flight_bytes: how many bytes of bodies may.
        on_rejected: told of each rejection that no ``await receipt`` is waiting for.
        wait: whether to go on trying when the first attempt to connect fails.
        open_timeout: seconds for one attempt to connect.
        close_timeout: seconds that leaving the block waits for acknowledgements.
        tls: for ``wss``, when the default context will not do.
        sleep, random: for tests that have no time to lose.
    """

    def __init__(
        self,
        url: str,
        *,
        client: str | None = None,
        token: str | None = None,
        codec: Literal["msgpack", "json"] = "msgpack",
        max_in_flight: int = 1000,
        max_in_flight_bytes: int = 1 << 20,
        on_rejected: OnRejected | None = None,
        wait: bool = False,
        open_timeout: float = 10.0,
        close_timeout: float = 10.0,
        tls: ssl.SSLContext | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self.url = url
        self._close_timeout = close_timeout
        self._gate = Gate()
        codec_used = JSON if codec == "json" else MSGPACK
        self._sender = Sender(
            codec_used, self._gate, max_in_flight, max_in_flight_bytes, on_rejected
        )
        self._registry = Registry(self._sender)
        self._upkeep = Upkeep(
            Door(url, codec_used, client or secrets.token_urlsafe(24), token, tls, open_timeout),
            self._sender,
            self._registry,
            self._gate,
            Backoff(random),
            sleep,
            wait=wait,
        )

    # ------------------------------------------------------------------ publish

    async def publish(
        self,
        topic: str,
        body: object,
        *,
        key: str | None = None,
        dedupe: str | None = None,
        on_rejected: OnRejected | None = None,
    ) -> Receipt:
        """Publish one message, without waiting for its acknowledgement.

        It waits only while the window of unanswered messages is full. After a lost
        connection, what was not answered is sent again, in order: without a name of
        its own in the body, or a `dedupe`, such a message can arrive twice.

        A rejection goes to the first of these that is there: whoever is awaiting the
        receipt, `on_rejected`, the client's `on_rejected`. Otherwise it is logged,
        and raised by the next `flush`, or when the receipt is awaited after all.

        Args:
            body: a `msgspec.Struct`, or what JSON can say. It is encoded at once.
            key: the stream, for namespaces that do not take it from the body.
            dedupe: a name; the stream takes only one message of that name.

        Raises:
            TypeError: the body cannot be encoded.
            ConnectionRefusedByBroker: the broker will not have this client any more.
            ClientClosed: the client is closed.
        """
        if self._sender.is_full:
            await self._sender.room()
        return self._sender.publish(topic, body, key, dedupe, on_rejected)

    def publish_now(
        self,
        topic: str,
        body: object,
        *,
        key: str | None = None,
        dedupe: str | None = None,
        on_rejected: OnRejected | None = None,
    ) -> Receipt:
        """`publish` past a full window, for callbacks, which cannot wait."""
        return self._sender.publish(topic, body, key, dedupe, on_rejected)

    async def flush(self) -> None:
        """Wait until everything published so far is answered.

        Raises:
            OperationRejected: the first rejection since the last `flush` that nobody
                has been told of.
            ConnectionRefusedByBroker: the broker will not have this client any more.
            ClientClosed: the client is closed.
        """
        await self._sender.flush()

    # ---------------------------------------------------------------- subscribe

    def watch(self, topic: str, heard: Callable[[Any], None]) -> None:
        """Have `heard` called with the body of each live event of `topic` that comes: also
        of one that the broker addresses to this client, which has no subscription for it."""
        self._registry.watched[topic] = heard

    def subscribe(
        self,
        topic: str,
        key: str | None = None,
        *,
        replay: Replay = "none",
        after: str | None = None,
        coalesce: Coalesce = "auto",
        rollup_ms: int | None = None,
        group: str | None = None,
        buffer: int = 1024,
    ) -> Subscription:
        """Subscribe to a topic or pattern; to one stream if there is a `key`.

        After a lost connection a subscription to one stream resumes where it was.
        Where that cannot be, and for every other, events may be missed, and the
        next one says so (`Event.after_gap`).

        Args:
            replay: what to send first: nothing, the compacted state, or all there is.
            after: a cursor; send what came after it.
            coalesce: "never" to get each event alone, at the cost of falling out
                when this client is slow.
            rollup_ms: merge what arrives within so many milliseconds.
            group: share the events with the other members of this work queue.
            buffer: how many events may wait for the consumer before the client
                stops reading.

        Raises:
            ValueError: this client has that subscription already.
            ConnectionRefusedByBroker, ClientClosed: as `publish`.
        """
        if self._upkeep.failure is not None:
            raise self._upkeep.failure
        wish = Subscribe(
            1,
            topic,
            UNSET if key is None else key,
            replay,
            UNSET if after is None else after,
            coalesce,
            UNSET if rollup_ms is None else rollup_ms,
            UNSET if group is None else group,
        )
        subscription = Subscription(wish, buffer, self._gate, self._registry.leave)
        self._registry.add(subscription)
        return subscription

    # ------------------------------------------------------------------- its life

    @property
    def welcome(self) -> Welcome | None:
        """What the broker said when it last let us in, such as its namespaces and limits."""
        return self._upkeep.welcome

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            CannotConnect: nobody answers there, or not in the protocol's way.
            ConnectionRefusedByBroker: the broker will not have us.
        """
        await self._upkeep.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None and self._upkeep.failure is None:
                async with asyncio.timeout(self._close_timeout):
                    await self.flush()
        except TimeoutError:
            raise Unacknowledged(self._sender.in_flight) from None
        finally:
            await self.close()

    async def close(self) -> None:
        """Close at once. What was not acknowledged may be lost; who awaits it is told."""
        await self._upkeep.close()


connect = Client
"""``async with connect(url) as client``: the usual way to make a `Client`."""
