"""Octopus: SSE with named events.

``POST /api/chat/{sessionId}/send`` with ``{"message": "…"}``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import UNSET, Struct

from broker.gateway import Named
from plugins.agent.dialects import asking
from plugins.agent.dialects.asking import Ask, Incoming
from plugins.agent.dialects.base import Dialect
from plugins.agent.dialects.encoder import Encoder, Failure
from plugins.agent.dialects.framing import packed
from plugins.agent.messages import (
    Body,
    ToolCallCompleted,
    ToolCallStarted,
    TurnCompleted,
    TurnStarted,
)


class TurnStart(Struct):
    turn_id: str
    agent_id: str


class ToolCall(Struct):
    tool_name: str
    tool_call_id: str


class ToolResult(Struct):
    tool_call_id: str
    elapsed_ms: int


class Text(Struct):
    text: str


class TurnEnd(Struct):
    """Of a turn whose end does not say it: the tokens and the time until what was heard last."""

    turn_id: str
    total_tokens: int
    elapsed_ms: int


NAMES: Mapping[type[Struct], str] = {
    TurnStart: "turn_start",
    ToolCall: "tool_call",
    ToolResult: "tool_result",
    Text: "token",
    TurnEnd: "turn_end",
}
"""What the event of each is called."""


def _told(data: Struct) -> bytes:
    return packed(data, NAMES[type(data)])


class Question(Struct):
    message: str


class OctopusEncoder(Encoder):
    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self._turn = ""
        self._began: int | None = None

    def _token(self, text: str, time: int) -> bytes:
        return _told(Text(text))

    def _other(self, body: Body, time: int) -> bytes:
        match body:
            case TurnStarted():
                self._turn, self._began = body.turnId, time
                return _told(TurnStart(body.turnId, body.agentId))
            case ToolCallStarted():
                return _told(ToolCall(body.toolName, body.toolCallId))
            case ToolCallCompleted():
                return _told(ToolResult(body.toolCallId, self._lasted(body, time)))
        return b""

    def _lasted(self, body: ToolCallCompleted, time: int) -> int:
        if body.durationMs is not UNSET:
            return round(body.durationMs)
        begun = self._calls.get(body.toolCallId)
        return 0 if begun is None else max(0, time - begun.time)

    def _completed(self, body: TurnCompleted, time: int) -> bytes:
        total = body.inputTokens + body.outputTokens
        return _told(TurnEnd(body.turnId, total, round(body.durationMs)))

    def _failed(self, failure: Failure) -> bytes:
        if self._completion is not None:
            return self._completed(self._completion, self._heard)
        began = self._heard if self._began is None else self._began
        return _told(TurnEnd(self._turn, self._tokens, self._heard - began))


class Octopus(Dialect):
    name = "octopus"
    title = "Octopus"
    paths = ("/api/chat/{sessionId}/send",)
    asks = Question
    tells = tuple(Named(name, data) for data, name in NAMES.items())
    example: ClassVar[Mapping[str, Any]] = {"message": "How many are there?"}

    def ask(self, incoming: Incoming) -> Ask:
        return Ask(asking.name(incoming.path, "sessionId"), asking.text(incoming.body))

    def encoder(self, ask: Ask) -> Encoder:
        return OctopusEncoder(ask)
