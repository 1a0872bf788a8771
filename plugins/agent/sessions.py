"""What the stream of one session has come to, and how to tell it."""

from collections.abc import Iterator
from sys import maxsize

from msgspec import Struct, UnsetType

from broker.plugin import Event, Sender
from plugins.agent.messages import (
    PREFIX,
    Body,
    MessageSaved,
    Token,
    ToolCallCompleted,
    ToolCallStarted,
)

PARTS = 32
JOINED = 256
"""More parts of a turn's text than this are joined; once for so many characters, at most."""


class Turn(Struct, gc=False, eq=False):
    """One turn: what a repeat needs to know, and while it can be shown, what it said.

    What is empty is None, since most of it is empty in every turn that has ended.

    Attributes:
        id: its own, and `agent_id` its agent's; `key` is its session, `message_id` the
            message that it answers.
        owner: who started it, or took it over.
        started_at, seen: when its first and its last event came, in Unix ms.
        shown: its turnStarted, and its end; empty once `SHOWN_TURNS` later ones have ended.
        cancel: the first that asked to stop it.
        next_index: the index of the next token.
        written: its text so far, in parts, while it is open and has some.
        kept: the same once it has ended, where its end has not the full text.
        tools: the names of its tool calls, by their ids, in their order; "" where there was
            no toolCallStarted.
        tools_done: the ids of those that are done.
        tools_open: the toolCallStarted of those that are not, while the turn is open.
        saved: the messageIds of its messageSaved.
        ending: a digest of what ended it; None while it is open.
    """

    id: str
    agent_id: str
    key: str
    message_id: str | UnsetType
    owner: Sender
    started_at: int
    seen: int
    shown: tuple[Event, ...]
    cancel: Event | None = None
    next_index: int = 0
    is_last: bool = False
    written: list[str] | None = None
    kept: str | None = None
    tools: dict[str, str] | None = None
    tools_done: set[str] | None = None
    tools_open: dict[str, Event] | None = None
    saved: set[str] | None = None
    ending: bytes | None = None

    @classmethod
    def of(cls, started: Event) -> "Turn":
        body, time = started.body, started.time
        return cls(
            body.turnId, body.agentId, started.key, body.messageId, started.sender, time, time,
            (started,),
        )  # fmt: skip

    @property
    def text(self) -> str | None:
        """All of its text that is not told by its end; None where there is none."""
        return self.kept if self.written is None else "".join(self.written)

    def write(self, text: str) -> None:
        """Add to its text. Parts are joined when there are many: then they cost no more than
        their text, and a collection of garbage does not look through them."""
        parts = self.written
        if parts is None:
            parts = self.written = []
        parts.append(text)
        if len(parts) > PARTS and len(parts) > len(parts[0]) // JOINED:
            parts[:] = ["".join(parts)]

    @property
    def tool_names(self) -> list[str]:
        """The names of its tool calls, in their order."""
        return [name for name in (self.tools or {}).values() if name]

    def forget(self) -> None:
        """Keep only what notices repeats."""
        self.shown = ()
        self.kept = None


class Session(Struct, gc=False, eq=False):
    """The state of one stream of `agent.chat`.

    Attributes:
        turns: by id.
        ended: the ids of those that have ended, the oldest first.
        messages: what was accepted beside turns, by topic and messageId, the oldest first.
    """

    turns: dict[str, Turn] = {}
    ended: tuple[str, ...] = ()
    messages: dict[tuple[str, str], None] = {}

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
        if turn.text is not None:
            yield _text(turn, started.time)
        yield from (turn.tools_open or {}).values()
        yield from end


def essence(session: Session) -> Iterator[Event]:
    """The open turns, as events that can be folded to them again.

    Of tool calls that are done, only what notices repeats is told.
    """
    for turn in session.open_turns():
        yield turn.shown[0]
        for id, name in (turn.tools or {}).items():
            if turn.tools_open and id in turn.tools_open:
                yield turn.tools_open[id]
            elif name:
                yield _said(
                    turn, "toolCallStarted", ToolCallStarted(turn.key, turn.id, name, id, {})
                )
        for id in turn.tools_done or ():
            yield _said(turn, "toolCallCompleted", ToolCallCompleted(turn.key, turn.id, id))
        for id in turn.saved or ():
            yield _said(turn, "messageSaved", MessageSaved(turn.key, turn.id, id))
        if turn.cancel is not None:
            yield turn.cancel
        if turn.text is not None:
            yield _text(turn, turn.seen)


def settled(session: Session, before: int) -> int:
    """The position up to which there are no events of a turn that is open, or has ended after
    that time, in Unix ms."""
    turns = [t for t in session.turns.values() if t.ending is None or _end_time(t) > before]
    return min([turn.shown[0].position - 1 for turn in turns], default=maxsize)


def _end_time(turn: Turn) -> int:
    return turn.shown[-1].time if turn.shown else 0  # or many have ended since


def _text(turn: Turn, time: int) -> Event:
    body = Token(
        sessionId=turn.key,
        turnId=turn.id,
        agentId=turn.agent_id,
        token=turn.text or "",
        tokenIndex=0,
        isLast=turn.is_last,
        tokenCount=turn.next_index,
    )
    return Event.of(PREFIX + "token", turn.key, body, time, turn.owner)


def _said(turn: Turn, topic: str, body: Body) -> Event:
    return Event.of(PREFIX + topic, turn.key, body, turn.started_at, turn.owner)
