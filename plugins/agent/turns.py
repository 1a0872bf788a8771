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

import hashlib
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from broker.plugin import BROKER, Duplicate, ErrorInfo, Event, Rejected, Sender
from plugins.agent import questions
from plugins.agent.messages import MAX_INT, PREFIX, Token, ToolCallCompleted, ToolCallStarted
from plugins.agent.sessions import Session, Turn

REMEMBERED_TURNS = 256
"""How many ended turns of a session are known, so that repeats of them are noticed."""

SHOWN_TURNS = 16
"""How many of them can be shown to a reader whose cursor is too old."""

REMEMBERED_MESSAGES = 256
"""The same for the messages of its users."""

CLOSING = frozenset({PREFIX + "turnCompleted", PREFIX + "error"})

ERRORS = {
    "turn_not_started": ErrorInfo("no turnStarted was accepted for this turn"),
    "turn_closed": ErrorInfo("the turn has ended"),
    "turn_owned": ErrorInfo("the turn belongs to another publisher"),
    "token_gap": ErrorInfo("not the next token; detail.expected is its index", retryable=True),
}


class Needs(Enum):
    """What an event needs its turn to be."""

    MESSAGE = "belongs to no turn; its messageId names it in its session"
    NEW = "begins one"
    KNOWN = "was started, and may have ended"
    OPEN = "was started, and has not ended"


MESSAGE, NEW, KNOWN, OPEN = Needs


class Rule(NamedTuple):
    """One row of the table: what holds for a topic.

    Attributes:
        turn: what the event needs its turn to be.
        owned: only the turn's owner may publish it.
        repeats: whether it was accepted before; None where it has no name of its own.
        apply: what it changes in its turn.
        ends: whether it ends its turn.
    """

    turn: Needs
    owned: bool
    repeats: Callable[[Any, Any], bool] | None
    apply: Callable[[Any, Event], None] | None
    ends: bool = False


def add_next_token(session: Session, event: Event) -> bool:
    """`validate` and `apply` in one step, if `event` is the next token of a turn, as nearly
    every event is. The rules below would say the same of it."""
    body = event.body
    if type(body) is not Token:
        return False
    turn = session.turns.get(body.turnId)
    index: int = body.tokenIndex
    following: int = index + (1 if body.tokenCount is UNSET else body.tokenCount)
    if (
        turn is None
        or turn.next_index != index
        or following >= MAX_INT
        or turn.ending is not None
        or not (turn.owner is event.sender or turn.owner.is_same(event.sender))
    ):
        return False
    turn.write(body.token)
    turn.next_index = following
    turn.is_last = body.isLast
    turn.seen = event.time
    return True


def validate(session: Session, event: Event, away: Callable[[Sender], bool]) -> None:
    """Raise `Rejected` or `Duplicate` unless `event` may follow. See the module's text.

    Args:
        away: whether a sender is not connected.
    """
    body = event.body
    rule = RULES[event.topic]
    if rule.turn is MESSAGE:
        message = event.topic, body.messageId
        if message in session.messages or message in (session.untaken or ()):
            raise Duplicate
        return
    turn_id = body.turnId
    if turn_id is UNSET:
        return  # an error that ends no turn
    turn = session.turns.get(turn_id)
    if rule.turn is NEW:
        if turn is not None:
            raise Duplicate
        return
    if turn is None:
        raise Rejected("turn_not_started", f"turn {turn_id!r} was not started")
    mine = turn.owner.is_same(event.sender) or _may_take_over(turn, event.sender, away)
    if rule.repeats is not None and rule.repeats(turn, body):
        if mine and rule.owned and not turn.owner.is_same(event.sender):
            turn.owner = event.sender  # a repeat is a sign of life as well
        raise Duplicate
    if turn.ending is not None and rule.turn is OPEN:
        raise Rejected("turn_closed", f"turn {turn_id!r} has ended")
    if rule.owned and not mine:
        raise Rejected("turn_owned", f"turn {turn_id!r} belongs to another publisher")
    if type(body) is Token and body.tokenIndex != turn.next_index:
        raise Rejected(
            "token_gap",
            f"the next token of turn {turn_id!r} is {turn.next_index}, not {body.tokenIndex}",
            {"expected": turn.next_index},
        )
    if type(body) is Token and body.tokenIndex + body.count >= MAX_INT:  # the broker's own is last
        why = f"a turn has fewer than {MAX_INT} tokens"
        raise Rejected("bad_body", why, {"path": "$.tokenIndex"})


def _may_take_over(turn: Turn, sender: Sender, away: Callable[[Sender], bool]) -> bool:
    """A turn of a connection that is gone, which gave no `client`, is for the first
    connection of the same principal that goes on with it."""
    owner = turn.owner
    return (
        turn.ending is None
        and owner.client is None
        and owner.principal == sender.principal
        and away(owner)
    )


