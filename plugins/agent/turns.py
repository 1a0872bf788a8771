"""The turns of one session: what may follow what, as a table.

    userMessage → turnStarted
      → (thinking | token | toolCallStarted … toolCallCompleted | progress | action)*
      → suggestions? → turnCompleted | error

The checks of an event that belongs to a turn, in this order:

    1. the turn was never started           → turn_not_started
    2. the event was accepted before        → a duplicate: acknowledged and dropped
    3. the turn has ended                   → turn_closed
    4. it comes from another than its owner → turn_owned
    5. a token is not the next one          → token_gap, with detail.expected

`RULES` says which of them hold for which topic.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from msgspec import UNSET

from broker.plugin import Duplicate, ErrorInfo, Event, Rejected, Sender
from plugins.agent.messages import (
    PREFIX,
    ChatError,
    Token,
    ToolCallCompleted,
    ToolCallStarted,
    TurnBody,
)

ERRORS = {
    "turn_not_started": ErrorInfo("no turnStarted was accepted for this turn"),
    "turn_closed": ErrorInfo("the turn has ended"),
    "turn_owned": ErrorInfo("the turn belongs to another publisher"),
    "token_gap": ErrorInfo("not the next token; detail.expected is its index", retryable=True),
}

REMEMBERED_TURNS = 32
"""How many ended turns of a session are known, so that repeats of them are noticed."""

REMEMBERED_MESSAGES = 256
"""The same for the messages of its users."""


class Turn:
    """One turn: everything that a repeat, a snapshot or its end needs to know.

    Attributes:
        started: its turnStarted.
        owner: who published that.
        next_index: the index of the next token.
        parts: its text so far; emptied when it has ended and the text is in `closing`.
        tools: its tool calls: the toolCallStarted while one is open, None when it is done.
        closing: what ended it.
    """

    __slots__ = ("closing", "is_last", "next_index", "owner", "parts", "saved", "started", "tools")

    def __init__(self, started: Event) -> None:
        self.started = started
        self.owner: Sender = started.sender
        self.next_index = 0
        self.is_last = False
        self.parts: list[str] = []
        self.tools: dict[str, Event | None] = {}
        self.saved: set[str] = set()
        self.closing: Event | None = None


class Session:
    """The state of one stream of `agent.chat`."""

    __slots__ = ("last_ended", "messages", "turns")

    def __init__(self) -> None:
        self.turns: dict[str, Turn] = {}
        self.last_ended: Turn | None = None
        self.messages: dict[tuple[str, str], None] = {}  # (topic, messageId), oldest first

    def open_turns(self) -> list[Turn]:
        return [turn for turn in self.turns.values() if turn.closing is None]


class Needs(Enum):
    """What an event needs its turn to be."""

    NOTHING = "belongs to no turn"
    MESSAGE = "belongs to no turn; its messageId names it in its session"
    NEW = "begins one"
    KNOWN = "was started, and may have ended"
    OPEN = "was started, and has not ended"


class Rule(NamedTuple):
    """One row of the table: what holds for a topic.

    Attributes:
        turn: what the event needs its turn to be.
        owned: only the turn's owner may publish it.
        repeats: whether it was accepted before; None where it has no name of its own.
        apply: what it changes.
    """

    turn: Needs
    owned: bool
    repeats: Callable[[Any, Any], bool] | None
    apply: Callable[[Any, Event], None] | None


def validate(session: Session, event: Event) -> None:
    """Raise `Rejected` or `Duplicate` unless `event` may follow. See the module's text."""
    body = event.body
    rule = rule_of(event)
    if rule.turn is Needs.NOTHING:
        return
    if rule.turn is Needs.MESSAGE:
        if (event.topic, body.messageId) in session.messages:
            raise Duplicate
        return
    turn = session.turns.get(body.turnId)
    if rule.turn is Needs.NEW:
        if turn is not None:
            raise Duplicate
        return
    if turn is None:
        raise Rejected("turn_not_started", f"turn {body.turnId!r} was not started")
    if rule.repeats is not None and rule.repeats(turn, body):
        raise Duplicate
    if turn.closing is not None and rule.turn is Needs.OPEN:
        raise Rejected("turn_closed", f"turn {body.turnId!r} has ended")
    if rule.owned and not turn.owner.is_same(event.sender):
        raise Rejected("turn_owned", f"turn {body.turnId!r} belongs to another publisher")
    if type(body) is Token and body.tokenIndex != turn.next_index:
        raise Rejected(
            "token_gap",
            f"the next token of turn {body.turnId!r} is {turn.next_index}, not {body.tokenIndex}",
            {"expected": turn.next_index},
        )


def apply(session: Session, event: Event) -> None:
    """Fold one accepted event into its session."""
    rule = rule_of(event)
    if rule.turn is Needs.NEW:
        session.turns[event.body.turnId] = Turn(event)
    elif rule.turn is Needs.MESSAGE:
        _remember(session, (event.topic, event.body.messageId))
    elif rule.apply is not None:
        turn = session.turns[event.body.turnId]
        rule.apply(turn, event)
        if turn.closing is event:
            _ended(session, turn)


