"""One subscription, as its consumer sees it."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from msgspec import UNSET, Struct

from broker.client.errors import ClientError
from broker.client.gate import Gate
from broker.messages import EventMessage, Subscribe

Replay: TypeAlias = Literal["none", "snapshot", "history"]
Coalesce: TypeAlias = Literal["auto", "never"]


class Event(Struct, frozen=True):
    """One event.

    Attributes:
        topic: where it was published.
        key: which stream of its namespace, or None where there is none.
        body: what was published.
        time: when the broker accepted it, in Unix milliseconds.
        cursor: where to resume after it, or None for a part of a snapshot.
        replayed: whether it was sent to answer the subscription, not live.
        after_gap: whether events before this one were missed: the connection was
            lost, and the broker could not, or was not able to, fill the gap.
    """

    topic: str
    key: str | None
    body: Any
    time: int
    cursor: str | None
    replayed: bool
    after_gap: bool


class Subscription:
    """Events of a topic or pattern: an async iterator, made by `Client.subscribe`.

    It stands across reconnects. A loop that is left ends it; inside ``async with``
    it goes on until the block is left. When its buffer is full, the whole client
    stops reading: a consumer that may be slow deserves a client of its own.

    Attributes:
        wish: what was asked for.
        live: live events are for it. While it is told of the past, they are for others.
        begun: it has had an event, or was live: after a loss it is not at its beginning.
        gaps: how often events were missed, because a reconnect could not resume.
        dropped: how many events the broker left out by its policy.
    """

    def __init__(
        self,
        wish: Subscribe,
        buffer: int,
        gate: Gate,
        leave: Callable[["Subscription"], asyncio.Future[None]],
    ) -> None:
        self.wish = wish
        self.topic = wish.topic
        self.key = None if wish.key is UNSET else wish.key
        self.group = None if wish.group is UNSET else wish.group
        self.gaps = 0
        self.dropped = 0
        self.id = 0
        self.live = False
        self.ended = False
        self.begun = False
        self.cursor = None if wish.after is UNSET else wish.after
        self.resumable = self.key is not None and self.group is None
        self._size = buffer
        self._gate = gate
        self._leave = leave
        self._buffer: deque[Event] = deque()
        self._news: asyncio.Future[None] | None = None
        self._standing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: ClientError | None = None
        self._entered = False
        self._missed = False

    # ------------------------------------------------------------ for the consumer

    async def ready(self) -> Self:
        """Wait until the broker has confirmed the subscription.

        Raises:
            OperationRejected: it refused.
            ConnectionRefusedByBroker, ClientClosed: there is no connection any more.
        """
        if not self._standing.done():
            with self._gate.awaiting_answer():
                await asyncio.shield(self._standing)
        if self._failure is not None:
            raise self._failure
        return self

    async def unsubscribe(self) -> None:
        """End it, and wait for the broker to confirm. What is still buffered is dropped."""
        if not self.ended and self._failure is None:
            self.end()
            with self._gate.awaiting_answer():
                await self._leave(self)

    async def __aenter__(self) -> Self:
        self._entered = True
        try:
            return await self.ready()
        except asyncio.CancelledError:
            self.end()
            self._leave(self)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.unsubscribe()

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        try:
            while (event := await self._next()) is not None:
                yield event
        finally:
            if not self._entered:
                await self.unsubscribe()

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            StopAsyncIteration: it was unsubscribed, or the client closed.
            OperationRejected: the broker refused the subscription.
            ConnectionRefusedByBroker: it will not have this client any more.
        """
        event = await self._next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def _next(self) -> Event | None:
        while not self._buffer:
            if self._failure is not None:
                raise self._failure
            if self.ended:
                return None
            if self._news is not None:
                raise RuntimeError("two tasks iterate over one subscription")
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None
        event = self._buffer.popleft()
        if self in self._gate.full and len(self._buffer) <= self._size // 2:
            self._gate.drained(self)
        return event

    # -------------------------------------------------------------- for the client

    def put(self, message: EventMessage, *, replayed: bool) -> None:
        """Buffer one event."""
        if self.ended:
            return
        self.begun = True
        cursor = None if message.cursor is UNSET else message.cursor
        if cursor is not None:
            self.cursor = cursor
        key = None if message.key is UNSET else message.key
        missed, self._missed = self._missed, False
        self._buffer.append(
            Event(message.topic, key, message.body, message.time, cursor, replayed, missed)
        )
        if len(self._buffer) >= self._size:
            self._gate.filled(self)
        self._wake()

    def stands(self, cursor: str | None, *, missed: bool) -> None:
        """The broker has confirmed it. `missed`: events were lost before that."""
        self.reached(cursor)
        if missed:
            self.gaps += 1
            self._missed = True
        if not self._standing.done():
            self._standing.set_result(None)

    @property
    def stood(self) -> bool:
        """Whether the broker has ever confirmed it."""
        return self._standing.done()

    def goes_live(self) -> None:
        """The past has been told, or is not wanted."""
        self.live = self.begun = True

    def reached(self, cursor: str | None) -> None:
        """The broker said where this subscription is."""
        if cursor is not None:
            self.cursor = cursor

    def end(self, failure: ClientError | None = None) -> None:
        """No more events: the iterator stops, at once, or with `failure` after the last."""
        self.ended = True
        self.live = False
        self._failure = failure
        if failure is None:
            self._buffer.clear()
        self._gate.drained(self)
        if not self._standing.done():
            self._standing.set_result(None)
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
