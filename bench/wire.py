"""What the generator says and hears: edgestream's protocol, in parts that are cheap to join.

A rival with a protocol of its own gets a class with the same methods.
"""

import itertools
import json
from typing import Any

import msgspec
from msgspec import Struct

from bench.frames import BINARY, TEXT
from bench.plan import CodecName

WORDS = (
    " the", " answer", " is", " in", " stream", "s,", " so", " it", " comes", " a",
    " token", " at", " time", " and", " never", " twice.",
)  # fmt: skip
TOKEN_TOPIC = "agent.chat.token"


def word(index: int) -> str:
    """The text of the token `index` of every session."""
    return WORDS[index % len(WORDS)]


def text(first: int, count: int) -> str:
    return "".join(map(word, range(first, first + count)))


class Body(Struct, gc=False):
    """What is read of an event's body."""

    sessionId: str = ""
    token: str = ""
    tokenIndex: int = -1
    isLast: bool = False
    tokenCount: int = 1


class Incoming(Struct):
    """What is read of a message, whatever its op."""

    op: str
    id: int = 0
    topic: str = ""
    body: Body | None = None
    code: str = ""
    message: str = ""


class Edgestream:
    """The wire of edgestream, and of rivals that were given the same one.

    A publish of the token i is ``start(id) + sessions[n] + tokens[i]``; several
    are `pack`ed into one message. `mark(n) + evidence[i]` is what its event must contain if
    the body is passed on as it was sent. The lists grow by `prepare`.
    """

    path = "/ws/chat"

    def __init__(self, codec: CodecName, sessions: int, *, spaced: bool = False) -> None:
        self._spaced = spaced
        self.binary = codec == "msgpack"
        self.opcode = BINARY if self.binary else TEXT
        self.subprotocol = f"edgestream.v1.{codec}"
        library: Any = msgspec.msgpack if self.binary else msgspec.json
        self._encode = library.Encoder().encode
        self._decode = library.Decoder(Incoming | list[Incoming]).decode
        self._names = [f"s{n:06d}" for n in range(sessions)]
        self.sessions = [self._session(n) for n in range(sessions)]
        self.singles = frozenset(range(0x80, 0x90) if self.binary else b"{")
        """How a message with one event begins, other than one with several."""
        self.ack = b'{"op": "ack", "id": ' if spaced else b'{"op":"ack","id":'
        """How an ack begins, to be recognised; in MessagePack, where this is never so, decoded."""
        self.tokens: list[bytes] = []
        self.evidence: list[bytes] = []
        self._starts: list[bytes] = []
        self.start_without_id = b"\x83" + self._pairs(op="publish")
        if not self.binary:
            self.start_without_id = b'{"op":"publish",'

    def session_name(self, session: int) -> str:
        return self._names[session]

    def start(self, id: int) -> bytes:
        """How a publish with an id begins."""
        starts = self._starts
        while len(starts) <= id:
            if self.binary:
                starts.append(b"\x84" + self._pairs(op="publish", id=len(starts)))
            else:
                starts.append(b'{"op":"publish","id":%d,' % len(starts))
        return starts[id]

    def prepare(self, count: int) -> None:
        """Have the parts of tokens up to `count`, before the clock runs."""
        for index in range(len(self.tokens), count):
            self.tokens.append(self.token(index, word(index), last=False))
            self.evidence.append(self._evidence(index))

    def token(self, index: int, content: str, *, last: bool) -> bytes:
        pairs = self._pairs(token=content, tokenIndex=index, isLast=last)
        return pairs if self.binary else pairs + b"}}"

    def pack(self, items: list[bytes]) -> bytes:
        if self.binary:
            return b"\xdc" + len(items).to_bytes(2, "big") + b"".join(items)
        return b"[" + b",".join(items) + b"]"

    def mark(self, session: int) -> bytes:
        """What precedes `evidence[i]` in an event of `session`."""
        if self._spaced:
            return json.dumps(self._turn(session))[1:-1].encode() + b", "
        return self._turn_part(session)

    def subscribe(self, id: int, session: int) -> bytes:
        return self._message(op="subscribe", id=id, topic=TOKEN_TOPIC, key=self._names[session])

    def turn_started(self, id: int, session: int) -> bytes:
        return self._publish(id, "agent.chat.turnStarted", self._turn(session))

    def turn_completed(self, id: int, session: int, tokens: int, full_text: str) -> bytes:
        body = self._turn(session) | {
            "fullText": full_text,
            "toolCallsUsed": [],
            "inputTokens": 0,
            "outputTokens": tokens,
            "durationMs": 1,
        }
        return self._publish(id, "agent.chat.turnCompleted", body)

    def decode(self, payload: bytes) -> list[Incoming]:
        """The messages of one WebSocket message.

        Raises:
            msgspec.DecodeError: it is not this protocol.
        """
        decoded: Incoming | list[Incoming] = self._decode(payload)
        return decoded if isinstance(decoded, list) else [decoded]

    def _turn(self, session: int) -> dict[str, Any]:
        return {"sessionId": self._names[session], "turnId": f"t{session}", "agentId": "bench"}

    def _publish(self, id: int, topic: str, body: dict[str, Any]) -> bytes:
        return self._message(op="publish", id=id, topic=topic, body=body)

    def _message(self, **fields: Any) -> bytes:
        encoded: bytes = self._encode(fields)
        return encoded

    def _session(self, session: int) -> bytes:
        """From the topic to the session's part of the body."""
        topic = self._pairs(topic=TOKEN_TOPIC)
        if self.binary:
            body: bytes = self._encode("body") + b"\x86"
        else:
            body = b',"body":{'
        return topic + body + self._turn_part(session)

    def _turn_part(self, session: int) -> bytes:
        pairs = self._pairs(**self._turn(session))
        return pairs if self.binary else pairs + b","

    def _evidence(self, index: int) -> bytes:
        fields = {"token": word(index), "tokenIndex": index, "isLast": False}
        return json.dumps(fields)[1:-1].encode() if self._spaced else self._pairs(**fields)

    def _pairs(self, **fields: Any) -> bytes:
        """The fields of an object without what opens and closes it."""
        if self.binary:
            return b"".join(map(self._encode, itertools.chain.from_iterable(fields.items())))
        encoded: bytes = self._encode(fields)
        return encoded[1:-1]
