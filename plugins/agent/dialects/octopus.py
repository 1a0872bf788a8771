"""Octopus: SSE with named events.

``POST /api/chat/{sessionId}/send`` with ``{"message": "…"}``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import UNSET, Struct

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
    """Of a turn that failed: the tokens and the time until what was heard of it last."""

    turn_id: str
    total_tokens: int
    elapsed_ms: int


class Question(Struct):
    message: str


class OctopusEncoder(Encoder):
    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self._turn = ""
        self._began: int | None = None

    def _token(self, text: str, time: int) -> bytes:
        return packed(Text(text), "token")

    def _other(self, body: Body, time: int) -> bytes:
        match body:
            case TurnStarted():
                self._turn, self._began = body.turnId, time
                return packed(TurnStart(body.turnId, body.agentId), "turn_start")
            case ToolCallStarted():
                return packed(ToolCall(body.toolName, body.toolCallId), "tool_call")
            case ToolCallCompleted():
                result = ToolResult(body.toolCallId, self._lasted(body, time))
                return packed(result, "tool_result")
        return b""

    def _lasted(self, body: ToolCallCompleted, time: int) -> int:
        if body.durationMs is not UNSET:
            return round(body.durationMs)
        begun = self._calls.get(body.toolCallId)
        return 0 if begun is None else max(0, time - begun.time)

    def _completed(self, body: TurnCompleted, time: int) -> bytes:
        total = body.inputTokens + body.outputTokens
        return packed(TurnEnd(body.turnId, total, round(body.durationMs)), "turn_end")

    def _failed(self, failure: Failure) -> bytes:
        began = self._heard if self._began is None else self._began
        return packed(TurnEnd(self._turn, self._tokens, self._heard - began), "turn_end")


class Octopus(Dialect):
    name = "octopus"
    title = "Octopus"
    paths = ("/api/chat/{sessionId}/send",)
    asks = Question
    tells = (TurnStart, ToolCall, ToolResult, Text, TurnEnd)
    example: ClassVar[Mapping[str, Any]] = {"message": "How many are there?"}

    def ask(self, incoming: Incoming) -> Ask:
        return Ask(asking.name(incoming.path, "sessionId"), asking.text(incoming.body))

    def encoder(self, ask: Ask) -> Encoder:
        return OctopusEncoder(ask)
