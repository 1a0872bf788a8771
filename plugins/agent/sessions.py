"""What the stream of one session has come to, and how to tell it."""

from collections.abc import Iterator
from sys import intern, maxsize
from typing import NamedTuple

from msgspec import UnsetType
from mypy_extensions import mypyc_attr

from broker.plugin import Event, Sender
from plugins.agent.messages import (
    PREFIX,
    Body,
    MessageSaved,
    Token,
    ToolCallCompleted,
    ToolCallStarted,
)

PARTS = 16
JOINED = 256
"""More parts of a turn's text than this are joined; once for so many characters, at most."""

PIECE = 32 << 10
"""From how many characters on what is shown of a turn's text is told in several pieces."""


class Piece(NamedTuple):
    """Some of a turn's text: of its tokens from `begin` on, and before `until`."""

    begin: int
    until: int
    text: str
    last: bool = False


@mypyc_attr(acyclic=True)
class Turn:
    """One turn: what a repeat needs to know, and while it can be shown, what it said.

    What is empty is None, since most of it is empty in every turn that has ended.

    Attributes:
        id: its own, and `agent_id` its agent's; `message_id` is the message that it answers.
        owner: who started it, or took it over.
        started_at, seen: when its first and its last event came, in Unix ms.
        shown: its turnStarted, and its end; empty once `SHOWN_TURNS` later ones have ended.
        cancel: the first that asked to stop it.
        next_index: the index of the next token.
        pieces, parts: its text so far, the latter behind the former; once it has ended, only if
            its end has not the full text.
        tools: the names of its tool calls, by their ids, in their order; "" where there was
            no toolCallStarted.
        tools_done: the ids of those that are done.
        tools_open: the toolCallStarted of those that are not, while the turn is open.
        saved: the messageIds of its messageSaved.
        ending: a digest of what ended it; None while it is open.
        told: what ended it has all of its text.
    """

    __slots__ = (
        "agent_id", "cancel", "ending", "id", "is_last", "message_id", "next_index", "owner",
        "parts", "pieces", "saved", "seen", "shown", "started_at", "told", "tools", "tools_done",
        "tools_open",
    )  # fmt: skip

    def __init__(self, started: Event) -> None:
        self.id: str = started.body.turnId
        self.agent_id: str = intern(started.body.agentId)
        self.message_id: str | UnsetType = started.body.messageId
        self.owner: Sender = started.sender
        self.started_at = self.seen = started.time
        self.shown: tuple[Event, ...] = (started,)
        self.cancel: Event | None = None
        self.next_index = 0
        self.is_last = False
        self.parts: list[str] | None = None
        self.pieces: tuple[Piece, ...] = ()
        self.tools: dict[str, str] | None = None
        self.tools_done: set[str] | None = None
        self.tools_open: dict[str, Event] | None = None
        self.saved: set[str] | None = None
        self.ending: bytes | None = None
        self.told = False

    @property
    def key(self) -> str:
        """Its session, while it is shown."""
        return self.shown[0].key

    @property
    def text(self) -> str:
        """What can be shown of its text."""
        return "".join([*[piece.text for piece in self.pieces], *(self.parts or ())])

    def write(self, text: str) -> None:
        """Add to its text. Parts are joined when there are many: then they cost no more than
        their text, and a collection of garbage has little to look through."""
        parts = self.parts
        if parts is None:
            self.parts = [text]
            return
        if len(parts[0]) > PIECE:
            self._cut()
        parts.append(text)
        if len(parts) > PARTS and len(parts) > len(parts[0]) // JOINED:
            parts[:] = ["".join(parts)]

    def _cut(self) -> None:
        """What is written so far is one piece of what is shown: it is long enough."""
        assert self.parts is not None
        before = self.pieces[-1].until if self.pieces else 0
        self.pieces += (Piece(before, self.next_index, "".join(self.parts)),)
        self.parts[:] = []

    def shown_text(self) -> Iterator[Piece]:
        """Its text as few pieces: none is so long that it holds up other events for long, or
        is more than a client takes."""
        yield from self.pieces
        if self.parts:
            before = self.pieces[-1].until if self.pieces else 0
            yield Piece(before, self.next_index, "".join(self.parts), last=True)

    @property
    def tool_names(self) -> list[str]:
        """The names of its tool calls, in their order."""
        return [name for name in (self.tools or {}).values() if name]

    def forget(self) -> None:
        """Keep only what notices repeats."""
        self.shown = ()
        self.forget_text()

    def forget_text(self) -> None:
        self.parts = None
        self.pieces = ()


