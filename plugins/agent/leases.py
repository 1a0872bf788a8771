"""How long a turn may go on by itself, and how the broker ends it.

    its owner is gone for `grace`            → agent.chat.error, publisher_lost
    it was cancelled `grace` ago             → turnCompleted, finishReason cancelled
    nothing came for `stall` (`tool_stall`
    while a tool call is open)               → agent.chat.error, turn_stalled

Before that the broker ends the text, with an empty token that is the last: some front
ends stop only on `isLast`. (docs/agent-messages.md)
"""

from collections.abc import Iterator
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from broker.plugin import Event
from plugins.agent.messages import PREFIX, Body, ChatError, Token, TurnCompleted
from plugins.agent.presence import Presence
from plugins.agent.sessions import Session, Turn

Seconds = Annotated[float, Meta(ge=0.01, le=31_536_000)]


class DialectOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How one dialect of chat over HTTP is served.

    Attributes:
        enabled: whether it is.
        prefix: what its paths begin with; its name behind a slash where it is unset.
        cancel: whether a reader that goes away stops the turn; unset, as its front end has it.
    """

    enabled: bool = True
    prefix: str | UnsetType = UNSET
    cancel: bool | UnsetType = UNSET


class ChatOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the broker waits for agents, in seconds; and chat over HTTP.

    Attributes:
        grace: for the owner of a turn that has lost its connection, and for one that was
            asked to cancel.
        stall: for the next event of a turn.
        tool_stall: the same while a tool call is open.
        worker_wait: for a worker that could be given a message, and for one that has lost its
            connection with messages that it was given.
        start_limit: for a worker to start the turn that takes a message up.
        cancel_grace: for a reader over HTTP that has gone away, where that stops its turn.
        dialects: the settings of those that have other ones than they begin with.
    """

    grace: Seconds = 10.0
    stall: Seconds = 120.0
    tool_stall: Seconds = 600.0
    worker_wait: Seconds = 2.0
    start_limit: Seconds = 30.0
    cancel_grace: Seconds = 3.0
    dialects: dict[str, DialectOptions] = field(default_factory=dict)


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
            fullText="".join(turn.parts),
            toolCallsUsed=list(turn.tool_names),
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
