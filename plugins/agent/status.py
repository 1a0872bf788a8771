"""The namespace `agent.status`: the last status of each agent, retained.

A connection is attached to an agent by publishing a status other than `offline` for
it. `offline` of one among several only detaches that one, and is not published; when
the last is lost for longer than the grace period, the broker says it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from broker.plugin import BROKER, Duplicate, Event, Plugin, Rejected, Sender
from plugins.agent import examples
from plugins.agent.messages import Status
from plugins.agent.options import Seconds
from plugins.agent.presence import Presence


class StatusOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the broker waits for an agent whose last connection is lost, in seconds."""

    grace: Seconds = 10.0


class LastStatus:
    """The state of one agent's stream: its last event, and who is attached, by identity."""

    __slots__ = ("attached", "event")

    def __init__(self) -> None:
        self.event: Event | None = None
        self.attached: dict[str, Sender] = {}


class StatusPlugin(Plugin[LastStatus]):
    """`agent.status`, keyed by agent."""

    Options: ClassVar[type[Struct]] = StatusOptions
    key_field = "agentId"
    retained = True
    leases = True

    def __init__(self, namespace: str, options: StatusOptions) -> None:
        super().__init__(namespace, options)
        self._grace = int(options.grace * 1000)
        self._presence = Presence(self._grace)

    def body_type(self, topic: str) -> Any:
        if topic != self.namespace:
            raise Rejected("unknown_topic", f"{self.namespace} has no topic {topic!r}")
        return Status

    def topics(self) -> Mapping[str, Any]:
        return {self.namespace: examples.STATUS}

    def key(self, topic: str, body: Any) -> str:
        key: str = body.agentId
        return key

    def initial(self) -> LastStatus:
        return LastStatus()

    def validate(self, head: LastStatus, event: Event) -> None:
        """Drop the `offline` of one among several attached connections."""
        identity = event.sender.identity
        if event.body.status == "offline" and any(other != identity for other in head.attached):
            raise Duplicate

    def repeated(self, head: LastStatus, event: Event) -> None:
        """It is not attached any more, and no news."""
        head.attached.pop(event.sender.identity, None)
        self._presence.settled(event.sender, event.key)
        self.changed.add(event.key)

    def rebuilt(self, key: str, lost: LastStatus, head: LastStatus) -> None:
        for identity, sender in lost.attached.items():
            if identity not in head.attached:
                self._presence.settled(sender, key)

    def apply(self, state: LastStatus, event: Event) -> None:
        before = [*state.attached.values()]
        _fold(state, event)
        if state.attached:
            self._presence.matters(event.sender, event.key)
        else:
            for sender in before:
                self._presence.settled(sender, event.key)
        self.changed.add(event.key)

    def follow(self, state: LastStatus, run: Sequence[Event]) -> None:
        for event in run:
            _fold(state, event)

    def at_rest(self, state: LastStatus) -> bool:
        return not state.attached

    def snapshot(self, state: LastStatus, since: int | None = None) -> Iterable[Event]:
        return () if state.event is None else (state.event,)

    def essence(self, state: LastStatus, floor: int) -> Iterable[Event]:
        """Its last event, behind one of each other who is attached."""
        last = state.event
        if last is None:
            return
        for sender in state.attached.values():
            if not sender.is_same(last.sender):
                body = Status(last.key, "online")
                yield Event.of(last.topic, last.key, body, last.time, sender)
        yield last

    def joined(self, sender: Sender, now: int) -> Iterable[str]:
        self.changed.update(self._presence.joined(sender))
        return ()

    def left(self, sender: Sender, now: int) -> None:
        self.changed.update(self._presence.left(sender, now))

    def deadline(self, state: LastStatus) -> int | None:
        """A grace period after the last attached connection was lost."""
        gone = [self._presence.gone_since(s, self.started) for s in state.attached.values()]
        known = [since for since in gone if since is not None]
        return max(known) + self._grace if known and len(known) == len(gone) else None

    def expire(self, state: LastStatus, now: int) -> Iterable[Event]:
        due = self.deadline(state)
        if due is None or due > now or state.event is None:
            return ()
        return (Event.of(self.namespace, state.event.key, Status(state.event.key, "offline"), now),)


def _fold(state: LastStatus, event: Event) -> None:
    state.event = event
    if event.sender is BROKER or event.body.status == "offline":
        state.attached.clear()
    else:
        state.attached[event.sender.identity] = event.sender
