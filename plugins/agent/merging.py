"""Neighbouring tokens of one turn as one event, without loss."""

from collections.abc import Sequence

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
    for event in run:
        if row and not _follows(row[-1], event):
            merged.append(_joined(row))
            row = []
        row.append(event)
    if row:
        merged.append(_joined(row))
    return merged


def _follows(last: Event, event: Event) -> bool:
    before, body = last.body, event.body
    return (
        type(body) is Token
        and type(before) is Token
        and body.turnId == before.turnId
        and body.agentId == before.agentId
        and body.tokenIndex == before.tokenIndex + before.count
        and not last.extended
        and not event.extended
    )


def _joined(row: list[Event]) -> Event:
    first, last = row[0], row[-1]
    if first is last:
        return first
    body = Token(
        sessionId=first.body.sessionId,
        turnId=first.body.turnId,
        agentId=first.body.agentId,
        token="".join([event.body.token for event in row]),
        tokenIndex=first.body.tokenIndex,
        isLast=last.body.isLast,
        tokenCount=last.body.tokenIndex + last.body.count - first.body.tokenIndex,
    )
    joined = Event.of(first.topic, first.key, body, last.time, last.sender)
    joined.position = last.position
    return joined
