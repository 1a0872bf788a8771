"""The streaming API guide: SSE with typed data, or one JSON answer, as ``stream`` says; and voice.

``POST /api/chat?stream=…&includeTokens=…`` with ``{"message", "chatInstanceId",
"chatModelId", "stream"?, "includeTokens"?}``. Its front end parses each chunk on its own.
(docs/decisions/0015-dialects.md tells which of its fields are our choice.)
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from plugins.agent import messages
from plugins.agent.dialects import asking
from plugins.agent.dialects.asking import Ask, Incoming
from plugins.agent.dialects.base import Dialect
from plugins.agent.dialects.encoder import Encoder, Failure
from plugins.agent.dialects.framing import packed, whole
from plugins.agent.messages import (
    Body,
    Json,
    ToolCallCompleted,
    ToolCallStarted,
    TurnCompleted,
    TurnStarted,
)


class Transcription(Struct, tag="transcription"):
    text: str


class StreamStart(Struct, tag="stream_start"):
    chatInstanceId: str


class Thinking(Struct, tag="thinking"):
    content: str


class ToolCall(Struct, tag="tool_call"):
    toolCallId: str
    toolName: str
    arguments: dict[str, Any]


class ToolResult(Struct, tag="tool_result", omit_defaults=True):
    toolCallId: str
    toolName: str | UnsetType = UNSET
    result: Json | UnsetType = UNSET
    error: Json | UnsetType = UNSET


class Token(Struct, tag="token"):
    content: str


class AgentResponse(Struct, tag="agent_response"):
    """The final answer with its full context; also the JSON answer."""

    content: str
    chatInstanceId: str
    turnId: str
    agentId: str
    toolCallsUsed: list[str]
    suggestedQuestions: list[str]
    inputTokens: int
    outputTokens: int
    durationMs: float
    finishReason: str


class MessageSaved(Struct, tag="message_saved"):
    messageId: str


class Error(Struct, tag="error"):
    code: str
    message: str
    retryable: bool


class StreamEnd(Struct, tag="stream_end"):
    pass


class Wishes(Struct):
    """In the query they win."""

    stream: bool = False
    includeTokens: bool = True


class Question(Wishes, kw_only=True):
    message: str
    chatInstanceId: str
    chatModelId: str


class Speech(Wishes, kw_only=True):
    audio: Annotated[Raw, Meta(extra_json_schema={"type": "string", "format": "binary"})]
    chatInstanceId: str
    chatModelId: str


class GuideEncoder(Encoder):
    """`stream_start` is the turn's own start, since what was heard of speech comes before."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self._questions: list[str] = []
        self._saved = b""
        self._response: AgentResponse | None = None

    def _token(self, text: str, time: int) -> bytes:
        return packed(Token(text)) if self.ask.tokens else b""

    def _other(self, body: Body, time: int) -> bytes:
        match body:
            case messages.Transcription():
                return packed(Transcription(body.text))
            case TurnStarted():
                return packed(StreamStart(body.sessionId))
            case messages.Thinking():
                return packed(Thinking(body.text))
            case ToolCallStarted():
                return packed(ToolCall(body.toolCallId, body.toolName, body.arguments))
            case ToolCallCompleted():
                result = ToolResult(body.toolCallId, body.toolName, body.result, body.error)
                return packed(result)
            case messages.Suggestions():
                self._questions = body.questions
            case messages.MessageSaved():
                self._saved = packed(MessageSaved(body.messageId))
                if self._response is not None:
                    return self.closed()
        return b""

    def _completed(self, body: TurnCompleted, time: int) -> bytes:
        self._response = AgentResponse(
            body.fullText,
            body.sessionId,
            body.turnId,
            body.agentId,
            body.toolCallsUsed,
            self._questions,
            body.inputTokens,
            body.outputTokens,
            whole(body.durationMs),
            "stop" if body.finishReason is UNSET else body.finishReason,
        )
        answer = packed(self._response)
        if self._saved or not self.ask.stream:
            return answer + self.closed()
        self.ended = False  # that it is saved may still be told
        return answer

    def closed(self) -> bytes:
        self.ended = True
        return self._saved + packed(StreamEnd())

    def _failed(self, failure: Failure) -> bytes:
        if self._response is not None:
            return self.closed()
        return packed(Error(*failure)) + packed(StreamEnd())

    def _document(self) -> AgentResponse | None:
        return self._response


class Guide(Dialect):
    name = "guide"
    title = "Streaming API guide"
    paths = ("/api/chat",)
    voice = ("/api/chat/voice",)
    asks = Question
    aloud = Speech
    query = Wishes
    tells = (
        Transcription, StreamStart, Thinking, ToolCall, ToolResult, Token, AgentResponse,
        MessageSaved, StreamEnd, Error,
    )  # fmt: skip
    document = AgentResponse
    example: ClassVar[Mapping[str, Any]] = {
        "message": "How many are there?",
        "chatInstanceId": "session-1",
        "chatModelId": "model-1",
        "stream": True,
    }
    lingers = 1.0

    def ask(self, incoming: Incoming) -> Ask:
        return _ask(incoming, asking.text(incoming.body))

    def hear(self, incoming: Incoming) -> Ask:
        return _ask(incoming, "")

    def encoder(self, ask: Ask) -> Encoder:
        return GuideEncoder(ask)


def _ask(incoming: Incoming, text: str) -> Ask:
    return Ask(
        asking.name(incoming.body, "chatInstanceId"),
        text,
        metadata={"chatModelId": asking.name(incoming.body, "chatModelId")},
        stream=asking.flag(incoming, "stream", default=False),
        tokens=asking.flag(incoming, "includeTokens", default=True),
    )
