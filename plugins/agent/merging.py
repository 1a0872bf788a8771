"""Neighbouring tokens of one turn as one event, without loss."""

from collections.abc import Sequence

from msgspec import UNSET

from broker.plugin import Event
from plugins.agent.messages import Token


def merge_tokens(run: Sequence[Event]) -> Sequence[Event]:
    """`run` with each row of neighbouring tokens of one turn joined into one event.

    A merged event has the index of its first token, the number of all, their text,
    and the position, time and `isLast` of its last. An event with unknown fields
    stays alone. The text is joined once: pairwise would be quadratic.
    """
    merged: list[Event] = []
    row: list[Event] = []
    texts: list[str] = []
    turn = agent = ""
    following = -1  # the index of the token that would go on with the row
    for event in run:
        body = event.body
        joins = type(body) is Token and not event.extended
        if row and not (
            joins and body.tokenIndex == following and body.turnId == turn and body.agentId == agent
        ):
            merged.append(_joined(row, texts, following))
            row, texts, following = [], [], -1
        row.append(event)
        if joins:
            if not texts:
                turn, agent = body.turnId, body.agentId
            texts.append(body.token)
            following = body.tokenIndex + (1 if body.tokenCount is UNSET else body.tokenCount)
    if row:
        merged.append(_joined(row, texts, following))
    return merged


def _joined(row: list[Event], texts: list[str], following: int) -> Event:
    """The events of a row as one: their `texts`, up to before the token `following`."""
    first, last = row[0], row[-1]
    if first is last:
        return first
    body = Token(
        sessionId=first.body.sessionId,
        turnId=first.body.turnId,
        agentId=first.body.agentId,
        token="".join(texts),
        tokenIndex=first.body.tokenIndex,
        isLast=last.body.isLast,
        tokenCount=following - first.body.tokenIndex,
    )
    joined = Event.of(first.topic, first.key, body, last.time, last.sender)
    joined.position = last.position
    return joined
