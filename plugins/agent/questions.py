"""What users say on its way to a worker: what takes it up, and who is to have it.

    accepted → given to a worker → turnStarted with its messageId: taken up
    its worker is lost, or starts no turn in time → another; and in the end an error

The broker's work queues do the giving. (docs/protocol.md)
"""

from collections.abc import Iterator

from msgspec import UNSET, UnsetType

from broker.plugin import Event, Rejected, Sender
from plugins.agent.messages import PREFIX, ChatError
from plugins.agent.sessions import Session

WORK = frozenset({PREFIX + "userMessage", PREFIX + "userAudio"})

MOST = 100
"""How many messages of one session may be untaken; further ones are refused."""

SETTLING = frozenset({PREFIX + "turnStarted", PREFIX + "error"})

WORDS = {
    "no_worker": "No agent was there to answer.",
    "agent_unresponsive": "The agent did not begin to answer.",
}


def limit(session: Session) -> None:
    """Raise `Rejected`, ``rate_limited``, if nothing more may be asked in a session now."""
    if session.untaken is not None and len(session.untaken) >= MOST:
        why = f"{MOST} messages of this session wait for a turn that answers them; not one more"
        raise Rejected("rate_limited", why)


def ask(session: Session, event: Event) -> None:
    """A message was accepted. A turn that is to answer it may have been there before it:
    restored after the broker had lost both, say."""
    id = event.body.messageId
    if event.topic in WORK and all(turn.message_id != id for turn in session.turns.values()):
        session.untaken = session.untaken or {}
        session.untaken[event.topic, id] = event


def settle(session: Session, message_id: str | UnsetType) -> None:
    """A turn that answers it has started, or somebody has said why none will."""
    if message_id is not UNSET and session.untaken:
        for topic in WORK:
            session.untaken.pop((topic, message_id), None)
        session.untaken = session.untaken or None


def closed(session: Session, event: Event) -> str | UnsetType:
    """The message that nobody is to answer any more, by an event that closes something."""
    turn_id = event.body.turnId
    if turn_id is UNSET:
        id: str | UnsetType = event.body.messageId
        return id
    turn = session.turns.get(turn_id)
    return UNSET if turn is None else turn.message_id


def preferred(session: Session) -> Sender | None:
    """Whoever answers, or answered, in this session last."""
    last = next(reversed(session.turns.values()), None)
    return None if last is None else last.owner


def name(session: Session, event: Event) -> str | None:
    """The messageId of an untaken one, whose body is not at hand; None if it is none."""
    messages = (session.untaken or {}).items()
    return next((id for (_, id), each in messages if each.position == event.position), None)


def unanswered(session: Session, event: Event, now: int, *, tried: bool) -> Iterator[Event]:
    """The error that gives a message up."""
    code = "agent_unresponsive" if tried else "no_worker"
    id = name(session, event)
    if id is not None:
        error = ChatError(event.key, code, WORDS[code], retryable=True, messageId=id)
        yield Event.of(PREFIX + "error", event.key, error, now)
