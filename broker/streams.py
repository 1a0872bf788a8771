"""The streams of a namespace: what each has come to, folded from what is stored of it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from mypy_extensions import mypyc_attr

from broker.bodies import BodyType
from broker.engines.base import Engine
from broker.errors import Rejected
from broker.event import Event
from broker.plugin import Plugin
from broker.topics import check_key

READ_EVENTS = 1000
REMEMBERED_TOPICS = 10_000


@mypyc_attr(acyclic=True)
class Stream:
    """One key's state: with everything handed to the engine, and with what it delivered.

    Both are one object where the engine commits at once.

    Attributes:
        head, committed: the plugin's states.
        last: the position of the last event handed to the engine.
        in_flight: how many batches the engine has not settled.
        compacted: the position up to which what is retained is as small as it gets.
    """

    __slots__ = ("committed", "compacted", "head", "in_flight", "key", "last")

    def __init__(self, key: str, head: Any, committed: Any, last: int = 0) -> None:
        self.key = key
        self.head = head
        self.committed = committed
        self.last = last
        self.in_flight = 0
        self.compacted = 0


class Streams:
    """Every stream of a namespace that has a state, by key.

    Args:
        plugin: folds the states.
        engine: has the events.
        limit: how many streams have a state, unless too many are not at rest.
        now: the time of day, in Unix ms.
    """

    def __init__(
        self, plugin: Plugin[Any], engine: Engine, limit: int, now: Callable[[], int]
    ) -> None:
        self._plugin = plugin
        self._engine = engine
        self._now = now
        self._limit = limit
        self._streams: dict[str, Stream] = {}
        self._types: dict[str, BodyType] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    def __getitem__(self, key: str) -> Stream:
        return self._streams[key]

    def get(self, key: str) -> Stream | None:
        return self._streams.get(key)

    def keep(self, stream: Stream) -> None:
        """Something is going to be stored of this stream."""
        self._streams[stream.key] = stream

    def open(self, key: str) -> Stream:
        """A stream of which nothing is known yet. See `keep`.

        Raises:
            Rejected: the key is not of the allowed form.
        """
        if key:
            check_key(key)
        head = committed = self._plugin.initial()
        if not self._engine.immediate:
            committed = self._plugin.initial()
        return Stream(key, head, committed, self._engine.last(key))

    def named(self, key: str | None, derived: str | None) -> str:
        """The key of a publish that names one, or of which the body names none.

        Raises:
            Rejected: it is not of the allowed form, or not the one that the body names.
        """
        if key is None:
            return ""
        if derived is not None and derived != key:
            field = self._plugin.key_field
            raise Rejected(
                "bad_body",
                f"the key {key!r} is not the body's {field}",
                {"path": f"$.{field}"},
            )
        check_key(key)
        return key

    def restore(self) -> None:
        """Fold all states from what the engine has stored."""
        self._engine.restore(self._fold_stored)
        for stream in self:
            stream.last = self._engine.last(stream.key)

    def rebuild(self, key: str) -> None:
        """The head has run ahead of what could be stored: fold it again."""
        stream = self._streams[key]
        lost = stream.head
        essence = () if stream.committed is lost else self.essence(key)
        stream.head = self._plugin.initial()
        if self._engine.immediate:
            stream.committed = stream.head
        self._fold(essence, stream.head, self._plugin.apply)
        after = self._engine.floor(key)
        while events := self._engine.read(key, after, READ_EVENTS):
            self._fold(events, stream.head, self._plugin.apply)
            after = events[-1].position
        stream.last = self._engine.last(key)
        self._plugin.rebuilt(key, lost, stream.head)

    def essence(self, key: str) -> Sequence[Event]:
        """What a stream's committed state cannot do without: see `Plugin.essence`."""
        stream = self._streams.get(key)
        if stream is None:
            return ()
        return tuple(self._plugin.essence(stream.committed, self._engine.floor(key)))

    def forget_some(self) -> None:
        """If there are too many streams, forget the oldest ones that are at rest."""
        surplus = len(self._streams) - self._limit
        if surplus <= 0:
            return
        for key in list(islice(self._streams, surplus + 100)):
            stream = self._streams[key]
            if surplus > 0 and not stream.in_flight and self._plugin.at_rest(stream.head):
                del self._streams[key]
                self._engine.forget(key)
                surplus -= 1

    def body_type(self, topic: str) -> BodyType:
        """The type of a topic's bodies.

        Raises:
            Rejected: ``unknown_topic``.
        """
        body_type = self._types.get(topic)
        if body_type is None:
            body_type = BodyType(topic, self._plugin.body_type(topic))
            if len(self._types) < REMEMBERED_TOPICS:  # without a schema there is no end of them
                self._types[topic] = body_type
        return body_type

    def decode(self, event: Event) -> None:
        """Give a retained event its body, for as long as it is looked at."""
        event.body, _ = self.body_type(event.topic).decode(event.raw, event.codec)

    def _fold_stored(self, events: Sequence[Event]) -> None:
        """Fold stored events of one stream."""
        key = events[0].key
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = self.open(key)
        now = self._now()
        for event in events:
            event.time = min(event.time, now)  # the clock of an earlier process was ahead
        self._fold(events, stream.head, self._plugin.apply)
        if stream.committed is not stream.head:
            self._fold(events, stream.committed, self._follow)

    def _follow(self, state: Any, event: Event) -> None:
        self._plugin.follow(state, (event,))

    def _fold(self, events: Sequence[Event], state: Any, how: Callable[[Any, Event], None]) -> None:
        for event in events:
            self.decode(event)
            how(state, event)
            event.body = None
