"""A question as a message, and what has become of it, by the state of its session."""

import hashlib
from typing import Any

import msgspec
from msgspec import UNSET

from plugins.agent.dialects.asking import Ask
from plugins.agent.messages import UserMessage
from plugins.agent.recordings import Recording
from plugins.agent.sessions import Session


def name_of(kind: str, ask: Ask, said: str) -> str:
    """How the messageId of a question begins: the same for the same question."""
    question = [ask.session, ask.user, said, ask.metadata]
    digest = hashlib.sha256(msgspec.json.encode(question, order="deterministic")).hexdigest()
    return f"{kind}-{digest[:16]}-"


def user_message(ask: Ask, id: str) -> UserMessage:
    return UserMessage(
        sessionId=ask.session,
        messageId=id,
        text=ask.text,
        userId=UNSET if ask.user is None else ask.user,
        metadata=dict(ask.metadata) if ask.metadata else UNSET,
    )


def user_audio(ask: Ask, id: str, recording: Recording, url: str) -> dict[str, Any]:
    """A `UserAudio`; what came with it goes along, though its type does not know of it."""
    return {
        "sessionId": ask.session,
        "messageId": id,
        "contentType": recording.content_type,
        "size": recording.size,
        "url": url,
        "metadata": ask.metadata,
    }


def open_message(state: Session | None, name: str) -> tuple[str, int | None]:
    """The message whose id begins with `name` that is being answered, or waits to be; "" if there
    is none; and behind which position its answer begins. One that was told to stop is none."""
    if state is None:
        return "", None
    for turn in state.open_turns():
        if turn.cancel is not None:
            continue  # it is about to end
        if isinstance(turn.message_id, str) and turn.message_id.startswith(name):
            return turn.message_id, turn.shown[0].position - 1
    for (_, id), event in (state.untaken or {}).items():
        if id.startswith(name):
            return id, event.position - 1
    return "", None


def is_known(state: Session | None, id: str) -> bool:
    """Whether what becomes of a message can still be told: it waits, or its turn is shown."""
    if state is None:
        return False
    if any(waiting == id for _, waiting in state.untaken or ()):
        return True
    return any(turn.message_id == id and turn.shown for turn in state.turns.values())
