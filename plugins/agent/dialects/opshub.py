"""OpsHub: SSE with typed data, and progress. Its front end parses each chunk on its own.

``POST /api/chat`` or ``/api/agent/stream`` with ``{"message", "sessionId", "userId"?}``.
Its Stop button closes the connection.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import UNSET, Struct

from plugins.agent import messages
from plugins.agent.dialects import asking
from plugins.agent.dialects.asking import Ask, Incoming
from plugins.agent.dialects.base import Dialect
from plugins.agent.dialects.encoder import Encoder, Failure
from plugins.agent.dialects.framing import packed, whole
from plugins.agent.messages import Body, ToolCallCompleted, ToolCallStarted, TurnCompleted


class TextDelta(Struct, tag="text_delta"):
    content: str
    timestamp: int
    """Unix ms."""


class Progress(Struct, tag="progress"):
    percent: float
    message: str


class ToolStart(Struct, tag="tool_start"):
    tool: str
    args: dict[str, Any]


class ToolResult(Struct, tag="tool_result"):
    """The result is ``{"error": …}`` of a call that failed, and null where there is none."""

    tool: str
    result: Any


class Done(Struct, tag="done"):
    finalMessage: str


class Error(Struct, tag="error"):
    message: str


class Question(Struct):
    message: str
    sessionId: str
    userId: str | None = None


class OpsHubEncoder(Encoder):
    def _token(self, text: str, time: int) -> bytes:
        return packed(TextDelta(text, time))

    def _other(self, body: Body, time: int) -> bytes:
        match body:
            case messages.Progress():
                return packed(Progress(whole(body.percent), body.message))
            case ToolCallStarted():
                return packed(ToolStart(body.toolName, body.arguments))
            case ToolCallCompleted():
                return packed(ToolResult(self._name(body), _result(body)))
        return b""

    def _name(self, body: ToolCallCompleted) -> str:
        if body.toolName is not UNSET:
            return body.toolName
        begun = self._calls.get(body.toolCallId)
        return body.toolCallId if begun is None else str(begun.body.toolName)

    def _completed(self, body: TurnCompleted, time: int) -> bytes:
        return packed(Done(body.fullText))

    def _failed(self, failure: Failure) -> bytes:
        return packed(Error(failure.message))


def _result(body: ToolCallCompleted) -> Any:
    if body.error is not UNSET:
        return {"error": body.error}
    return None if body.result is UNSET else body.result


class OpsHub(Dialect):
    name = "opshub"
    title = "OpsHub"
    paths = ("/api/chat", "/api/agent/stream")
    asks = Question
    tells = (TextDelta, Progress, ToolStart, ToolResult, Done, Error)
    example: ClassVar[Mapping[str, Any]] = {
        "message": "How many are there?",
        "sessionId": "session-1",
    }
    cancel_on_disconnect = True

    def ask(self, incoming: Incoming) -> Ask:
        body = incoming.body
        session, user = asking.name(body, "sessionId"), asking.optional(body, "userId")
        return Ask(session, asking.text(body), user)

    def encoder(self, ask: Ask) -> Encoder:
        return OpsHubEncoder(ask)
