"""Bodies of the agent topics, all of the session `s` and the turn `t` unless said otherwise."""

from typing import Any

Body = dict[str, Any]
TURN: Body = {"sessionId": "s", "turnId": "t"}

GOOD: dict[str, Body] = {
    "turnStarted": {**TURN, "agentId": "a"},
    "token": {**TURN, "agentId": "a", "token": "Hi", "tokenIndex": 0, "isLast": False},
    "toolCallStarted": {
        **TURN, "toolName": "search", "toolCallId": "c", "arguments": {"q": ["x", None, 1.5]},
    },
    "toolCallCompleted": {**TURN, "toolCallId": "c"},
    "thinking": {**TURN, "text": "hm"},
    "progress": {**TURN, "percent": 50, "message": "half"},
    "action": {**TURN, "action": {"type": "change_theme", "value": "dark"}},
    "suggestions": {**TURN, "questions": ["Why?", "How?"]},
    "cancel": {**TURN},
    "turnCompleted": {
        **TURN, "agentId": "a", "fullText": "Hi", "toolCallsUsed": ["search"],
        "inputTokens": 3, "outputTokens": 1, "durationMs": 12.5,
    },
    "messageSaved": {**TURN, "messageId": "m"},
    "error": {"sessionId": "s", "code": "oops", "message": "it broke", "retryable": True},
    "userMessage": {"sessionId": "s", "messageId": "m", "text": "hello"},
    "userAudio": {
        "sessionId": "s", "messageId": "m", "contentType": "audio/webm", "size": 9,
        "url": "/audio/1",
    },
    "transcription": {"sessionId": "s", "messageId": "m", "text": "hello"},
}  # fmt: skip
"""One good body for each topic of `agent.chat`, in an order in which a turn may have them."""

OPTIONAL: dict[str, Body] = {
    "turnStarted": {"messageId": "m"},
    "token": {"tokenCount": 1},
    "toolCallCompleted": {
        "toolName": "search", "result": {"a": [1]}, "error": "none", "durationMs": 3,
    },
    "cancel": {"reason": "user"},
    "turnCompleted": {"finishReason": "length"},
    "error": {"turnId": "t", "messageId": "m", "agentId": "a"},
    "userMessage": {"agentId": "a", "userId": "u", "metadata": {"k": None}},
    "userAudio": {"agentId": "a"},
}  # fmt: skip
"""The optional fields of each topic that has some."""


def started(turn: str = "t", session: str = "s", **more: Any) -> Body:
    return {"sessionId": session, "turnId": turn, "agentId": "a", **more}


def token(
    index: int,
    text: str = "x",
    turn: str = "t",
    session: str = "s",
    last: bool = False,
    **more: Any,
) -> Body:
    return {
        "sessionId": session, "turnId": turn, "agentId": "a", "token": text,
        "tokenIndex": index, "isLast": last, **more,
    }  # fmt: skip


def completed(turn: str = "t", session: str = "s", text: str = "", **more: Any) -> Body:
    return {
        "sessionId": session, "turnId": turn, "agentId": "a", "fullText": text,
        "toolCallsUsed": [], "inputTokens": 1, "outputTokens": 1, "durationMs": 5, **more,
    }  # fmt: skip


def failed(turn: str = "t", session: str = "s", **more: Any) -> Body:
    return {
        "sessionId": session, "turnId": turn, "code": "api", "message": "no", "retryable": False,
        **more,
    }  # fmt: skip


def status(agent: str = "a", state: str = "online", **more: Any) -> Body:
    return {"agentId": agent, "status": state, **more}


CHAT = "agent.chat."
