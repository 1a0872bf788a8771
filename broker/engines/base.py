"""The port of an engine: append at an expected position, read after one, deliver.

A namespace validates against its *head*, the state after everything that it has
handed to the engine, so that publishers can pipeline. The engine commits batches
in the order in which it got them and hands each to `delivered`; an engine that
stores elsewhere does so later than `append` returns. If a batch cannot be
stored, it and every batch behind it go to `failed`, and the namespace rebuilds
its head from what the engine holds: optimistic concurrency on an event log.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from broker.event import Event

SMALL = 256
"""Up to how many bytes of body neighbours are one run."""


class Batch:
    """Events that are stored together, or not at all.

    Attributes:
        runs: the events, in order; neighbours of one topic and key are one run, and are
            stored, encoded and offered together. The engine gives each its position.
        ids: of each event, the id of its publish; 0 where it had none.
        expected: for each stream, the position of its last event as its head has it.
        origins: who published them: a connection, how many of the events are its own,
            and the last id that is answered with them; 0 where there is none.
        repeats: who repeated what was accepted before, and may fail with this: a connection,
            the publish's id and topic.
    """

    __slots__ = ("expected", "ids", "origins", "repeats", "runs")

    def __init__(
        self,
        runs: list[list[Event]],
        ids: list[int],
        expected: dict[str, int],
        origins: list[tuple[Any, int, int]],
    ) -> None:
        self.runs = runs
        self.ids = ids
        self.expected = expected
        self.origins = origins
        self.repeats: list[tuple[Any, int, str]] = []

    def add(self, event: Event, id: int, run: list[Event]) -> list[Event]:
        """One more event; returns its run, which is `run`, that of the one before it from the
        same connection, if they are neighbours."""
        self.ids.append(id)
        if run:
            first = run[0]
            if first.key is event.key and first.topic is event.topic and len(event.raw) <= SMALL:
                run.append(event)
                return run
        run = [event]
        self.runs.append(run)
        return run

    @property
    def events(self) -> list[Event]:
        return [event for run in self.runs for event in run]


Essence = Callable[[str], Sequence[Event]]
"""The committed state of a stream, as events that can be folded to it again: see
`Plugin.essence`. It outlives what it was folded from, where the engine stores it."""


class Figures(NamedTuple):
    """What an engine says of itself, for whom it may concern.

    Attributes:
        events, bytes: what is retained, and what it counts in the history.
        file: of what is stored in a file; None where nothing is.
    """

    events: int
    bytes: int
    file: "FileFigures | None" = None


class FileFigures(NamedTuple):
    """What an engine says of its file.

    Attributes:
        bytes, log_bytes: how large it is, and the log of what is not in it yet.
        rows: how many commits it has.
        waiting: what waits to be committed, as it counts in the history, in bytes.
        commits, batches, seconds: how many commits were made, of how many batches, and how
            long that took together.
        longest: the longest of them since this was asked last, in seconds.
        failures: how often something could not be stored.
    """

    bytes: int
    log_bytes: int
    rows: int
    waiting: int
    commits: int
    batches: int
    seconds: float
    longest: float
    failures: int


class Engine(Protocol):
    """Stores one namespace's events.

    Attributes:
        epoch: names this numbering of positions. Another one means that cursors
            from before say nothing any more.
        immediate: whether `append` has delivered or failed when it returns.
        position: that of the last event that was delivered.
        pending: how many batches are neither delivered nor failed.
        full: so much is pending that nothing should be appended before some of it is not.
        failure: why nothing can be stored now, or None. Then everything fails at once.
    """

    immediate: bool

    @property
    def epoch(self) -> str: ...

    @property
    def position(self) -> int: ...

    @property
    def pending(self) -> int: ...

    @property
    def full(self) -> bool: ...

    @property
    def failure(self) -> str | None: ...

    def open(
        self,
        delivered: Callable[[Batch], None],
        failed: Callable[[Batch, Exception], None],
        essence: Essence,
    ) -> None:
        """Say where batches go, and what states are; called once, before anything else."""

    def restore(self, fold: Callable[[Sequence[Event]], None]) -> None:
        """Go on from what was stored before; called once, before any `append`.

        Args:
            fold: is given events of one stream, in order: what states were when something
                was let go (`essence`), and what came after that; perhaps also some from
                before it.

        Raises:
            EdgestreamError: that cannot be read.
        """

    def close(self) -> None:
        """Store what is pending, and end."""

    def append(self, batch: Batch) -> None:
        """Give the batch's events their positions, and store them.

        A position that `expected` disagrees with is a `Conflict`, given to `failed`.
        """

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        """Up to `limit` delivered events of one stream after a position, in order.

        Raises:
            Gone: it is neither the floor nor one after which all is `whole`.
        """

    def floor(self, key: str) -> int:
        """The position after which everything of the stream is retained."""

    def whole(self, key: str, after: int) -> bool:
        """Whether one who had all of a stream up to a position can have what followed: it is
        retained, and no event stands for some from before and behind that position."""

    def keys(self) -> Sequence[str]:
        """The streams of which something is retained."""

    def last(self, key: str) -> int:
        """The position of a stream's last stored event; 0 where there is none."""

    def has_name(self, key: str, name: str) -> bool:
        """Whether a retained event of the stream was published under this `dedupe` name."""

    def replace(self, key: str, old: Sequence[Event], new: Sequence[Event]) -> None:
        """Retain fewer events of a stream that say the same as some that were read.

        Each is one of `old`, or has the position of one and stands for those that were behind
        the one before it. The last one has that of the last.
        """

    def forget(self, key: str) -> None:
        """Let go of a whole stream; its head is forgotten at the same time."""

    def trim(self, now: int) -> bool:
        """Let go of some of what is older than the history's age; `now` in Unix ms.

        Returns whether there is more to do. What it does at once takes about a millisecond.
        """

    def figures(self) -> Figures:
        """What there is to tell of it."""
