"""What a dialect is: how one chat front end asks, and how it reads the answer.

A dialect is pure: it knows nothing of connections, tasks or clocks. The gateway gives it
a request that was read (`Dialect.ask`), and then the events of one turn (`Dialect.encoder`).
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import msgspec
from msgspec import Struct

from plugins.agent.messages import Body, Token, TurnCompleted

_LINE_BREAK = re.compile("\r\n|\r|\n")


@dataclass(frozen=True)
class Incoming:
    """One POST: read whole, its size and content type checked, its JSON object decoded.

    Attributes:
        path: the parameters of its path.
        query: the parameters of its query.
        headers: by lower-case names.
        body: the JSON object.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class Unfit(Exception):
    """A request that its dialect does not understand: HTTP 422.

    Attributes:
        field: what is wrong, by the dialect's own name, such as ``message``.
        message: how it is wrong.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True)
class Ask:
    """What a request asks: it becomes `agent.chat.userMessage`.

    Attributes:
        stream: the answer is a stream of events; otherwise one JSON document.
        tokens: the stream has the text piece by piece, not only as a whole.
    """

    session: str
    text: str
    user: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = True
    tokens: bool = True


class Event(NamedTuple):
    """One event of a turn: its typed body (`plugins.agent.messages`), and Unix ms."""

    topic: str
    body: Body
    time: int


class Encoder(ABC):
    """One turn's way out. Not to be used for a second turn.

    What its methods return is zero or more whole SSE events, to be written in one write:
    some front ends read no further than the chunk that they have.

    Attributes:
        ended: the terminal event is written; the response may end.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.ended = False
        self._texts: list[str] = []

    def accepted(self) -> bytes:
        """The question has a worker. Sent with the headers."""
        return b""

    @abstractmethod
    def event(self, event: Event) -> bytes:
        """One event of the turn. Token events may be merged; unknown topics are left out."""

    @abstractmethod
    def failed(self, code: str, message: str, retryable: bool) -> bytes:
        """The turn ends here without a closing event of its own. Nothing where it has ended."""

    def closed(self) -> bytes:
        """The closing event was given `Dialect.lingers` ago, and nothing has followed."""
        return b""

    def answer(self) -> tuple[int, bytes]:
        """HTTP status and JSON, after the closing event or `failed`.

        Only for an `Ask` that is no stream: of a dialect that always streams there is none.
        """
        raise NotImplementedError(f"{type(self).__name__} only streams")

    @property
    def text(self) -> str:
        """All the text so far."""
        return "".join(self._texts)

    def _piece(self, body: Token | TurnCompleted) -> str:
        """What `body` adds to the text.

        Of a completed turn, that is what no token event said: where its agent does not
        stream, or where its tokens were compacted away before this reader came.
        """
        piece = body.token if isinstance(body, Token) else _rest(self.text, body.fullText)
        self._texts.append(piece)
        return piece


class Dialect(ABC):
    """One front end's way to chat. There is one of each, without state.

    Its events have the lines that its front end reads, and no others: no ``id:``.

    Attributes:
        name: what its options are called, and, behind a slash, its default prefix.
        paths: of its POST below the prefix, in Starlette's form.
        voice: of its POST of recorded speech (multipart).
        cancel_on_disconnect: whether a reader that goes away stops the turn, by default.
        lingers: seconds for which the turn is followed beyond its closing event, where the
            encoder has not `ended` with it; then `Encoder.closed`.
    """

    name: ClassVar[str]
    paths: ClassVar[tuple[str, ...]]
    voice: ClassVar[tuple[str, ...]] = ()
    cancel_on_disconnect: ClassVar[bool] = False
    lingers: ClassVar[float] = 0.0

    @abstractmethod
    def ask(self, incoming: Incoming) -> Ask:
        """What a request asks.

        Raises:
            Unfit: a field is missing or of the wrong kind.
        """

    @abstractmethod
    def encoder(self, ask: Ask) -> Encoder:
        """The way out for the turn that answers `ask`."""


def frame(*data: str | bytes, event: str = "") -> bytes:
    """Each of `data` as one SSE event, named `event` where that is given.

    Lines end with LF alone, and what has line breaks becomes several ``data:`` lines.
    """
    name = f"event: {event}\n" if event else ""
    return "".join(f"{name}{''.join(_lines(each))}\n" for each in data).encode()


def packed(*messages: Struct | Mapping[str, Any], event: str = "") -> bytes:
    """Each message as one SSE event whose data is its JSON."""
    return frame(*map(msgspec.json.encode, messages), event=event)


def problem(code: str, message: str, *, retryable: bool, field: str | None = None) -> bytes:
    """The JSON that tells why there is no answer: for every status that is no success."""
    error: dict[str, Any] = {"code": code, "message": message, "retryable": retryable}
    if field is not None:
        error["field"] = field
    return msgspec.json.encode({"error": error})


def _lines(data: str | bytes) -> Iterable[str]:
    text = data if isinstance(data, str) else data.decode()
    return (f"data: {line}\n" for line in _LINE_BREAK.split(text))


def _rest(said: str, full: str) -> str:
    return full[len(said) :] if full.startswith(said) else ""
