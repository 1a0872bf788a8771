"""How each system is spoken to: what is said at first, how to subscribe and publish, what comes.

A dialect is made for each connection. Bytes go as binary frames, text as text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct

Message = str | bytes


class Event(Struct, frozen=True):
    topic: str
    key: str
    body: dict[str, Any]


class Opened(Struct, frozen=True):
    """Subscribing and publishing may begin."""


class Standing(Struct, frozen=True):
    """One more subscription stands."""


class Answer(Struct, frozen=True):
    """What has to be sent back."""

    message: Message


class Trouble(Struct, frozen=True):
    text: str


Said = Event | Opened | Standing | Answer | Trouble


class Dialect(Protocol):
    """
    Attributes:
        path: where its endpoint is, if the system has no others.
        subprotocol: what the handshake offers, if anything.
        greeting: what is sent at first.
        waits: whether `Opened` has to come before anything else is sent.
        turns: whether a turnStarted comes before tokens.
    """

    path: str
    subprotocol: str
    greeting: tuple[Message, ...]
    waits: bool
    turns: bool

    def subscribe(self, number: int, topic: str, key: str) -> Message: ...

    def publish(self, topic: str, key: str, body: Mapping[str, Any]) -> Message: ...

    def receive(self, message: Message) -> Iterator[Said]: ...


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Edgestream:
    """edgestream's JSON, which the relays were given too."""

    path = "/"
    subprotocol = "edgestream.v1.json"
    greeting: tuple[Message, ...] = ()
    waits = False
    turns = True

    def subscribe(self, number: int, topic: str, key: str) -> Message:
        return dumps({"op": "subscribe", "id": number, "topic": topic, "key": key})

    def publish(self, topic: str, key: str, body: Mapping[str, Any]) -> Message:
        return dumps({"op": "publish", "topic": topic, "key": key, "body": body})

    def receive(self, message: Message) -> Iterator[Said]:
        decoded = json.loads(message)
        for said in decoded if isinstance(decoded, list) else [decoded]:
            match said["op"]:
                case "event":
                    yield Event(said["topic"], said["key"], said["body"])
                case "subscribed":
                    yield Standing()
                case "error" | "goodbye" | "dropped":
                    yield Trouble(dumps(said))


class SocketIO:
    """Socket.IO 4 over WebSocket; an event has a callback where an answer is wanted."""

    path = "/socket.io/?EIO=4&transport=websocket"
    subprotocol = ""
    greeting: tuple[Message, ...] = ("40",)
    waits = True
    turns = False

    def subscribe(self, number: int, topic: str, key: str) -> Message:
        return f"42{number}" + dumps(["subscribe", {"topic": topic, "key": key}])

    def publish(self, topic: str, key: str, body: Mapping[str, Any]) -> Message:
        return "42" + dumps(["publish", {"topic": topic, "key": key, "body": body}])

    def receive(self, message: Message) -> Iterator[Said]:
        assert isinstance(message, str)
        if message.startswith("42"):
            name, said = json.loads(message[2:])
            if name == "event":
                yield Event(said["topic"], said["key"], said["body"])
        elif message == "2":
            yield Answer("3")
        elif message.startswith("40"):
            yield Opened()
        elif message.startswith("43"):
            yield Standing()
        elif not message.startswith("0"):
            yield Trouble(message)


class Nats:
    """NATS' own protocol: a stream of bytes; a subject is topic.key, its last level the key."""

    path = "/"
    subprotocol = ""
    greeting: tuple[Message, ...] = (
        b'CONNECT {"verbose":false,"pedantic":false,"lang":"python","version":"1","protocol":1}\r\n'
        b"PING\r\n",
    )
    waits = True
    turns = False

    def __init__(self) -> None:
        self._rest = b""
        self._opened = False

    def subscribe(self, number: int, topic: str, key: str) -> Message:
        return f"SUB {topic}.{key} {number}\r\nPING\r\n".encode()

    def publish(self, topic: str, key: str, body: Mapping[str, Any]) -> Message:
        data = dumps(body).encode()
        return f"PUB {topic}.{key} {len(data)}\r\n".encode() + data + b"\r\n"

    def receive(self, message: Message) -> Iterator[Said]:
        assert isinstance(message, bytes)
        data, at = self._rest + message, 0
        while (end := data.find(b"\r\n", at)) >= 0:
            line = data[at:end]
            if found := re.fullmatch(rb"MSG (\S+)\.(\S+) \d+ (\d+)", line):
                past = end + 2 + int(found[3])
                if len(data) < past + 2:
                    break
                body = json.loads(data[end + 2 : past])
                yield Event(found[1].decode(), found[2].decode(), body)
                at = past + 2
            else:
                yield from self._line(line)
                at = end + 2
        self._rest = data[at:]

    def _line(self, line: bytes) -> Iterator[Said]:
        if line == b"PING":
            yield Answer(b"PONG\r\n")
        elif line == b"PONG":
            yield Standing() if self._opened else Opened()
            self._opened = True
        elif line.startswith(b"-ERR"):
            yield Trouble(line.decode())


DIALECTS: Mapping[str, type[Edgestream | SocketIO | Nats]] = {
    "edgestream": Edgestream,
    "socketio": SocketIO,
    "nats": Nats,
}
