"""How the front ends of the dialects read their streams, and one recorded turn.

Octopus's and Strakly's buffer what comes, and take lines out of it. The guide's and
OpsHub's take each chunk for itself: of a chunk that ends within an event, they lose it.
"""

import json

from plugins.agent.dialects import DIALECTS
from plugins.agent.dialects.asking import Incoming
from plugins.agent.dialects.encoder import Event
from plugins.agent.messages import (
    PREFIX,
    Action,
    MessageSaved,
    Progress,
    Suggestions,
    Thinking,
    Token,
    ToolCallCompleted,
    ToolCallStarted,
    TurnCompleted,
    TurnStarted,
)

OF = {"sessionId": "s-1", "turnId": "t-1"}
BEGAN = 1_700_000_000_000

ASKED = {
    "octopus": {"message": "Hi"},
    "guide": {"message": "Hi", "chatInstanceId": "s-1", "chatModelId": "m-1", "stream": True},
    "opshub": {"message": "Hi", "sessionId": "s-1"},
    "strakly": {"message": "Hi", "conversation_id": "s-1"},
}
"""What each front end posts."""


def incoming(name, body=None, query=None, accept="text/event-stream"):
    """A POST of the front end `name`."""
    return Incoming(
        path={"sessionId": "s-1"} if name == "octopus" else {},
        query=query or {},
        headers={"accept": accept},
        body=ASKED[name] if body is None else body,
    )


def encoder(name, **changes):
    """The way out for an answer to it."""
    dialect = DIALECTS[name]
    return dialect.encoder(dialect.ask(incoming(name, **changes)))


def at(body, after=0):
    topic = type(body).__name__
    return Event(PREFIX + topic[0].lower() + topic[1:], body, BEGAN + after)


def tokens(pieces, first=0):
    """Token events, of which each may stand for several tokens, and the empty last one."""
    index, events = first, []
    for text, count in pieces:
        more = {} if count == 1 else {"tokenCount": count}
        body = Token(**OF, agentId="a", token=text, tokenIndex=index, isLast=False, **more)
        events.append(at(body, 300 + index))
        index += count
    last = Token(**OF, agentId="a", token="", tokenIndex=index, isLast=True)
    return [*events, at(last, 300 + index)]


def completed(text, reason="stop", **changes):
    said = {"toolCallsUsed": ["search"], "inputTokens": 7, "outputTokens": 5, "durationMs": 900}
    body = {**OF, "agentId": "a", "fullText": text, **said, "finishReason": reason, **changes}
    return at(TurnCompleted(**body), 900)


def recorded(pieces):
    """A turn that has everything, and says `pieces`: pairs of a text and a count of tokens."""
    call = {**OF, "toolCallId": "c-1"}
    return [
        at(TurnStarted(**OF, agentId="a", messageId="m-1")),
        at(Thinking(**OF, text="Hm.\n")),
        at(ToolCallStarted(**call, toolName="search", arguments={"q": "é\n"}), 10),
        at(Progress(**OF, percent=50, message="half\r\nway")),
        at(ToolCallCompleted(**call, toolName="search", result={"hits": 3}, durationMs=40), 60),
        *tokens(pieces),
        at(Action(**OF, action={"type": "change_theme", "value": "dark"})),
        at(Suggestions(**OF, questions=["More?\n", "Why?"])),
        at(MessageSaved(**OF, messageId="answer-1")),
        completed("".join(text for text, _ in pieces)),
    ]


def written(way, events):
    """What `way` writes for `events`: a list of writes, the first with the headers."""
    return [way.accepted(), *(way.event(event) for event in events)]


# ------------------------------------------------------------------ the front ends


class Octopus:
    """Buffers; takes blocks out of it, with a name and data."""

    def __init__(self):
        self.buffer = b""
        self.events = []

    def feed(self, chunk):
        self.buffer += chunk
        *blocks, self.buffer = self.buffer.split(b"\n\n")
        for block in blocks:
            name, data = block.decode().split("\n")
            assert name.startswith("event: ")
            assert data.startswith("data: ")
            self.events.append((name[7:], json.loads(data[6:])))

    @property
    def text(self):
        return "".join(data["text"] for name, data in self.events if name == "token")


class Strakly:
    """Buffers; takes lines out of it, until one is the end."""

    def __init__(self):
        self.buffer = b""
        self.events = []
        self.done = False

    def feed(self, chunk):
        self.buffer += chunk
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in filter(None, lines):
            assert line.startswith(b"data: ")
            if line == b"data: [DONE]":
                self.done = True
                continue
            assert not self.done
            (pair,) = json.loads(line[6:]).items()
            self.events.append(pair)

    @property
    def text(self):
        return "".join(value for key, value in self.events if key == "token")


class ChunkByChunk:
    """The guide's and OpsHub's: no buffer, each chunk by itself, data lines only."""

    def __init__(self):
        self.events = []

    def feed(self, chunk):
        for block in chunk.decode().split("\n\n"):
            if block.startswith("data: "):
                self.events.append(json.loads(block[6:]))

    def all(self, kind):
        return [event for event in self.events if event["type"] == kind]

    @property
    def text(self):
        pieces = (e for e in self.events if e["type"] in ("token", "text_delta"))
        return "".join(piece["content"] for piece in pieces)


READERS = {"octopus": Octopus, "guide": ChunkByChunk, "opshub": ChunkByChunk, "strakly": Strakly}


def read(name, chunks):
    """The front end `name`, after it has read `chunks`. The network has no empty ones."""
    reader = READERS[name]()
    for chunk in filter(None, chunks):
        reader.feed(chunk)
    return reader


def split(chunks, sizes=(1,)):
    """The same bytes, cut into chunks of `sizes` in turn."""
    left, cut, turn = b"".join(chunks), [], 0
    while left:
        size = sizes[turn % len(sizes)]
        cut.append(left[:size])
        left, turn = left[size:], turn + 1
    return cut
