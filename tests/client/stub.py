"""A broker small enough to be told what to do: it accepts, answers, and can be cut off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from broker.codec import CODECS, Codec, Malformed
from broker.messages import (
    Ack,
    BrokerMessage,
    Error,
    EventMessage,
    Hello,
    Limits,
    Publish,
    Replayed,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)

Message = TypeVar("Message")
HEARTBEAT_MS = 10_000


class Peer:
    """One connection to the stub.

    Attributes:
        batches: the messages of each WebSocket message that came.
    """

    def __init__(self, stub: "Stub", connection: ServerConnection) -> None:
        self.stub = stub
        self.connection = connection
        self.codec: Codec = CODECS[str(connection.subprotocol)]
        self.batches: list[list[Any]] = []
        self._news: asyncio.Queue[Any] = asyncio.Queue()

    async def next(self, kind: type[Message]) -> Message:
        """The next message of `kind` that came; others before it are left out."""
        while True:
            message = await self._news.get()
            if isinstance(message, kind):
                return message

    async def send(self, *messages: BrokerMessage) -> None:
        """Send `messages` as one WebSocket message."""
        data = self.codec.pack([self.codec.encode(m) for m in messages], len(messages))
        await self.connection.send(data, text=not self.codec.binary)

    def cut(self) -> None:
        """Cut the TCP connection, without a word."""
        self.connection.transport.abort()

    def hang_up(self) -> None:
        """End the TCP connection once everything has been sent, without a close frame."""
        self.connection.transport.close()

    async def serve(self) -> None:
        await self.send(Welcome("stub", ["open"], HEARTBEAT_MS, self.stub.limits))
        try:
            async for data in self.connection:
                raw = data if isinstance(data, bytes) else data.encode()
                await self._take(list(self.codec.decode_client(raw)))
        except ConnectionClosed:
            pass

    async def _take(self, batch: list[Any]) -> None:
        self.batches.append(batch)
        for message in batch:
            assert not isinstance(message, Malformed), message
            self._news.put_nowait(message)
        if self.stub.before is not None and await self.stub.before(self, batch):
            return
        answers = self.stub.answers(self, batch)
        if answers:
            await self.send(*answers)


class Stub:
    """Acknowledges every publish, and drops the repeats of a body's ``n``.

    Attributes:
        accepted: the ``n`` of each accepted body, in order.
        peers: every connection so far.
        instead: sees each connection first; true means that it has been dealt with.
        before: sees each batch first; true means that it has been dealt with.
        refuse: the error for a publish, if it is to be refused.
        held: leave publishes and subscribes unanswered.
    """

    def __init__(self) -> None:
        self.accepted: list[int] = []
        self.peers: list[Peer] = []
        self.instead: Callable[[Peer], Awaitable[bool]] | None = None
        self.before: Callable[[Peer, list[Any]], Awaitable[bool]] | None = None
        self.refuse: Callable[[Publish, Any], Error | None] = lambda publish, body: None
        self.held = False
        self.limits = Limits(1 << 20, 100, {})
        self.server: Server
        self._arrived = asyncio.Event()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/ws"

    async def peer(self, number: int = 0) -> Peer:
        """The connection of that number, once it is there."""
        while len(self.peers) <= number:
            self._arrived.clear()
            await self._arrived.wait()
        return self.peers[number]

    async def handle(self, connection: ServerConnection) -> None:
        peer = Peer(self, connection)
        if self.instead is not None and await self.instead(peer):
            return
        self.peers.append(peer)
        self._arrived.set()
        await peer.serve()

    def accept(self, peer: Peer, publish: Publish) -> None:
        n = peer.codec.decode_any(publish.body)["n"]
        if n not in self.accepted:
            self.accepted.append(n)

    def answers(self, peer: Peer, batch: list[Any]) -> list[BrokerMessage]:
        answers: list[BrokerMessage] = []
        last = 0
        for message in batch:
            if self.held or isinstance(message, Hello):
                continue
            if isinstance(message, Publish):
                error = self.refuse(message, peer.codec.decode_any(message.body))
                if error is not None:
                    answers.append(msgspec.structs.replace(error, id=message.id))
                else:
                    self.accept(peer, message)
                    assert isinstance(message.id, int)
                    last = message.id
            elif isinstance(message, Subscribe):
                resumes = message.after is not UNSET
                answers.append(Subscribed(message.id, recovered=resumes or UNSET))
                if resumes or message.replay != "none":
                    answers.append(Replayed(message.id))
            elif isinstance(message, Unsubscribe):
                answers.append(Unsubscribed(message.id))
        if last:
            answers.append(Ack(last))
        return answers


@asynccontextmanager
async def stubbed() -> AsyncIterator[Stub]:
    """A stub that listens."""
    stub = Stub()
    names = [Subprotocol(name) for name in CODECS]
    async with serve(
        stub.handle, "127.0.0.1", 0, subprotocols=names, compression=None, ping_interval=None
    ) as server:
        stub.server = server
        yield stub


def event(topic: str, n: int, **fields: Any) -> EventMessage:
    """An event whose body is ``{"n": n}``."""
    return EventMessage(topic, 0, {"n": n}, **fields)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition` holds: for what no event announces."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)  # no passing of time: only the other tasks' turn
