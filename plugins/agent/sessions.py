"""What the stream of one session has come to, and how to tell it."""

from collections import deque
from collections.abc import Iterator

from msgspec import UnsetType

from broker.plugin import Event, Sender
from plugins.agent.messages import PREFIX, Token


class Turn:
    """One turn: what a repeat needs to know, and while it can be shown, what it said.

    Attributes:
        id: its own, and `agent_id` its agent's; `key` is its session, `message_id` the
            message that it answers.
        owner: who started it, or took it over.
        started_at, seen: when its first and its last event came, in Unix ms.
        cancel: the first that asked to stop it.
        next_index: the index of the next token.
        tool_names: of its tool calls, in their order.
        tools: the ids of its tool calls, and of those that are done (`tools_done`).
        tools_open: the toolCallStarted of those that are not, while the turn is open.
        saved: the messageIds of its messageSaved.
        ending: a digest of what ended it; None while it is open.
        shown: its turnStarted, and its end; empty once `SHOWN_TURNS` later ones have ended.
        parts: its text so far; empty where the end has the full text.
    """

    __slots__ = (
        "agent_id", "cancel", "ending", "id", "is_last", "key", "message_id", "next_index",
        "owner", "parts", "saved", "seen", "shown", "started_at", "tool_names", "tools",
        "tools_done", "tools_open",
    )  # fmt: skip

    def __init__(self, started: Event) -> None:
        self.id: str = started.body.turnId
        self.agent_id: str = started.body.agentId
        self.key: str = started.key
        self.message_id: str | UnsetType = started.body.messageId
        self.owner: Sender = started.sender
        self.started_at = self.seen = started.time
        self.cancel: Event | None = None
        self.next_index = 0
        self.is_last = False
        self.tool_names: list[str] = []
        self.tools: set[str] = set()
        self.tools_done: set[str] = set()
        self.tools_open: dict[str, Event] = {}
        self.saved: set[str] = set()
        self.ending: bytes | None = None
        self.shown: list[Event] = [started]
        self.parts: list[str] = []

    def forget(self) -> None:
        """Keep only what notices repeats."""
        self.shown.clear()
        self.parts.clear()


class Session:
    """The state of one stream of `agent.chat`.

    Attributes:
        ended: the ids of ended turns, oldest first.
        messages: what users said that is remembered, by topic and id, oldest first.
        untaken: those of it that wait for a worker to start a turn, oldest first.
    """

    __slots__ = ("ended", "messages", "turns", "untaken")

    def __init__(self) -> None:
        self.turns: dict[str, Turn] = {}
        self.ended: deque[str] = deque()
        self.messages: dict[tuple[str, str], None] = {}
        self.untaken: dict[tuple[str, str], Event] = {}

    def open_turns(self) -> list[Turn]:
        return [turn for turn in self.turns.values() if turn.ending is None]


def snapshot(session: Session, since: int | None = None) -> Iterator[Event]:
    """The session in as few events as it can be told.

    Its open turns, or the last one that ended: turnStarted, the text so far as one
    token event, the open tool calls; for an ended one turnCompleted, or text and error.
    With `since`, all turns that have ended after that position and are still shown, and
    the open ones.
    """
    turns = session.open_turns()
    ended = [session.turns[id] for id in session.ended]
    if since is not None:
        turns = [t for t in ended if t.shown and t.shown[-1].position > since] + turns
    elif not turns:
        turns = ended[-1:]
    for turn in turns:
        started, *end = turn.shown
        yield started
        if turn.parts:
            yield _text(turn, started)
        yield from turn.tools_open.values()
        yield from end


def _text(turn: Turn, started: Event) -> Event:
    body = Token(
        sessionId=started.key,
        turnId=turn.id,
        agentId=turn.agent_id,
        token="".join(turn.parts),
        tokenIndex=0,
        isLast=turn.is_last,
        tokenCount=max(1, turn.next_index),  # the broker's own last one may be the only one
    )
    return Event.of(PREFIX + "token", started.key, body, started.time, turn.owner)
