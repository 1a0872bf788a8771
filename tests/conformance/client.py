"""A plain WebSocket client of the protocol, that knows nothing of the broker's code."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

PATIENCE = 8.0
"""How long anything may take before a test gives up. Nothing here waits that long."""

Message = dict[str, Any]

ENCODE: dict[str, Callable[[Any], bytes]] = {
    "json": msgspec.json.encode,
    "msgpack": msgspec.msgpack.encode,
}
DECODE: dict[str, Callable[[bytes], Any]] = {
    "json": msgspec.json.decode,
    "msgpack": msgspec.msgpack.decode,
}
CODECS = tuple(ENCODE)


class Peer:
    """One connection. What was read and not asked for yet waits in `inbox`, in order.

    Attributes:
        frames, bytes: how many WebSocket messages came, and their payloads.
        pings: how many `op: ping` came; they are in no inbox.
    """

    def __init__(self, socket: ClientConnection, codec: str) -> None:
        self.socket = socket
        self.codec = codec
        self.inbox: list[Message] = []
        self.frames = 0
        self.bytes = 0
        self.pings = 0
        self.welcome: Message = {}
        self._last_id = 0

    def id(self) -> int:
        """The next id of this connection."""
        self._last_id += 1
        return self._last_id

    async def send(self, *operations: Any) -> None:
        """One WebSocket message: an object, or an array of several."""
        for operation in operations:
            id = operation.get("id") if isinstance(operation, dict) else None
            if type(id) is int and 0 < id < 2**62:
                self._last_id = max(self._last_id, id)
        whole = operations[0] if len(operations) == 1 else list(operations)
        await self.send_bytes(ENCODE[self.codec](whole))

    async def send_bytes(self, data: bytes) -> None:
        """One WebSocket message of these bytes, in the frame type of the encoding."""
        await self.socket.send(data, text=self.codec == "json")

    async def ask(self, op: str, **fields: Any) -> int:
        """Send one operation under a new id, and return the id."""
        id = self.id()
        await self.send({"op": op, "id": id, **fields})
        return id

    # ------------------------------------------------------------- reading

    async def _read(self) -> None:
        async with asyncio.timeout(PATIENCE):
            data = await self.socket.recv(decode=False)
        self.frames += 1
        self.bytes += len(data)
        whole = DECODE[self.codec](data)
        for message in whole if isinstance(whole, list) else [whole]:
            if message["op"] == "ping":
                self.pings += 1
            else:
                self.inbox.append(message)

    async def next(self) -> Message:
        """The next message, whatever it is."""
        while not self.inbox:
            await self._read()
        return self.inbox.pop(0)

    async def get(self, op: str, **fields: Any) -> Message:
        """The first message with this op and these fields; what came before it stays."""
        wanted = {"op": op, **fields}
        seen = 0
        while True:
            for index in range(seen, len(self.inbox)):
                if wanted.items() <= self.inbox[index].items():
                    return self.inbox.pop(index)
            seen = len(self.inbox)
            await self._read()

    async def events(self, count: int) -> list[Message]:
        """The next `count` events."""
        return [await self.get("event") for _ in range(count)]

    async def barrier(self) -> list[Message]:
        """Everything that came before the broker's answer to a ping sent now."""
        await self.send({"op": "ping"})
        while not any(m["op"] == "pong" and "id" not in m for m in self.inbox):
            await self._read()
        taken = [m for m in self.inbox if m["op"] != "pong"]
        self.inbox.clear()
        return taken

    async def close_code(self) -> int | None:
        """Read until the broker has closed; what came before that is in the inbox."""
        try:
            while True:
                await self._read()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    # ------------------------------------------------------------- operations, answered

    async def publish(self, topic: str, body: Any, **fields: Any) -> int:
        """Publish, and wait until it is acknowledged."""
        id = await self.ask("publish", topic=topic, body=body, **fields)
        await self.acked(id)
        return id

    async def acked(self, id: int) -> None:
        """Wait for the ack that covers `id`; an error about it fails the test."""
        while True:
            errors = [m for m in self.inbox if m["op"] == "error" and m.get("id") == id]
            assert not errors, errors
            if any(m["op"] == "ack" and m["id"] >= id for m in self.inbox):
                return
            await self._read()

    async def refused(self, topic: str, body: Any, **fields: Any) -> Message:
        """Publish what is going to be refused, and return the error."""
        id = await self.ask("publish", topic=topic, body=body, **fields)
        while not any(m["op"] == "error" and m.get("id") == id for m in self.inbox):
            accepted = [m for m in self.inbox if m["op"] == "ack" and m["id"] >= id]
            assert not accepted, "it was accepted"
            await self._read()
        return await self.get("error", id=id)

    async def subscribe(self, topic: str, **fields: Any) -> Message:
        """Subscribe, and return the answer `subscribed`."""
        return await self.get("subscribed", id=await self.ask("subscribe", topic=topic, **fields))

    async def replay(self, topic: str, **fields: Any) -> tuple[list[Message], Message]:
        """Subscribe with a snapshot: the events of the replay, and what ended it."""
        fields = {"replay": "snapshot", **fields}
        id = (await self.subscribe(topic, **fields))["id"]
        end = await self.get("replayed", id=id)
        events = [m for m in self.inbox if m.get("sub") == id]
        self.inbox = [m for m in self.inbox if m.get("sub") != id]
        return events, end


@asynccontextmanager
async def connect(
    url: str, codec: str = "json", welcomed: bool = True, **options: Any
) -> AsyncIterator[Peer]:
    """A connection that has read its `welcome`, unless it is not to be `welcomed`."""
    options = {"compression": None, "ping_interval": None, "close_timeout": 1, **options}
    async with open_websocket(
        url, subprotocols=[f"edgestream.v1.{codec}"], max_size=None, proxy=None, **options
    ) as socket:
        peer = Peer(socket, codec)
        if welcomed:
            peer.welcome = await peer.next()
            assert peer.welcome["op"] == "welcome"
        yield peer
