"""What a plugin may see: the port between the broker and the owner of a namespace.

A plugin owns one namespace: its topics, the types of their bodies, the rules of
its streams. It is synchronous, does no I/O and is called only from its
namespace's turn of the loop, so it needs no locks. Only `Rejected` (and
`Duplicate`) reach a sender; any other exception is answered as ``internal``.

A stream's state is a fold of `apply` over its stored events, so that a restarted
broker, or another node, can rebuild it from them alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Struct
from starlette.routing import BaseRoute

from broker.errors import (
    ConfigError,
    Duplicate,
    EdgestreamError,
    ErrorInfo,
    Rejected,
    Unattended,
)
from broker.event import BROKER, Event, Sender
from broker.gateway import Endpoint, Gateway

__all__ = [
    "BROKER",
    "ConfigError",
    "Duplicate",
    "EdgestreamError",
    "Endpoint",
    "ErrorInfo",
    "Event",
    "Gateway",
    "Plugin",
    "Rejected",
    "Sender",
    "Unattended",
]

State = TypeVar("State")


class Plugin(Generic[State]):
    """The owner of one namespace. Subclass it, and register it as an entry point.

    Attributes:
        Options: the Struct that the namespace's ``options`` table must fit.
        errors: the error codes that it adds to the broker's.
        key_field: the body's field that names the stream, where there is one.
        latest: of a reader that is behind, only the last event of each topic and key
            counts: the others are left out, and it is told how many. Otherwise it gets
            them all, late and merged (`merge`), as long as they are retained.
        leases: it has `deadline`s, and cares who is connected.
        addressed: the topics of events that may have a `recipient`.
        work: the topics of events that a member of a work queue has to take up. The state
            says which of them nobody has yet (`untaken`).
        settling: the topics of events by which one may be taken up, or given up.
        worker_wait: how long a publish waits for a worker, in ms, and how long one whose
            connection is lost keeps its place, and what it was given.
        start_limit: how long a worker may take to take an event up, in ms.
        attended: whether a worker would get an event of `work` on a topic and key now.
        changed: the keys of streams whose `deadline` may be another one since they were last
            taken out: the plugin puts them in.
        closing: the topics of events with which something ends, of which the events before it
            can be compacted (`settled`), `compact_after` ms later; None for never.
        parts: the topics of events that `told` speaks of.
        whole: the topics of events that say again what came in parts: their bodies may be as
            large as a message, whatever `max_body_bytes` is.
        started: when it began to be told who is connected, in Unix ms.
        retained: its last events are its state, so that a subscription without
            ``replay`` gets a snapshot as well.
    """

    Options: ClassVar[type[Struct]] = msgspec.defstruct("Options", [], forbid_unknown_fields=True)
    errors: ClassVar[Mapping[str, ErrorInfo]] = {}
    key_field: ClassVar[str] = "key"
    retained: ClassVar[bool] = False
    leases: ClassVar[bool] = False
    addressed: ClassVar[frozenset[str]] = frozenset()
    closing: ClassVar[frozenset[str]] = frozenset()
    parts: ClassVar[frozenset[str]] = frozenset()
    whole: ClassVar[frozenset[str]] = frozenset()
    work: ClassVar[frozenset[str]] = frozenset()
    settling: ClassVar[frozenset[str]] = frozenset()
    compact_after: int | None = None
    latest: bool = False
    worker_wait: int = 2000
    start_limit: int = 30_000

    def __init__(self, namespace: str, options: Any) -> None:
        self.namespace = namespace
        self.options = options
        self.attended: Callable[[str, str], bool] = _nobody
        self.changed: set[str] = set()
        self.started = 0

    def body_type(self, topic: str) -> Any:
        """The type of `topic`'s bodies: a Struct, or `Any` for what JSON can say.

        Raises:
            Rejected: ``unknown_topic``.
        """
        raise NotImplementedError

    def topics(self) -> Mapping[str, Any]:
        """An example of a body for each of its topics, for documents. A ``{topic}`` in one
        stands for any words."""
        return {}

    def key(self, topic: str, body: Any) -> str | None:
        """The stream that a body belongs to, or None where the publisher names it."""
        return None

    def initial(self) -> State:
        """The state of a stream without events."""
        raise NotImplementedError

    def accept(self, head: State, event: Event) -> None:
        """`validate`, then `apply`; one that can do both in one step may say so here.

        Raises:
            Rejected: as `validate`, and nothing has changed.
            Duplicate: as `validate`; `repeated` knows of it.
        """
        try:
            self.validate(head, event)
        except Duplicate:
            self.repeated(head, event)
            raise
        self.apply(head, event)

    def validate(self, head: State, event: Event) -> None:
        """Check `event` against everything accepted so far.

        Raises:
            Rejected: it may not follow; the code is one of `errors` or the broker's.
            Duplicate: it was accepted before.
            Unattended: it is `work`, and not `attended`.
        """

    def apply(self, state: State, event: Event) -> None:
        """Fold one accepted event into `state`. It must not fail.

        An event that `essence` was made of may be folded again behind it, with all that
        follow: that changes nothing.
        """

    def repeated(self, head: State, event: Event) -> None:
        """An event that was accepted before has come again, perhaps from somebody else.

        Who says so may matter to the head. It is not stored, and no other state knows.
        """

    def rebuilt(self, key: str, lost: State, head: State) -> None:
        """Something could not be stored: the head of a stream is not `lost` any more, but
        folded (`apply`) again from what is stored."""

    def follow(self, state: State, run: Sequence[Event]) -> None:
        """`apply` each of some events of one topic, to a state of which nothing depends:
        another has had them already, in this order."""
        for event in run:
            self.apply(state, event)

    def at_rest(self, state: State) -> bool:
        """Whether a stream may be forgotten when there are too many."""
        return True

    def snapshot(self, state: State, since: int | None = None) -> Iterable[Event]:
        """`state` written as events, in as few as it can be.

        With `since`, for a reader that knows everything up to that position: what has
        ended after it, as far as the state still tells, and what is still open.
        """
        return ()

    def essence(self, state: State, floor: int) -> Iterable[Event]:
        """What there has to be of `state` when what it was folded from is not retained any
        more, as events that can be folded (`apply`) to it again; nothing, if it may be lost.
        What came after the position `floor` is retained, and is folded behind it."""
        return self.snapshot(state)

    def settled(self, state: State, before: int) -> int:
        """The position up to which nobody is likely to go on from between events that can be
        merged: what they belong to has ended before that time, in Unix ms."""
        return 0

    def told(self, state: State, since: int, until: int) -> Iterable[tuple[int, int]]:
        """Between two positions, the positions of first and last events between which all
        `parts` can be left out: the last ones of what they belong to say it again."""
        return ()

    def merge(self, run: Sequence[Event]) -> Sequence[Event]:
        """Events of one stream, neighbours, with those joined that lose nothing by it."""
        return run

    # What happens by itself: asked only of a plugin that has `leases`.

    def deadline(self, state: State) -> int | None:
        """When `expire` is to be asked about a stream, in Unix ms; too early does no harm.

        Asked of streams that are among the `changed`.
        """
        return None

    def expire(self, state: State, now: int) -> Iterable[Event]:
        """What the broker has to say in this stream now, and nobody else does.

        Its events are applied without being validated.
        """
        return ()

    def joined(self, sender: Sender, now: int) -> Iterable[str]:
        """A sender is connected, or again. Returns the streams in which `owed` may have
        something for it."""
        return ()

    def owed(self, state: State, head: State, sender: Sender) -> Iterable[Event]:
        """The events of a stream that `sender` missed as their `recipient`: those that were
        delivered (`state`), and are its own as it is now (`head`)."""
        return ()

    def left(self, sender: Sender, now: int) -> None:
        """A sender is not connected any more."""

    def recipient(self, head: State, event: Event) -> Sender | None:
        """Whom an accepted event is addressed to, beside those who subscribe to it: as it is
        now, which what is stored may not say (`repeated`)."""
        return None

    # Work queues: asked only of a plugin that has `work`.

    def untaken(self, state: State) -> Iterable[Event]:
        """The events of `work` that nobody has taken up, oldest first."""
        return ()

    def preferred(self, state: State) -> Sender | None:
        """The worker that is to have the stream's next event of `work`, if it is there."""
        return None

    def load(self, worker: Sender) -> int:
        """How much a worker has to do, beside what it was given and has not taken up."""
        return 0

    def given(self, state: State, event: Event, *, again: bool) -> None:
        """An event of work is for a worker of one more group; or, `again`, for another than had
        it, who was lost with it or did not take it up in time, or for the same that was away."""

    def is_at_work(self, state: State, event: Event) -> bool:
        """Whether whoever was given an event of work is known to be about to take it up: it is
        left to them for as long again as they had."""
        return False

    def unanswered(self, state: State, event: Event, now: int, *, tried: bool) -> Iterable[Event]:
        """What the broker has to say when it gives an untaken event up: nobody was there,
        or those who were (`tried`) did not take it up. With it the event is not `untaken`."""
        return ()

    def endpoints(self) -> Iterable[Endpoint]:
        """What there is to say of its `routes`, for documents."""
        return ()

    def close(self) -> None:
        """The broker ends: let go of what is open."""

    def routes(self, gateway: Gateway) -> Iterable[BaseRoute]:
        """The HTTP routes that it brings; `gateway` is their way to its namespace."""
        return ()


def _nobody(topic: str, key: str) -> bool:
    return False
