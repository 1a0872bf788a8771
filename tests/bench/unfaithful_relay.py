"""A relay that commits one fault in each session: what the bench must notice.

It speaks edgestream's JSON, Socket.IO's and NATS' own protocol, as the generator says them, and
answers a request for `/events` with server-sent events. Run it with a fault, a port, and how
many bytes a frame of NATS' stream or a chunk of an event stream holds.
"""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request
from websockets.typing import Subprotocol

VICTIM = 42
"""The index of the token that the fault is about."""

Publish = tuple[str, str, str]
"""A topic, a session and a body."""

Messages = list[str | bytes]


class Edgestream:
    def __init__(self, relay: "Relay", socket: ServerConnection) -> None:
        self.relay = relay
        self.socket = socket

    def greet(self) -> Messages:
        return []

    def receive(self, message: str | bytes) -> Iterator[Publish | Messages]:
        """What is published, and what is to be answered."""
        for op in as_list(json.loads(message)):
            if op["op"] == "subscribe":
                self.relay.subscribe(self, op["topic"], op["key"])
                yield [json.dumps({"op": "subscribed", "id": op["id"]})]
            else:
                yield op["topic"], op["body"]["sessionId"], json.dumps(op["body"])
                if "id" in op:
                    yield [json.dumps({"op": "ack", "id": op["id"]})]

    def event(self, topic: str, key: str, body: str) -> Messages:
        return [f'{{"op":"event","topic":"{topic}","key":"{key}","body":{body}}}']


class SocketIO(Edgestream):
    def greet(self) -> Messages:
        return ['0{"sid":"x","pingInterval":25000}', "2"]

    def receive(self, message: str | bytes) -> Iterator[Publish | Messages]:
        assert isinstance(message, str)
        if message == "40":
            yield ['40{"sid":"y"}']
        elif message.startswith("42"):
            number, _, rest = message[2:].partition("[")
            name, said = json.loads("[" + rest)
            if name == "subscribe":
                self.relay.subscribe(self, said["topic"], said["key"])
                yield [f"43{number}[]"]
                return
            for op in as_list(said):
                yield op["topic"], op["body"]["sessionId"], json.dumps(op["body"])

    def event(self, topic: str, key: str, body: str) -> Messages:
        return [f'42["event",{{"topic":"{topic}","key":"{key}","body":{body}}}]']


class Nats(Edgestream):
    def __init__(self, relay: "Relay", socket: ServerConnection) -> None:
        super().__init__(relay, socket)
        self.numbers: dict[str, str] = {}

    def greet(self) -> Messages:
        return self.cut(b'INFO {"server_name":"x"}\r\nPING\r\n')

    def receive(self, message: str | bytes) -> Iterator[Publish | Messages]:
        assert isinstance(message, bytes)
        while message:
            line, _, message = message.partition(b"\r\n")
            verb, *words = line.decode().split(" ")
            if verb == "PING":
                yield self.cut(b"PONG\r\n")
            elif verb == "SUB":
                topic, _, key = words[0].rpartition(".")
                self.numbers[key] = words[1]
                self.relay.subscribe(self, topic, key)
            elif verb == "PUB":
                topic, _, key = words[0].rpartition(".")
                body, message = message[: int(words[1])], message[int(words[1]) + 2 :]
                yield topic, key, body.decode()

    def event(self, topic: str, key: str, body: str) -> Messages:
        number, data = self.numbers.get(key, "1"), body.encode()
        return self.cut(b"MSG %s.%s %s %d\r\n%s\r\n" % (
            topic.encode(), key.encode(), number.encode(), len(data), data))  # fmt: skip

    def cut(self, data: bytes) -> Messages:
        size = self.relay.piece or len(data)
        return [data[at : at + size] for at in range(0, len(data), size)]


class ServerSent(Edgestream):
    async def answer(self, request: Request) -> None:
        """The response never ends."""
        wanted = parse_qs(urlsplit(request.path).query)
        self.socket.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.say(': hello\n\nevent: subscribed\ndata: {"op":"subscribed"}\n\n')
        self.relay.subscribe(self, wanted["topic"][0], wanted["key"][0])
        await asyncio.Future()

    def event(self, topic: str, key: str, body: str) -> Messages:
        [message] = super().event(topic, key, body)
        self.say(f"id: 1\ndata: {message!s}\n\n")
        return []

    def say(self, text: str) -> None:
        data = text.encode()
        size = self.relay.piece or len(data)
        for at in range(0, len(data), size):
            chunk = data[at : at + size]
            self.socket.transport.write(b"%X\r\n%b\r\n" % (len(chunk), chunk))


class Relay:
    def __init__(self, fault: str, piece: int) -> None:
        self.fault = fault
        self.piece = piece
        self.peers: dict[tuple[str, str], list[Edgestream]] = defaultdict(list)
        self.held: dict[str, Publish] = {}

    def subscribe(self, peer: Edgestream, topic: str, key: str) -> None:
        self.peers[topic, key].append(peer)

    async def answer(self, socket: ServerConnection, request: Request) -> None:
        """Before a connection is upgraded, if it is to be."""
        if request.path.startswith("/events"):
            await ServerSent(self, socket).answer(request)

    async def handle(self, socket: ServerConnection) -> None:
        path = socket.request.path if socket.request else ""
        kind = SocketIO if path.startswith("/socket.io") else Edgestream
        peer = (Nats if path == "/" else kind)(self, socket)
        try:
            for greeting in peer.greet():
                await socket.send(greeting)
            async for message in socket:
                for found in peer.receive(message):
                    await self.handle_one(peer, found)
        finally:
            for places in self.peers.values():
                if peer in places:
                    places.remove(peer)

    async def handle_one(self, peer: Edgestream, found: Publish | Messages) -> None:
        if isinstance(found, tuple):
            await self.publish(*found)
        else:
            for answer in found:
                await peer.socket.send(answer)

    async def publish(self, topic: str, key: str, body: str) -> None:
        decoded = json.loads(body)
        if decoded.get("tokenIndex") != VICTIM:
            await self.deliver(topic, key, body)
            if key in self.held:
                await self.deliver(*self.held.pop(key))
        elif self.fault == "repeat":
            await self.deliver(topic, key, body)
            await self.deliver(topic, key, body)
        elif self.fault == "reorder":
            self.held[key] = (topic, key, body)
        elif self.fault == "alter":
            await self.deliver(topic, key, body.replace(decoded["token"], " hm"))
        elif self.fault == "misdeliver":
            for _, other in list(self.peers):
                await self.deliver(topic, other, body)
        elif self.fault == "mislabel":
            await self.deliver(topic, key, body, label="s000000")
        elif self.fault != "drop":
            await self.deliver(topic, key, body)

    async def deliver(self, topic: str, key: str, body: str, label: str = "") -> None:
        for peer in list(self.peers[topic, key]):
            for message in peer.event(topic, label or key, body):
                await peer.socket.send(message)


def as_list(value: object) -> list[dict[str, dict[str, str]]]:
    return value if isinstance(value, list) else [value]  # type: ignore[list-item]


def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[0] if offered else None


async def main(fault: str, port: int, piece: int) -> None:
    relay = Relay(fault, piece)
    async with serve(
        relay.handle, "127.0.0.1", port, select_subprotocol=choose, compression=None,
        process_request=relay.answer, open_timeout=None,
    ) as server:  # fmt: skip
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
