"""A body for each topic, as one turn could have them: for generated documents."""

from typing import Any

from plugins.agent.messages import PREFIX

SESSION = {"sessionId": "session-1"}
TURN = SESSION | {"turnId": "turn-1"}
AGENT = {"agentId": "my-agent"}

_CHAT: dict[str, dict[str, Any]] = {
    "userMessage": SESSION | {"messageId": "message-1", "text": "How many are there?"},
    "userAudio": SESSION
    | {
        "messageId": "message-2",
        "contentType": "audio/webm",
        "size": 48_213,
        "url": "/voice/vQ3nXo0c2yJ8Tq5bL1mZ7rWkAe4uHs9d",
    },
    "transcription": SESSION | {"messageId": "message-2", "text": "How many are there?"},
    "turnStarted": TURN | AGENT | {"messageId": "message-1"},
    "thinking": TURN | {"text": "They have to be counted."},
    "toolCallStarted": TURN
    | {"toolName": "count", "toolCallId": "call-1", "arguments": {"of": "namespaces"}},
    "progress": TURN | {"percent": 50, "message": "counting"},
    "toolCallCompleted": TURN
    | {"toolCallId": "call-1", "toolName": "count", "result": {"count": 3}, "durationMs": 12.5},
    "token": TURN | AGENT | {"token": "There are", "tokenIndex": 0, "isLast": False},
    "action": TURN | {"action": {"type": "change_theme", "value": "dark"}},
    "suggestions": TURN | {"questions": ["Which ones?"]},
    "turnCompleted": TURN
    | AGENT
    | {
        "fullText": "There are three.",
        "toolCallsUsed": ["count"],
        "inputTokens": 6,
        "outputTokens": 4,
        "durationMs": 840,
        "finishReason": "stop",
    },
    "messageSaved": TURN | {"messageId": "answer-1"},
    "cancel": TURN | {"reason": "the user pressed Stop"},
    "error": TURN
    | AGENT
    | {"code": "model_timeout", "message": "the model did not answer", "retryable": True},
}

CHAT = {PREFIX + topic: body for topic, body in _CHAT.items()}
STATUS = AGENT | {"status": "busy", "activeTurns": 1}