def snapshot(session: Session) -> Iterator[Event]:
    """The session in as few events as it can be told.

    Its open turns, or the last one that ended: turnStarted, the text so far as one
    token event, the open tool calls; for an ended one turnCompleted, or text and error.
    """
    turns = session.open_turns()
    if not turns and session.last_ended is not None:
        turns = [session.last_ended]
    for turn in turns:
        yield turn.started
        if turn.parts:
            yield _text(turn)
        yield from filter(None, turn.tools.values())
        if turn.closing is not None:
            yield turn.closing


def _ended(session: Session, turn: Turn) -> None:
    session.last_ended = turn
    if len(session.turns) > REMEMBERED_TURNS:
        oldest = next((id for id, t in session.turns.items() if t.closing is not None), None)
        if oldest is not None:
            del session.turns[oldest]


def _remember(session: Session, message: tuple[str, str]) -> None:
    session.messages[message] = None
    if len(session.messages) > REMEMBERED_MESSAGES:
        del session.messages[next(iter(session.messages))]


def _text(turn: Turn) -> Event:
    started = turn.started
    body = Token(
        sessionId=started.body.sessionId,
        turnId=started.body.turnId,
        agentId=started.body.agentId,
        token="".join(turn.parts),
        tokenIndex=0,
        isLast=turn.is_last,
        tokenCount=turn.next_index,
    )
    return Event.of(PREFIX + "token", started.key, body, started.time, turn.owner)


# ----------------------------------------------------------------- repeats, and what changes


def _token_repeats(turn: Turn, body: Token) -> bool:
    return body.tokenIndex + body.count <= turn.next_index


def _token(turn: Turn, event: Event) -> None:
    body: Token = event.body
    turn.parts.append(body.token)
    turn.next_index += body.count
    turn.is_last = body.isLast


def _tool_start_repeats(turn: Turn, body: ToolCallStarted) -> bool:
    return body.toolCallId in turn.tools


def _tool_start(turn: Turn, event: Event) -> None:
    turn.tools[event.body.toolCallId] = event


def _tool_end_repeats(turn: Turn, body: ToolCallCompleted) -> bool:
    return turn.tools.get(body.toolCallId, False) is None


def _tool_end(turn: Turn, event: Event) -> None:
    turn.tools[event.body.toolCallId] = None


def _saved_repeats(turn: Turn, body: Any) -> bool:
    return body.messageId in turn.saved


def _saved(turn: Turn, event: Event) -> None:
    turn.saved.add(event.body.messageId)


def _closing_repeats(turn: Turn, body: TurnBody | ChatError) -> bool:
    return (
        turn.closing is not None
        and type(turn.closing.body) is type(body)
        and (turn.closing.body == body)
    )


def _complete(turn: Turn, event: Event) -> None:
    turn.closing = event
    turn.parts.clear()  # the event has the full text


def _fail(turn: Turn, event: Event) -> None:
    turn.closing = event
    turn.parts[:] = ["".join(turn.parts)] if turn.parts else []
    turn.tools = dict.fromkeys(turn.tools)


RULES: dict[str, Rule] = {
    PREFIX + topic: rule
    for topic, rule in {
        # topic               the turn        owned   named by          what it changes
        "turnStarted": Rule(Needs.NEW, False, None, None),
        "token": Rule(Needs.OPEN, True, _token_repeats, _token),
        "toolCallStarted": Rule(Needs.OPEN, True, _tool_start_repeats, _tool_start),
        "toolCallCompleted": Rule(Needs.OPEN, True, _tool_end_repeats, _tool_end),
        "turnCompleted": Rule(Needs.OPEN, True, _closing_repeats, _complete),
        "error": Rule(Needs.OPEN, True, _closing_repeats, _fail),
        "thinking": Rule(Needs.OPEN, True, None, None),
        "progress": Rule(Needs.OPEN, True, None, None),
        "action": Rule(Needs.OPEN, True, None, None),
        "suggestions": Rule(Needs.OPEN, True, None, None),
        "cancel": Rule(Needs.OPEN, False, None, None),
        "messageSaved": Rule(Needs.KNOWN, False, _saved_repeats, _saved),
        "userMessage": Rule(Needs.MESSAGE, False, None, None),
        "userAudio": Rule(Needs.MESSAGE, False, None, None),
        "transcription": Rule(Needs.MESSAGE, False, None, None),
    }.items()
}

_ERROR_WITHOUT_TURN = Rule(Needs.NOTHING, False, None, None)


def rule_of(event: Event) -> Rule:
    """The row of the table for an event: an error without a turn ends none."""
    if type(event.body) is ChatError and event.body.turnId is UNSET:
        return _ERROR_WITHOUT_TURN
    return RULES[event.topic]
