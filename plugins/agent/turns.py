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

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import UNSET

from broker.plugin import BROKER, Duplicate, ErrorInfo, Event, Rejected, Sender
from plugins.agent import questions
from plugins.agent.messages import MAX_INT, PREFIX, Token
from plugins.agent.rules import MESSAGE, NEW, OPEN, RULES, digest
from plugins.agent.sessions import Session, Turn

REMEMBERED_TURNS = 256
"""How many ended turns of a session are known, so that repeats of them are noticed."""

SHOWN_TURNS = 16
"""How many of them can be shown to a reader whose cursor is too old."""

REMEMBERED_MESSAGES = 256
"""The same for the messages of its users."""

COUNTED: Final = 2**60
"""How many tokens of a turn are counted without looking at `MAX_INT`: a small number here."""

CLOSING = frozenset({PREFIX + "turnCompleted", PREFIX + "error"})

ERRORS = {
    "turn_not_started": ErrorInfo("no turnStarted was accepted for this turn"),
    "turn_closed": ErrorInfo("the turn has ended"),
    "turn_owned": ErrorInfo("the turn belongs to another publisher"),
    "token_gap": ErrorInfo("not the next token; detail.expected is its index", retryable=True),
}


def add_next_token(session: Session, event: Event) -> bool:
    """`validate` and `apply` in one step, if `event` is the next token of a turn, as nearly
    every event is. The rules below would say the same of it."""
    body = event.body
    if type(body) is not Token:
        return False
    turn = session.turns.get(body.turnId)
    index: int = body.tokenIndex
    count = body.tokenCount
    following: int = index + (count if isinstance(count, int) else 1)
    if (
        turn is None
        or turn.next_index != index
        or following > COUNTED
        or turn.ending is not None
        or not (turn.owner is event.sender or turn.owner.is_same(event.sender))
    ):
        return False
    turn.write(body.token)
    turn.next_index = following
    turn.is_last = body.isLast
    turn.seen = event.time
    return True


def follow_tokens(session: Session, run: Sequence[Event]) -> bool:
    """`apply` of events that were accepted in this order, in one step, if they are the next
    tokens of one turn, from one sender. So each index follows from the one before it, and where
    the last one is as many behind the first as there are events, none counts for more."""
    first, last, sender = run[0].body, run[-1].body, run[0].sender
    if type(first) is not Token or type(last) is not Token:
        return False
    id = first.turnId
    turn = session.turns.get(id)
    index: int = last.tokenIndex
    if (
        turn is None
        or turn.next_index != first.tokenIndex
        or index - turn.next_index != len(run) - 1
        or index >= COUNTED
        or last.tokenCount is not UNSET
        or turn.ending is not None
        or not (turn.owner is sender or turn.owner.is_same(sender))
    ):
        return False
    texts: list[str] = []
    for event in run:
        if event.sender is not sender or event.body.turnId != id:
            return False
        texts.append(event.body.token)
    for token in texts:
        turn.write(token)  # each, for `write` goes by how many they are
        turn.next_index += 1
    turn.is_last = last.isLast
    turn.seen = run[-1].time
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
    if rule.repeats is not None and rule.repeats(turn, body):
        raise Duplicate
    if turn.ending is not None and rule.turn is OPEN:
        raise Rejected("turn_closed", f"turn {turn_id!r} has ended")
    owner = turn.owner
    if rule.owned and not (owner.is_same(event.sender) or _may_take_over(turn, event.sender, away)):
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


def take_over(session: Session, event: Event, away: Callable[[Sender], bool]) -> None:
    """`event` is a repeat: a sign of life as well, by which a turn may get another owner."""
    if RULES[event.topic].owned and event.body.turnId is not UNSET:
        turn = session.turns[event.body.turnId]
        if _may_take_over(turn, event.sender, away):
            turn.owner = event.sender


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
        if rule.turn is OPEN and turn.ending is not None:
            return  # it is folded again
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
    turn.ending = digest(event.body)
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


def _remember(session: Session, message: tuple[str, str]) -> None:
    if message not in session.messages:  # it may be folded again
        session.messages = (*session.messages[1 - REMEMBERED_MESSAGES :], message)
