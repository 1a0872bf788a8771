"""The bodies of every agent topic, with exactly these field names.

An optional field is left out, never null. Unknown fields pass through: the
types forbid them only so that the broker notices (see `broker.bodies.BodyType`).
"""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

MAX_INT: Final = 2**63 - 1

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
Milliseconds = Annotated[float, Meta(ge=0)]
Json = str | int | float | bool | list[Any] | dict[str, Any]
"""What JSON can say, but for null."""


class Body(Struct, forbid_unknown_fields=True, gc=False):
    """What every chat body has: the session, which is the stream's key."""

    sessionId: Name


class TurnBody(Body, gc=False):
    """What belongs to one turn; `turnId` is unique within its session."""

    turnId: Name


class TurnStarted(TurnBody, gc=False):
    """A new turn begins; with `messageId`, it takes that user message up."""

    agentId: Name
    messageId: Name | UnsetType = UNSET


class Token(TurnBody, gc=False):
    """One output token, or several merged ones.

    `tokenIndex` is the position of the first, from 0; `tokenCount` says how many.
    """

    agentId: Name
    token: str
    tokenIndex: Count
    isLast: bool
    tokenCount: Annotated[int, Meta(ge=1, le=MAX_INT)] | UnsetType = UNSET

    @property
    def count(self) -> int:
        return 1 if self.tokenCount is UNSET else self.tokenCount


class ToolCallStarted(TurnBody):
    toolName: str
    toolCallId: Name
    arguments: dict[str, Any]


class ToolCallCompleted(TurnBody):
    toolCallId: Name
    toolName: str | UnsetType = UNSET
    result: Json | UnsetType = UNSET
    error: Json | UnsetType = UNSET
    durationMs: Milliseconds | UnsetType = UNSET


class TurnCompleted(TurnBody):
    """The turn has ended well, or was cancelled."""

    agentId: Name
    fullText: str
    toolCallsUsed: list[str]
    inputTokens: Count
    outputTokens: Count
    durationMs: Milliseconds
    finishReason: Literal["stop", "cancelled", "length", "error"] | UnsetType = UNSET


class ChatError(Body):
    """With a `turnId`, it ends that turn."""

    code: str
    message: str
    retryable: bool
    turnId: Name | UnsetType = UNSET
    messageId: Name | UnsetType = UNSET
    agentId: Name | UnsetType = UNSET


class UserMessage(Body):
    messageId: Name
    text: str
    agentId: Name | UnsetType = UNSET
    userId: str | UnsetType = UNSET
    metadata: Json | UnsetType = UNSET


class Cancel(TurnBody):
    """Somebody pressed Stop."""

    reason: str | UnsetType = UNSET


class Thinking(TurnBody):
    text: str


class Progress(TurnBody):
    percent: Annotated[float, Meta(ge=0, le=100)]
    message: str


class Action(TurnBody):
    """A front-end action, such as ``{"type": "change_theme", "value": "dark"}``."""

    action: dict[str, Any]


class Suggestions(TurnBody):
    questions: list[str]


class UserAudio(Body):
    messageId: Name
    contentType: str
    size: Count
    url: str
    agentId: Name | UnsetType = UNSET


class Transcription(Body):
    messageId: Name
    text: str


class MessageSaved(TurnBody):
    messageId: Name


class Status(Struct, forbid_unknown_fields=True):
    """An agent's state; the last one is retained."""

    agentId: Name
    status: Literal["online", "busy", "degraded", "offline"]
    detail: Json | UnsetType = UNSET
    activeTurns: Count | UnsetType = UNSET


NAMESPACE = "agent.chat"
PREFIX = NAMESPACE + "."

CHAT: dict[str, type[Body]] = {
    PREFIX + "turnStarted": TurnStarted,
    PREFIX + "token": Token,
    PREFIX + "toolCallStarted": ToolCallStarted,
    PREFIX + "toolCallCompleted": ToolCallCompleted,
    PREFIX + "turnCompleted": TurnCompleted,
    PREFIX + "error": ChatError,
    PREFIX + "userMessage": UserMessage,
    PREFIX + "cancel": Cancel,
    PREFIX + "thinking": Thinking,
    PREFIX + "progress": Progress,
    PREFIX + "action": Action,
    PREFIX + "suggestions": Suggestions,
    PREFIX + "userAudio": UserAudio,
    PREFIX + "transcription": Transcription,
    PREFIX + "messageSaved": MessageSaved,
}
"""Every topic of `agent.chat`, and its body."""
