"""An engine that stores in an SQLite file. It commits later, in a thread of its own.

    append → gathered → encoded → the writer: all that waits, in one statement
           → back on the loop: retained, delivered

What can be read is what was committed, and is in memory as well, within the same
`History`; the file is read at the start only. (docs/decisions/0011-sqlite.md)
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from math import inf
from operator import attrgetter
from time import perf_counter

import structlog
from msgspec import Struct

from broker.clock import CallLater
from broker.config import History, Storage
from broker.engines.base import Batch, Essence, Figures, FileFigures
from broker.engines.file import Broken
from broker.engines.gathering import Gathering
from broker.engines.journal import Journal, Stored
from broker.engines.keeping import Keeping
from broker.engines.log import Numbered, number, numbered
from broker.engines.memory import MemoryEngine
from broker.engines.rows import encode
from broker.engines.writer import Close, Post, Retry, Told, Write, Writer
from broker.errors import Conflict
from broker.event import Event

log = structlog.get_logger(__name__)

MOST_WAITING = 4 << 20
"""How much may wait for the writer, as it counts in a history, before the namespace does."""

SLICE = 0.001
"""For how long events are delivered at once, in seconds."""

RETRY = 1.0
"""How long after a failure the file is tried again, and again, in seconds."""


class _Waiting(Struct):
    """A batch that is not delivered, and what is known of its events."""

    batch: Batch
    numbered: Numbered


class SqliteEngine:
    """Keeps the newest events of a namespace, within its `History`, in memory and in a file.

    Args:
        post: runs a function on the loop, from another thread.
        call_later: the loop's.
        cold: how long after they came events are written anew, in ms: see `Keeping`.
        retry: see `RETRY`.

    Attributes:
        failure: why nothing can be stored now.
    """

    immediate = False

    def __init__(
        self,
        storage: Storage,
        history: History,
        post: Post,
        call_later: CallLater,
        *,
        cold: int | None = None,
        retry: float = RETRY,
    ) -> None:
        self.failure: str | None = None
        self.full = False
        self._journal = Journal(storage)
        told = Told(post, self._committed, self._kept, self._lost, self._recovered)
        self._writer = Writer(self._journal, told, retry)
        self._put = self._writer.orders.put
        self._log = MemoryEngine(history, self._cut)
        self._keeping = Keeping(self._log, cold, self._put)
        self._heads: dict[str, int] = {}  # the last positions of streams that something waits of
        self._head = 0
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._call_later = call_later
        self._gathering = Gathering(storage.commit_ms / 1000, call_later, self._write)
        self._stored = 0  # the position up to which everything may be delivered
        self._delivering = False
        self._delivered: Callable[[Batch], None]
        self._failed: Callable[[Batch, Exception], None]

    @property
    def epoch(self) -> str:
        return self._journal.epoch

    @property
    def position(self) -> int:
        return self._log.position

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def open(
        self,
        delivered: Callable[[Batch], None],
        failed: Callable[[Batch, Exception], None],
        essence: Essence = lambda key: (),
    ) -> None:
        self._delivered = delivered
        self._failed = failed
        self._keeping.essence = essence

    def restore(self, fold: Callable[[Sequence[Event]], None]) -> None:
        """See `Engine`.

        Raises:
            Broken: the file cannot be used.
        """
        self._journal.open()
        try:
            stored = self._journal.load()
            for events in stored.states:
                fold(events)
            self._retain(stored, fold)
        except BaseException:
            self._journal.close()
            raise
        kept = {key: position for key, (position, _) in stored.kept.items()}
        self._keeping.begin(stored.since, kept)
        self._head = self._log.position
        self._writer.start()

    def _retain(self, stored: Stored, fold: Callable[[Sequence[Event]], None]) -> None:
        """Have in memory what the file has, as far as the history's bounds allow."""
        log = self._log
        log.begin(stored.since)
        events = [event for run in stored.runs for event in run]
        for key, (last, kept) in stored.kept.items():
            log.resume(key, last, kept.floor, kept.torn)
            events += kept.events
        events.sort(key=attrgetter("position"))
        for _, group in groupby(events, attrgetter("key", "time")):
            run = list(group)
            fold(run)
            log.roll(run[0].time)
            log.retain([run], numbered(run))
        log.go_on(stored.last)

    def close(self) -> None:
        if self._writer.is_alive():
            self._gathering.finish()
            self._put(Close())
            self._writer.join()

    # ------------------------------------------------------------- on the loop

    def append(self, batch: Batch) -> None:
        if self.failure is not None:
            self._failed(batch, Broken(self.failure))
            return
        heads = self._heads
        for key, expected in batch.expected.items():
            if (heads.get(key) or self._log.last(key)) != expected:
                self._failed(batch, Conflict(f"a stream is not at {expected} any more"))
                return
        if not batch.runs:
            if self._waiting:
                self._waiting.append(_Waiting(batch, Numbered(self._head, 0, False)))
            else:
                self._delivered(batch)
            return
        known = number(batch.runs, self._head)
        self._head = known.last
        for run in batch.runs:
            heads[run[0].key] = run[-1].position
        self._waiting.append(_Waiting(batch, known))
        self._bytes += known.size
        self.full = self._bytes > MOST_WAITING
        self._gathering.add(batch.runs, known.size)

    def _write(self, runs: Sequence[list[Event]], batches: int) -> None:
        """The gathered events, up to the head, are the writer's."""
        self._put(Write(self._head, encode(runs), batches))

    def _committed(self, last: int) -> None:
        """A row is stored: all that waited up to a position."""
        self._stored = last
        if not self._delivering:
            self._deliver()

    def _deliver(self) -> None:
        """Deliver what is stored; if that is a lot, the rest later."""
        self._delivering = False
        if self._deliver_until(perf_counter() + SLICE):
            self._delivering = True
            self._call_later(0, self._deliver)

    def _deliver_until(self, end: float) -> bool:
        """Deliver what is stored, until that time. Returns whether some of it is left."""
        waiting = self._waiting
        while waiting and waiting[0].numbered.last <= self._stored:
            if perf_counter() > end:
                return True
            done = waiting.popleft()
            batch = done.batch
            self._bytes -= done.numbered.size
            if batch.runs:
                self._log.roll(batch.runs[0][0].time)
                self._log.retain(batch.runs, done.numbered)
            self.full = self._bytes > MOST_WAITING
            self._delivered(batch)
        if not waiting:
            self._heads.clear()
        return False

    def _kept(self) -> None:
        self._keeping.kept()

    def _lost(self, error: Broken) -> None:
        """Nothing that waits was stored, nor is anything until the file can be used again."""
        self._deliver_until(inf)
        log.error("storage failed", why=str(error))
        self.failure = str(error)
        self._gathering.forget()
        lost, self._waiting = self._waiting, deque()
        self._head = self._log.position
        self._heads.clear()
        self._bytes = 0
        self.full = False
        self._keeping.lost()
        self._put(Retry(self._head))
        for each in lost:
            self._failed(each.batch, error)

    def _recovered(self) -> None:
        log.info("storage works again")
        self.failure = None

    # ------------------------------------------------------------- what is retained

    def read(self, key: str, after: int, limit: int) -> Sequence[Event]:
        return self._log.read(key, after, limit)

    def floor(self, key: str) -> int:
        return self._log.floor(key)

    def whole(self, key: str, after: int) -> bool:
        return self._log.whole(key, after)

    def keys(self) -> Sequence[str]:
        return self._log.keys()

    def last(self, key: str) -> int:
        return self._log.last(key)

    def has_name(self, key: str, name: str) -> bool:
        return self._log.has_name(key, name)

    def replace(self, key: str, old: Sequence[Event], new: Sequence[Event]) -> None:
        self._log.replace(key, old, new)

    def forget(self, key: str) -> None:
        self._heads.pop(key, None)
        self._log.forget(key)

    def trim(self, now: int) -> bool:
        trimmed = self._log.trim(now)
        return (self.failure is None and self._keeping.some(now)) or trimmed

    def figures(self) -> Figures:
        events, bytes, _ = self._log.figures()
        journal, writer = self._journal, self._writer
        longest, writer.longest = writer.longest, 0.0
        return Figures(
            events,
            bytes,
            FileFigures(
                *journal.file.bytes,
                rows=journal.rows,
                waiting=self._bytes,
                commits=writer.commits,
                batches=writer.batches,
                seconds=writer.seconds,
                longest=longest,
                failures=writer.failures,
            ),
        )

    def _cut(self, key: str) -> None:
        self._keeping.cut(key)
