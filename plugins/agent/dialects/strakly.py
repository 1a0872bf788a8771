"""Strakly: SSE whose data has one key each, or one JSON answer, as ``Accept`` says.

``POST /chat`` with ``{"message", "conversation_id"?, "branch_id"?}``.
"""

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct

from broker.framing import frame
from plugins.agent.dialects import asking
from plugins.agent.dialects.asking import Ask, Incoming
from plugins.agent.dialects.base import Dialect
from plugins.agent.dialects.encoder import Encoder, Failure
from plugins.agent.dialects.framing import packed
from plugins.agent.messages import Action, Body, Suggestions, ToolCallStarted, TurnCompleted

END = "[DONE]"
DONE = frame(END.encode())


class Question(Struct):
    message: str
    conversation_id: str | None = None
    branch_id: str | None = None


class Conversation(Struct):
    conversation_id: str


class ToolsUsed(Struct):
    tools_used: list[str]


class Token(Struct):
    token: str


class Acted(Struct):
    action: dict[str, Any]


class Suggested(Struct):
    suggested_questions: list[str]


class Answer(Struct):
    """The JSON answer."""

    response: str
    conversation_id: str
    suggested_questions: list[str]


class StraklyEncoder(Encoder):
    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self._questions: list[str] = []
        self._response = ""

    def accepted(self) -> bytes:
        return packed(Conversation(self.ask.session))

    def _token(self, text: str, time: int) -> bytes:
        return packed(Token(text))

    def _other(self, body: Body, time: int) -> bytes:
        match body:
            case ToolCallStarted():
                return packed(ToolsUsed([body.toolName]))
            case Action():
                return packed(Acted(body.action))
            case Suggestions():
                self._questions = body.questions  # they come after all of the answer
        return b""

    def _completed(self, body: TurnCompleted, time: int) -> bytes:
        self._response = body.fullText
        if not self._questions:
            return DONE
        return packed(Suggested(self._questions)) + DONE

    def _failed(self, failure: Failure) -> bytes:
        return DONE

    def _document(self) -> Answer:
        return Answer(self._response, self.ask.session, self._questions)


class Strakly(Dialect):
    name = "strakly"
    title = "Strakly"
    paths = ("/chat",)
    asks = Question
    tells = (Conversation, ToolsUsed, Token, Acted, Suggested, END)
    document = Answer
    example: ClassVar[Mapping[str, Any]] = {
        "message": "How many are there?",
        "conversation_id": "session-1",
    }

    def ask(self, incoming: Incoming) -> Ask:
        body = incoming.body
        if body.get("conversation_id") is None:
            session = secrets.token_hex(16)
        else:
            session = asking.name(body, "conversation_id")
        branch = asking.optional(body, "branch_id")
        return Ask(
            session,
            asking.text(body),
            metadata={} if branch is None else {"branch_id": branch},
            stream=asking.wants_stream(incoming),
        )

    def encoder(self, ask: Ask) -> Encoder:
        return StraklyEncoder(ask)
