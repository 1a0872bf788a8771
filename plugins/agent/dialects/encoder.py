"""One turn's way out: its events, in the words of one front end."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import msgspec

from plugins.agent.dialects.asking import Ask
from plugins.agent.messages import (
    PREFIX,
    Body,
    ChatError,
    Token,
    ToolCallCompleted,
    ToolCallStarted,
    TurnCompleted,
    TurnStarted,
)


class Event(NamedTuple):
    """One event of a turn: its typed body (`plugins.agent.messages`), and Unix ms."""

    topic: str
    body: Any
    time: int


class Failure(NamedTuple):
    """Why a turn has no good end."""

    code: str
    message: str
    retryable: bool


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
        self._failure: Failure | None = None
        self._texts: list[str] = []
        self._said = self._at = 0  # characters of text: written; before the next token event
        self._tokens = 0
        self._heard = 0  # of the latest event, in Unix ms
        self._begun = False
        self._completion: TurnCompleted | None = None
        self._calls: dict[str, Event] = {}  # the toolCallStarted of those that are open, by id
        self._again: set[str] | None = None  # while the turn is told again: its open tool calls

    def accepted(self) -> bytes:
        """The question has a worker. Sent with the headers."""
        return b""

    def event(self, event: Event) -> bytes:
        """One event of the turn. Token events may be merged. Nothing follows the end.

        The turn may be told again from its turnStarted on, in fewer events: of that, what was
        written before is left out.
        """
        if self.ended:
            return b""
        _, body, time = event
        if time > self._heard:
            self._heard = time
        if isinstance(body, Token):  # as most are
            return self._told(body, time)
        if isinstance(body, TurnStarted):
            return self._begin(body, time)
        if isinstance(body, ToolCallStarted | ToolCallCompleted):
            return self._tool(body, event)
        if isinstance(body, TurnCompleted):
            return self.retold() + self._complete(body, time)
        if isinstance(body, ChatError):
            return self.retold() + self.failed(body.code, body.message, body.retryable)
        return self._other(body, time)

    def retold(self) -> bytes:
        """What there is has been told again. A tool call that is not open any more has ended in
        what was let go: nothing else says so."""
        again, self._again = self._again, None
        if again is None:
            return b""
        ended = [call for id, call in self._calls.items() if id not in again]
        return b"".join([self.event(_ended(call, self._heard)) for call in ended])

    def failed(self, code: str, message: str, retryable: bool) -> bytes:
        """The turn ends here, whether an event says so or nothing does."""
        if self.ended:
            return b""
        self.ended = True
        self._failure = Failure(code, message, retryable)
        return self._failed(self._failure)

    def closed(self) -> bytes:
        """Its closing event came `Dialect.lingers` ago, and this has not `ended` yet."""
        return b""

    def answer(self) -> tuple[int, bytes]:
        """HTTP status and JSON, after the closing event or `failed`.

        Only for an `Ask` that is no stream: of a dialect that always streams there is none.
        """
        if self._failure is not None:
            return STATUS.get(self._failure.code, 502), problem(*self._failure)
        return 200, msgspec.json.encode(self._document())

    @property
    def text(self) -> str:
        """All the text so far."""
        return "".join(self._texts)

    def _told(self, body: Token, time: int) -> bytes:
        text = body.token
        if not text:
            return b""
        known = self._said - self._at
        self._at += len(text)
        self._tokens = body.tokenIndex + body.count
        if known:
            text = text[known:]
        return self._piece(text, time)

    def _piece(self, text: str, time: int) -> bytes:
        if not text:
            return b""
        self._texts.append(text)
        self._said += len(text)
        return self._token(text, time)

    def _begin(self, body: TurnStarted, time: int) -> bytes:
        if self._begun:
            self._at, self._again = 0, set()
            return b""
        self._begun = True
        return self._other(body, time)

    def _tool(self, body: ToolCallStarted | ToolCallCompleted, event: Event) -> bytes:
        id = body.toolCallId
        if isinstance(body, ToolCallCompleted):
            data = self._other(body, event.time)
            self._calls.pop(id, None)
            return data
        if self._again is not None:
            self._again.add(id)
        if id in self._calls:
            return b""
        self._calls[id] = event
        return self._other(body, event.time)

    def _complete(self, body: TurnCompleted, time: int) -> bytes:
        if self._completion is not None:
            return b""
        self._completion = body
        rest = self._piece(_rest(self.text, body.fullText), time)
        if body.finishReason == "error":
            return rest + self.failed(*BROKEN_OFF)
        self.ended = True
        return rest + self._completed(body, time)

    @abstractmethod
    def _token(self, text: str, time: int) -> bytes:
        """A piece of the text, which is not empty."""

    @abstractmethod
    def _completed(self, body: TurnCompleted, time: int) -> bytes:
        """The good end, and the cancelled one. The text is complete."""

    @abstractmethod
    def _failed(self, failure: Failure) -> bytes:
        """The dialect's own way to end without an answer."""

    @abstractmethod
    def _other(self, body: Body, time: int) -> bytes:
        """Whatever else happens in a turn; what the front end does not know is left out."""

    def _document(self) -> Any:
        """The JSON answer."""
        raise TypeError(f"{type(self).__module__} only streams")


STATUS = {
    "turn_stalled": 504, "agent_unresponsive": 504, "timeout": 504,
    "no_worker": 503, "shutting_down": 503, "slow_consumer": 503, "voice_unavailable": 501,
}  # fmt: skip
"""The HTTP status of codes of errors; others that end a turn are 502."""

BROKEN_OFF = Failure("agent_failed", "The agent failed to answer.", retryable=True)
"""Of a turn whose own end says so, and does not say why."""


def problem(code: str, message: str, retryable: bool, field: str | None = None) -> bytes:
    """The JSON that tells why there is no answer: for every status that is no success."""
    error: dict[str, Any] = {"code": code, "message": message, "retryable": retryable}
    if field is not None:
        error["field"] = field
    return msgspec.json.encode({"error": error})


def _ended(call: Event, time: int) -> Event:
    """The end of a tool call, of which no more is known."""
    of: ToolCallStarted = call.body
    body = ToolCallCompleted(of.sessionId, of.turnId, of.toolCallId, of.toolName)
    return Event(PREFIX + "toolCallCompleted", body, time)


def _rest(said: str, full: str) -> str:
    """What no token event said of a completed turn's text: where its agent does not stream,
    or where its tokens were compacted away before this reader came."""
    return full[len(said) :] if full.startswith(said) else ""
