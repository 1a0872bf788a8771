"""Strakly: SSE whose data has one key each, or one JSON answer, as ``Accept`` says.

``POST /chat`` with ``{"message", "conversation_id"?, "branch_id"?}``.
"""

import secrets
from typing import Any

from plugins.agent.dialects import asking
from plugins.agent.dialects.base import Ask, Dialect, Encoder, Failure, Incoming
from plugins.agent.dialects.framing import frame, packed
from plugins.agent.messages import Action, Body, Suggestions, ToolCallStarted, TurnCompleted

DONE = frame(b"[DONE]")


class StraklyEncoder(Encoder):
    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self._questions: list[str] = []
        self._response = ""

    def accepted(self) -> bytes:
        return packed({"conversation_id": self.ask.session})

    def _token(self, text: str, time: int) -> bytes:
        return packed({"token": text})

    def _other(self, body: Body, time: int) -> bytes:
        match body:
            case ToolCallStarted():
                return packed({"tools_used": [body.toolName]})
            case Action():
                return packed({"action": body.action})
            case Suggestions():
                self._questions = body.questions  # they come after all of the answer
        return b""

    def _completed(self, body: TurnCompleted, time: int) -> bytes:
        self._response = body.fullText
        if not self._questions:
            return DONE
        return packed({"suggested_questions": self._questions}) + DONE

    def _failed(self, failure: Failure) -> bytes:
        return DONE

    def _document(self) -> Any:
        return {
            "response": self._response,
            "conversation_id": self.ask.session,
            "suggested_questions": self._questions,
        }


class Strakly(Dialect):
    name = "strakly"
    title = "Strakly"
    paths = ("/chat",)

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
            stream="text/event-stream" in incoming.headers.get("accept", "").lower(),
        )

    def encoder(self, ask: Ask) -> Encoder:
        return StraklyEncoder(ask)
