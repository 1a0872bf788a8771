"""How long a turn may go on by itself, and how the broker ends it.

    its owner is gone for `grace`            → agent.chat.error, publisher_lost
    it was cancelled `grace` ago             → turnCompleted, finishReason cancelled
    nothing came for `stall` (`tool_stall`
    while a tool call is open)               → agent.chat.error, turn_stalled

Before that the broker ends the text, with an empty token that is the last: some front
ends stop only on `isLast`. (docs/agent-messages.md)
"""

from collections.abc import Iterator

from broker.plugin import Event
from plugins.agent.messages import PREFIX, Body, ChatError, Token, TurnCompleted
from plugins.agent.options import ChatOptions
from plugins.agent.presence import Presence
from plugins.agent.sessions import Session, Turn


class TurnLeases:
    """The deadlines of turns.

    Args:
        presence: which owners are connected.
    """

    def __init__(self, options: ChatOptions, presence: Presence) -> None:
        self._presence = presence
        self._grace = int(options.grace * 1000)
        self._stall = int(options.stall * 1000)
        self._tool_stall = int(options.tool_stall * 1000)

    def deadline(self, session: Session, started: int) -> int | None:
        """The first deadline of a session's open turns, in Unix ms."""
        dues = [due for t in session.open_turns() for due, _ in self._dues(t, started)]
        return min(dues, default=None)

    def expire(self, session: Session, now: int, started: int) -> Iterator[Event]:
        """What ends the turns that are over their time."""
        for turn in session.open_turns():
            for due, why in self._dues(turn, started):
                if due <= now:
                    yield from _ended(turn, why, now)
                    break

    def _dues(self, turn: Turn, started: int) -> Iterator[tuple[int, str]]:
        if turn.cancel is not None:
            yield turn.cancel.time + self._grace, "cancelled"
        gone = self._presence.gone_since(turn.owner, started)
        if gone is not None:
            yield gone + self._grace, "publisher_lost"
        stall = self._tool_stall if turn.tools_open else self._stall
        yield max(turn.seen, started) + stall, "turn_stalled"


WORDS = {
    "publisher_lost": "The agent was lost in the middle of its answer.",
    "turn_stalled": "The agent has stopped answering.",
}


def _ended(turn: Turn, why: str, now: int) -> Iterator[Event]:
    key = turn.key
    written = turn.next_index
    if not turn.is_last:
        yield _event("token", Token(key, turn.id, turn.agent_id, "", written, isLast=True), now)
    if why == "cancelled":
        completed = TurnCompleted(
            sessionId=key,
            turnId=turn.id,
            agentId=turn.agent_id,
            fullText=turn.text,
            toolCallsUsed=turn.tool_names,
            inputTokens=0,
            outputTokens=written,
            durationMs=max(0, now - turn.started_at),
            finishReason="cancelled",
        )
        yield _event("turnCompleted", completed, now)
        return
    error = ChatError(
        sessionId=key,
        code=why,
        message=WORDS[why],
        retryable=True,
        turnId=turn.id,
        messageId=turn.message_id,
        agentId=turn.agent_id,
    )
    yield _event("error", error, now)


def _event(topic: str, body: Body, now: int) -> Event:
    return Event.of(PREFIX + topic, body.sessionId, body, now)
