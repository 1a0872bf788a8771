"""What happens in a namespace by itself: who is connected, and what is due when.

A plugin that has `leases` is told who comes and goes, and says until when each of its
streams may be left alone. Then it is asked what the broker has to say: that a turn's
publisher is lost, for one. What it says goes the way of every other event.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import structlog

from broker.clock import CallLater, Clock
from broker.codec import Codec
from broker.deadlines import Deadlines
from broker.event import Event, Sender
from broker.fanout import Fanout
from broker.ingress import Ingress
from broker.plugin import Plugin
from broker.retained import Retained
from broker.streams import Streams

AGAIN = 1000
"""How long after it could not be said, something is said again, in ms."""

log = structlog.get_logger(__name__)


class Member(Protocol):
    """A connection that has a part in a namespace."""

    @property
    def beside(self) -> bool:
        """It is one of several connections of its client, and not the one to be told things."""

    @property
    def sender(self) -> Sender: ...

    @property
    def codec(self) -> Codec: ...

    def tell(self, data: bytes) -> None:
        """Let it have an event that is addressed to it, encoded."""

    def reads(self, fanout: Fanout, event: Event) -> bool:
        """Whether it has a subscription for an event of this namespace."""


class Leases:
    """The connections that matter to a plugin, and its deadlines.

    Args:
        say: publishes events of one stream in the broker's name.
    """

    def __init__(
        self,
        plugin: Plugin[Any],
        streams: Streams,
        retained: Retained,
        fanout: Fanout,
        clock: Clock,
        call_later: CallLater,
        say: Callable[[str, Sequence[Event]], None],
    ) -> None:
        self._plugin = plugin
        self._streams = streams
        self._retained = retained
        self._fanout = fanout
        self._clock = clock
        self._say = say
        self._members: dict[str, list[Member]] = {}  # by identity, the one to be told last
        self._deadlines = Deadlines(clock, call_later, self._due)
        plugin.started = clock.unix_ms()

    def begin(self) -> None:
        """Who is not connected is gone since now."""
        self._plugin.started = self._clock.unix_ms()
        self.watch()

    def join(self, member: Member) -> None:
        """A connection has a part in this namespace from now on."""
        sender = member.sender
        same = self._members.setdefault(sender.identity, [])
        same.insert(0 if member.beside else len(same), member)
        for key in self._plugin.joined(sender, self._clock.unix_ms()):
            stream = self._streams.get(key)
            if stream is not None:
                for event in self._plugin.owed(stream.committed, stream.head, sender):
                    self._tell(member, event)
        self.watch()

    def leave(self, member: Member, ingress: Ingress | None = None) -> None:
        """It is gone; once all that it has published here is handled, where something waits
        in its `ingress`: nobody is given up whose words have come."""
        if ingress is not None and ingress.queue:
            ingress.parting = lambda: self.leave(member)
            return
        identity = member.sender.identity
        same = self._members[identity]
        same.remove(member)
        if not same:
            del self._members[identity]
            self._plugin.left(member.sender, self._clock.unix_ms())
            self.watch()

    def watch(self, *, again: bool = False) -> None:
        """Look at the streams whose deadline may be another one now.

        With `again`, what is overdue was tried, and is not tried at once again.
        """
        changed = self._plugin.changed
        while changed:
            key = changed.pop()
            stream = self._streams.get(key)
            if stream is not None:
                at = self._plugin.deadline(stream.head)
                if at is not None:
                    now = self._clock.unix_ms()
                    self._deadlines.set(key, now + AGAIN if again and at <= now else at)

    def postpone(self, keys: Iterable[str]) -> None:
        """Look at streams of which something could not be stored; what is due is in a while."""
        self._plugin.changed.update(keys)
        self.watch(again=True)

    def address(self, event: Event) -> None:
        """Let the one whom a delivered event is addressed to have it."""
        recipient = self._plugin.recipient(self._streams[event.key].head, event)
        if recipient is not None:
            for member in self._members.get(recipient.identity, ())[-1:]:
                if not member.reads(self._fanout, event):
                    self._tell(member, event)

    def _tell(self, member: Member, event: Event) -> None:
        member.tell(self._retained.encode((event,), member.codec))

    def _due(self, key: str, now: int) -> None:
        stream = self._streams.get(key)
        if stream is None:
            return
        try:
            events = list(self._plugin.expire(stream.head, now))
            if events:
                self._say(key, events)
        except Exception:  # the other streams must go on, whatever this is
            log.exception("plugin failed", namespace=self._plugin.namespace, key=key)
        self.postpone([key])
