"""A work queue: what it has to give, and who may have it.

A `Job` is one event in one `Group`. A `Place` is one member's: the jobs that it was given,
and how they get into its socket. Where the plugin says what takes an event up, a job is
*held* until then; elsewhere it is done once it is written.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from broker.codec import Codec
from broker.envelope import Piece, encode_for
from broker.event import Event, Sender
from broker.outbox import Outbox
from broker.topics import matches

AHEAD = 64
"""How many jobs a member may have that are not written yet. Further ones wait in the group,
for whoever has room first."""

REMEMBERED_TOPICS = 1000
"""For how many topics a member remembers whether it wants them."""

Wish = tuple[str, str | None]
"""A pattern, and a key or (None) every one."""


class Worker(NamedTuple):
    """A connection that takes part in work queues.

    Attributes:
        server: the one that it is connected to; None for all of them.
    """

    sender: Sender
    outbox: Outbox
    server: str | None = None

    @property
    def member(self) -> tuple[str | None, str]:
        """Who it is, also on its next connection."""
        return self.server, self.sender.identity


class Job:
    """One event that a group has to give to a member.

    Attributes:
        group: the group.
        held: it is done when the plugin says so; otherwise, when it is written.
        place: whose it is; None while it is nobody's.
        tried: those who had it, and did not take it up in time, by identity.
        losses: how many were lost who had it.
        done: nothing is to be done with it any more.
    """

    __slots__ = ("done", "event", "group", "held", "losses", "place", "tried")

    def __init__(self, group: "Group", event: Event, *, held: bool) -> None:
        self.group = group
        self.event = event
        self.held = held
        self.place: Place | None = None
        self.tried: set[str] = set()
        self.losses = 0
        self.done = False


class Place:
    """One member's place in a group.

    Attributes:
        worker: its connection.
        identity: its sender's.
        wishes: what it wants; see `wish`.
        gone: its connection is not to be used any more.
        older: the place of the same member's last connection, with what is not moved yet.
        hungry: there were jobs for it while it was full.
        waiting, weight: see `broker.outbox.Line`.
    """

    __slots__ = (
        "_held", "_keys", "_unwritten",
        "gone", "group", "hungry", "identity", "older", "waiting", "weight", "wishes", "worker",
    )  # fmt: skip

    def __init__(self, group: "Group", worker: Worker, weight: int) -> None:
        self.group = group
        self.worker = worker
        self.identity = worker.sender.identity
        self.weight = weight
        self.wishes: set[Wish] = set()
        self.gone = False
        self.older: Place | None = None
        self.hungry = False
        self.waiting = False
        self._keys: dict[str, frozenset[str | None]] = {}  # that it wants, of a topic
        self._unwritten: deque[Job] = deque()
        self._held: dict[Job, None] = {}

    @property
    def open(self) -> bool:
        """Whether what it is given can reach it."""
        return not self.gone and self.worker.outbox.open

    @property
    def room(self) -> int:
        """How many more jobs it may have that are not written."""
        return AHEAD - len(self._unwritten)

    @property
    def full(self) -> bool:
        return self.room <= 0

    @property
    def load(self) -> int:
        """How much it was given, and has not taken up."""
        return len(self._unwritten) + len(self._held)

    def wish(self, wish: Wish, *, over: bool = False) -> None:
        """Want something, or nothing of it any more."""
        (self.wishes.discard if over else self.wishes.add)(wish)
        self._keys.clear()

    def wants(self, topic: str, key: str) -> bool:
        keys = self._keys.get(topic)
        if keys is None:
            keys = frozenset(
                wanted for pattern, wanted in self.wishes
                if pattern == topic or matches(pattern, topic)
            )  # fmt: skip
            if len(self._keys) < REMEMBERED_TOPICS:
                self._keys[topic] = keys
        return None in keys or key in keys

    def may_have(self, job: Job) -> bool:
        """Whether it wants a job, and has not failed at it."""
        tried = job.tried
        return self.wants(job.event.topic, job.event.key) and not (tried and self.identity in tried)

    def jobs(self) -> Iterator[Job]:
        """What it was given and has not taken up, in the order of its events."""
        yield from [job for job in self._held if not job.done]
        yield from [job for job in self._unwritten if not job.held and not job.done]

    def put(self, job: Job) -> None:
        """Give it a job."""
        job.place = self
        if job.held:
            self._held[job] = None
        self._unwritten.append(job)
        if not self.waiting:
            self.waiting = True
            self.worker.outbox.wake(self)

    def drop(self, job: Job) -> None:
        """Take a job back, or off it."""
        job.place = None
        self._held.pop(job, None)
        if job in self._unwritten:
            self._unwritten.remove(job)

    def take(self, limit: int) -> list[Piece]:
        """About `limit` bytes of what it was given; see `broker.outbox.Line`."""
        pieces: list[Piece] = []
        while self._unwritten and limit > 0 and self.open:
            job = self._unwritten.popleft()
            pieces.append(Piece(self.group.encode(job.event, self.worker.outbox.codec)))
            limit -= len(pieces[-1].data)
            job.done = not job.held
        if self.hungry and self.open:
            self.group.refill(self)
        self.waiting = bool(self._unwritten) and self.open
        return pieces


class Group:
    """A work queue.

    Args:
        cursor: writes a position.
        begin: called with this group and each event that was delivered to it.

    Attributes:
        places: by their members; whose turn was last is last.
        backlog: the jobs that are nobody's.
        ending: its members cannot keep up: see `broker.groups`.
    """

    live: Literal[False] = False

    def __init__(
        self, name: str, cursor: Callable[[int], str], begin: Callable[["Group", Event], None]
    ) -> None:
        self.name = name
        self.ending = False
        self._cursor = cursor
        self.places: dict[tuple[str | None, str], Place] = {}
        self.backlog: OrderedDict[Job, None] = OrderedDict()
        self._begin = begin

    def note(self, events: Sequence[Event]) -> None:
        """See `broker.fanout.Taker`."""
        for event in events:
            self._begin(self, event)

    def encode(self, event: Event, codec: Codec) -> bytes:
        return encode_for(self.name, event, codec, self._cursor(event.position))

    def attends(self, topic: str, key: str) -> bool:
        """Whether a member would be given such an event now."""
        return any(place.open and place.wants(topic, key) for place in self.places.values())

    def could_have(self, job: Job) -> bool:
        """Whether it is for a member."""
        return any(place.may_have(job) for place in self.places.values())

    def give(self, job: Job, favourite: str | None, load: Callable[[Place], int]) -> None:
        """Let the favourite have a job, or else who has least to do; or keep it."""
        able: list[Place] = []
        for place in self.places.values():
            if place.open and place.may_have(job):
                if place.full:
                    place.hungry = True
                else:
                    able.append(place)
        if not able:
            self.backlog[job] = None
            return
        chosen = next((place for place in able if place.identity == favourite), None)
        if chosen is None:
            chosen = min(able, key=load) if len(able) > 1 else able[0]
        member = chosen.worker.member
        self.places[member] = self.places.pop(member)
        chosen.put(job)

    def refill(self, place: Place) -> None:
        """Give a member what it may have of the backlog, as far as it has room."""
        chosen: list[Job] = []
        for job in self.backlog:
            if len(chosen) >= place.room:
                break
            if place.may_have(job):
                chosen.append(job)
        for job in chosen:
            del self.backlog[job]
            place.put(job)
        place.hungry = place.full

    def forget_unwanted(self) -> None:
        """Drop what is done when it is written, and nobody is there for."""
        for job in list(self.backlog):
            topic, key = job.event.topic, job.event.key
            if not job.held and not any(p.wants(topic, key) for p in self.places.values()):
                del self.backlog[job]
