"""The namespace `agent.chat`: sessions, each a stream of turns."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct
from starlette.routing import BaseRoute

from broker.plugin import (
    ConfigError,
    Endpoint,
    Event,
    Gateway,
    Plugin,
    Rejected,
    Sender,
    Unattended,
)
from plugins.agent import examples, pages, questions, sessions, turns
from plugins.agent.endpoints import endpoints
from plugins.agent.gateway import ChatGateway, mounts
from plugins.agent.leases import TurnLeases
from plugins.agent.merging import merge_tokens
from plugins.agent.messages import CHAT, NAMESPACE, PREFIX
from plugins.agent.options import ChatOptions
from plugins.agent.presence import Presence
from plugins.agent.recordings import Recordings


class ChatPlugin(Plugin[sessions.Session]):
    """Types, order, ownership and repeats of what agents and users say."""

    Options: ClassVar[type[Struct]] = ChatOptions
    errors = turns.ERRORS
    key_field = "sessionId"
    leases = True
    addressed = frozenset({PREFIX + "cancel"})
    closing = turns.CLOSING
    parts = frozenset({PREFIX + "token"})
    whole = frozenset({PREFIX + "turnCompleted"})
    work = questions.WORK
    settling = questions.SETTLING

    def __init__(self, namespace: str, options: ChatOptions) -> None:
        if namespace != NAMESPACE:
            raise ConfigError(f"namespaces.{namespace}", f"this plugin's topics are {PREFIX}*")
        super().__init__(namespace, options)
        self.compact_after = int(options.compact_after * 1000)
        self.worker_wait = int(options.worker_wait * 1000)
        self.start_limit = int(options.start_limit * 1000)
        self._mounts = mounts(options, f"namespaces.{namespace}.options.dialects")
        self._recordings = Recordings(options.voice)
        self._presence = Presence(int(options.grace * 1000))
        self._leases = TurnLeases(options, self._presence)

    def body_type(self, topic: str) -> Any:
        try:
            return CHAT[topic]
        except KeyError:
            raise Rejected("unknown_topic", f"{self.namespace} has no topic {topic!r}") from None

    def topics(self) -> Mapping[str, Any]:
        return examples.CHAT

    def key(self, topic: str, body: Any) -> str:
        key: str = body.sessionId
        return key

    def initial(self) -> sessions.Session:
        return sessions.Session()

    def accept(self, head: sessions.Session, event: Event) -> None:
        if not turns.add_next_token(head, event):
            super().accept(head, event)

    def validate(self, head: sessions.Session, event: Event) -> None:
        turns.validate(head, event, self._away)
        if event.topic in self.work:
            questions.limit(head)
            if not self.attended(event.topic, event.key):
                raise Unattended(event.topic, event.key)

    def apply(self, state: sessions.Session, event: Event) -> None:
        if turns.add_next_token(state, event):
            return  # its owner goes on, so nothing has changed for anybody
        before = _owner(state, event)
        turns.apply(state, event)
        self._note(state, event, before)
        if event.topic in self.closing:
            id = questions.closed(state, event)
            if isinstance(id, str):
                self._recordings.drop((event.key, id))

    def repeated(self, head: sessions.Session, event: Event) -> None:
        before = _owner(head, event)
        turns.take_over(head, event, self._away)
        self._note(head, event, before)

    def rebuilt(self, key: str, lost: sessions.Session, head: sessions.Session) -> None:
        for turn in lost.open_turns():
            self._depend(key, head, turn.owner)

    def follow(self, state: sessions.Session, run: Sequence[Event]) -> None:
        if len(run) > 1 and turns.follow_tokens(state, run):
            return
        for event in run:
            if not turns.add_next_token(state, event):
                turns.apply(state, event)

    def _note(self, state: sessions.Session, event: Event, before: Sender | None) -> None:
        """Note what depends on whom now, where the event's turn belonged to `before`."""
        self.changed.add(event.key)
        for owner in (before, _owner(state, event)):
            if owner is not None:
                self._depend(event.key, state, owner)

    def _depend(self, key: str, state: sessions.Session, owner: Sender) -> None:
        count = sum(turn.owner.is_same(owner) for turn in state.open_turns())
        if count:
            self._presence.matters(owner, key, count)
        else:
            self._presence.settled(owner, key)

    def _away(self, sender: Sender) -> bool:
        return self._presence.gone_since(sender, self.started) is not None

    # ------------------------------------------------------------- leases

    def joined(self, sender: Sender, now: int) -> Iterable[str]:
        keys = tuple(self._presence.joined(sender))
        self.changed.update(keys)
        return keys

    def left(self, sender: Sender, now: int) -> None:
        self.changed.update(self._presence.left(sender, now))

    def deadline(self, state: sessions.Session) -> int | None:
        return self._leases.deadline(state, self.started)

    def expire(self, state: sessions.Session, now: int) -> Iterable[Event]:
        return self._leases.expire(state, now, self.started)

    def recipient(self, head: sessions.Session, event: Event) -> Sender | None:
        """A cancel is for the turn's owner."""
        turn = head.turns.get(event.body.turnId)
        return None if turn is None else turn.owner  # or many have ended since

    def owed(
        self, state: sessions.Session, head: sessions.Session, sender: Sender
    ) -> Iterable[Event]:
        own = {turn.id for turn in head.turns.values() if turn.owner.is_same(sender)}
        turns = [turn for turn in state.open_turns() if turn.id in own]
        return [turn.cancel for turn in turns if turn.cancel is not None]

    # ------------------------------------------------------------- work

    def untaken(self, state: sessions.Session) -> Iterable[Event]:
        return () if state.untaken is None else state.untaken.values()

    def preferred(self, state: sessions.Session) -> Sender | None:
        return questions.preferred(state)

    def load(self, worker: Sender) -> int:
        """Its open turns."""
        return self._presence.load(worker)

    def given(self, state: sessions.Session, event: Event, *, again: bool) -> None:
        """Speech can be fetched by each that it is given to."""
        id = questions.name(state, event)
        if id is not None:
            self._recordings.give((event.key, id), again=again)

    def is_at_work(self, state: sessions.Session, event: Event) -> bool:
        """Speech takes a while to be understood: who has fetched it is there."""
        id = questions.name(state, event)
        return id is not None and self._recordings.is_heard((event.key, id))

    def unanswered(
        self, state: sessions.Session, event: Event, now: int, *, tried: bool
    ) -> Iterable[Event]:
        return questions.unanswered(state, event, now, tried=tried)

    # ------------------------------------------------------------- what is kept

    def at_rest(self, state: sessions.Session) -> bool:
        return not state.untaken and not state.open_turns()

    def snapshot(self, state: sessions.Session, since: int | None = None) -> Iterable[Event]:
        return sessions.snapshot(state, since)

    def essence(self, state: sessions.Session, floor: int) -> Iterable[Event]:
        return sessions.essence(state, floor)

    def settled(self, state: sessions.Session, before: int) -> int:
        return sessions.settled(state, before)

    def told(self, state: sessions.Session, since: int, until: int) -> Iterable[tuple[int, int]]:
        return sessions.told(state, since, until)

    def merge(self, run: Sequence[Event]) -> Sequence[Event]:
        return merge_tokens(run)

    def routes(self, gateway: Gateway) -> Iterable[BaseRoute]:
        """The pages, and chat over HTTP in every dialect."""
        yield from pages.routes((mount.dialect, mount.prefix) for mount in self._mounts)
        yield from ChatGateway(
            gateway, self._mounts, self._recordings, self.options.cancel_grace
        ).routes()

    def endpoints(self) -> Iterable[Endpoint]:
        return endpoints((mount.dialect, mount.prefix) for mount in self._mounts)

    def close(self) -> None:
        self._recordings.close()


def _owner(state: sessions.Session, event: Event) -> Sender | None:
    """The owner of the turn that an event belongs to, if it does."""
    turn = state.turns.get(getattr(event.body, "turnId", ""))
    return None if turn is None else turn.owner