@mypyc_attr(acyclic=True)
class Session:
    """The state of one stream of `agent.chat`.

    Attributes:
        turns: by id.
        ended: the ids of those that have ended, oldest first.
        messages: what users said that is remembered, by topic and id, oldest first.
        untaken: those of it that wait for a worker to start a turn, oldest first; or None.
        hidden: the position up to which there are events of turns that are not shown any more.
    """

    __slots__ = ("ended", "hidden", "messages", "turns", "untaken")

    def __init__(self) -> None:
        self.turns: dict[str, Turn] = {}
        self.ended: tuple[str, ...] = ()
        self.messages: tuple[tuple[str, str], ...] = ()
        self.untaken: dict[tuple[str, str], Event] | None = None
        self.hidden = 0

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
        for piece in turn.shown_text():
            yield _text(turn, piece, started.time)
        yield from (turn.tools_open or {}).values()
        yield from end


def essence(session: Session, floor: int) -> Iterator[Event]:
    """What waits for a turn, and the turns that are open, or of which after the position `floor`
    the end is retained and the beginning is not, as events that can be folded to them again.

    Of tool calls that are done, only what notices repeats is told; of a text that the end tells
    as well, too.
    """
    yield from (session.untaken or {}).values()
    for turn in [*_torn(session, floor), *session.open_turns()]:
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
        pieces = list(turn.shown_text())
        if turn.ending is not None and not pieces and turn.next_index:
            pieces = [Piece(0, turn.next_index, "", last=True)]
        for piece in pieces:
            yield _text(turn, piece, turn.seen)
        if turn.ending is not None:
            yield turn.shown[-1]


def _torn(session: Session, floor: int) -> list[Turn]:
    """The turns of which the end is after a position, and the beginning is not."""
    ended = [session.turns[id] for id in session.ended]
    return [t for t in ended if t.shown and _begin(t) <= floor < t.shown[-1].position]


def settled(session: Session, before: int) -> int:
    """The position up to which there are no events of a turn that is open, or has ended after
    that time, in Unix ms."""
    turns = [t for t in session.turns.values() if t.ending is None or _end_time(t) > before]
    return min([turn.shown[0].position - 1 for turn in turns], default=maxsize)


def told(session: Session, since: int, until: int) -> Iterator[tuple[int, int]]:
    """From which position to which one there are between two others only turns of which all
    text is told by their ends."""
    shown = [turn for turn in session.turns.values() if turn.shown]
    first = last = 0
    whole = False
    for turn in sorted(shown, key=_begin):
        if _begin(turn) > last:
            if whole and first > since and last <= until:
                yield first, last
            first, whole = _begin(turn), _begin(turn) > session.hidden
        last = maxsize if turn.ending is None else max(last, turn.shown[-1].position)
        whole = whole and turn.told
    if whole and first > since and last <= until:
        yield first, last


def _begin(turn: Turn) -> int:
    return turn.shown[0].position


def _end_time(turn: Turn) -> int:
    return turn.shown[-1].time if turn.shown else 0  # or many have ended since


def _text(turn: Turn, piece: Piece, time: int) -> Event:
    body = Token(
        sessionId=turn.key,
        turnId=turn.id,
        agentId=turn.agent_id,
        token=piece.text,
        tokenIndex=piece.begin,
        isLast=turn.is_last and piece.last,
        tokenCount=max(1, piece.until - piece.begin),  # the broker's own last one counts none
    )
    return Event.of(PREFIX + "token", turn.key, body, time, turn.owner)


def _said(turn: Turn, topic: str, body: Body) -> Event:
    return Event.of(PREFIX + topic, turn.key, body, turn.started_at, turn.owner)