def apply(session: Session, event: Event) -> None:
    """Fold one accepted event into its session."""
    body = event.body
    rule = RULES[event.topic]
    if rule.apply is not None:
        turn_id = body.turnId
        if turn_id is UNSET:
            questions.settle(session, body.messageId)
            return
        turn = session.turns.get(turn_id)
        if turn is None:
            return  # its beginning is not retained any more
        turn.seen = event.time
        if rule.owned and not turn.owner.is_same(event.sender) and event.sender is not BROKER:
            turn.owner = event.sender
        rule.apply(turn, event)
        if rule.ends:
            _end(session, turn, event)
    elif rule.turn is NEW:
        session.turns.setdefault(body.turnId, Turn(event))  # it may be folded again
        questions.settle(session, body.messageId)
    elif rule.turn is MESSAGE:
        questions.ask(session, event)
        _remember(session, (event.topic, body.messageId))


def _end(session: Session, turn: Turn, event: Event) -> None:
    turn.ending = _digest(event.body)
    turn.shown += (event,)
    turn.tools_open = None
    session.ended += (turn.id,)
    if len(session.ended) > SHOWN_TURNS:
        hidden = session.turns[session.ended[-1 - SHOWN_TURNS]]
        session.hidden = hidden.shown[-1].position
        hidden.forget()
    if len(session.ended) > REMEMBERED_TURNS:
        del session.turns[session.ended[0]]
        session.ended = session.ended[1:]


def _digest(body: Any) -> bytes:
    """Equal bodies have equal digests; of one long ended, nothing else is kept."""
    return hashlib.blake2b(msgspec.msgpack.encode(body), digest_size=16).digest()


def _remember(session: Session, message: tuple[str, str]) -> None:
    if message not in session.messages:  # it may be folded again
        session.messages = (*session.messages[1 - REMEMBERED_MESSAGES :], message)


# ----------------------------------------------------------------- repeats, and what changes


def _token_repeats(turn: Turn, body: Token) -> bool:
    return body.tokenIndex + body.count <= turn.next_index


def _token(turn: Turn, event: Event) -> None:
    body: Token = event.body
    if event.sender is BROKER:
        turn.is_last = True  # it ends the text, and takes no index from its publisher
        turn.write("")
    elif body.tokenIndex == turn.next_index:  # or it is folded again
        turn.write(body.token)
        turn.next_index += body.count
        turn.is_last = body.isLast


def _tool_start_repeats(turn: Turn, body: ToolCallStarted) -> bool:
    return turn.tools is not None and body.toolCallId in turn.tools


def _tool_start(turn: Turn, event: Event) -> None:
    id = event.body.toolCallId
    turn.tools = turn.tools or {}
    turn.tools[id] = event.body.toolName
    turn.tools_open = turn.tools_open or {}
    turn.tools_open[id] = event


def _tool_end_repeats(turn: Turn, body: ToolCallCompleted) -> bool:
    return turn.tools_done is not None and body.toolCallId in turn.tools_done


def _tool_end(turn: Turn, event: Event) -> None:
    id = event.body.toolCallId
    turn.tools = turn.tools or {}
    turn.tools.setdefault(id, "")  # its start may have been lost with another publisher
    turn.tools_done = turn.tools_done or set()
    turn.tools_done.add(id)
    if turn.tools_open is not None:
        turn.tools_open.pop(id, None)


def _saved_repeats(turn: Turn, body: Any) -> bool:
    return turn.saved is not None and body.messageId in turn.saved


def _saved(turn: Turn, event: Event) -> None:
    turn.saved = turn.saved or set()
    turn.saved.add(event.body.messageId)


def _end_repeats(turn: Turn, body: Any) -> bool:
    return turn.ending is not None and turn.ending == _digest(body)


def _nothing(turn: Turn, event: Event) -> None:
    """It is a sign of life."""


def _cancel(turn: Turn, event: Event) -> None:
    turn.cancel = turn.cancel or event


def _complete(turn: Turn, event: Event) -> None:
    turn.told = turn.text == event.body.fullText
    turn.forget_text()


def _fail(turn: Turn, event: Event) -> None:
    if turn.parts:
        turn.parts = ["".join(turn.parts)]


RULES: dict[str, Rule] = {
    PREFIX + topic: rule
    for topic, rule in {
        # topic               the turn        owned   named by          what it changes
        "turnStarted": Rule(NEW, False, None, None),
        "token": Rule(OPEN, True, _token_repeats, _token),
        "toolCallStarted": Rule(OPEN, True, _tool_start_repeats, _tool_start),
        "toolCallCompleted": Rule(OPEN, True, _tool_end_repeats, _tool_end),
        "turnCompleted": Rule(OPEN, True, _end_repeats, _complete, ends=True),
        "error": Rule(OPEN, True, _end_repeats, _fail, ends=True),
        "thinking": Rule(OPEN, True, None, _nothing),
        "progress": Rule(OPEN, True, None, _nothing),
        "action": Rule(OPEN, True, None, _nothing),
        "suggestions": Rule(OPEN, True, None, _nothing),
        "cancel": Rule(OPEN, False, None, _cancel),
        "messageSaved": Rule(KNOWN, False, _saved_repeats, _saved),
        "userMessage": Rule(MESSAGE, False, None, None),
        "userAudio": Rule(MESSAGE, False, None, None),
        "transcription": Rule(MESSAGE, False, None, None),
    }.items()
}
