"""An engine that stores in an SQLite file. It commits later, in a thread of its own.

    append → encoded, queued → the writer: all that waits, in one statement
           → back on the loop: retained, delivered

What can be read is what was committed, and is in memory as well, within the same
`History`; the file is read at the start only. (docs/decisions/0011-sqlite.md)
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

import structlog
from msgspec import Struct

from broker.config import History, Storage
from broker.engines.base import Batch
from broker.engines.journal import Broken, Journal, Row
from broker.engines.memory import OVERHEAD, MemoryEngine
from broker.engines.rows import encode
from broker.errors import Conflict
from broker.plugin import Event

log = structlog.get_logger(__name__)

MOST_WAITING = 2 << 20
"""How many encoded bytes may wait for the writer before the namespace waits for it."""

RETRY = 1.0
"""How long after a failure the file is tried again, and again, in seconds."""

Post = Callable[..., object]
"""Runs a function with arguments on the loop: its `call_soon_threadsafe`."""


class _Write(Struct):
    """A batch for the writer: its last position, its time, what it counts in the history."""

    last: int
    newest: int
    size: int
    blob: bytes


class _Trim(Struct):
    """Let go of what is older than this, in Unix ms."""

    oldest: int


class _Retry(Struct):
    """The loop knows of the failure: nothing in the queue behind this is lost with it."""

    last: int


class _Close(Struct):
    """Write what came before this, and end."""


_Order = _Write | _Trim | _Retry | _Close


class _Waiting(Struct):
    """A batch that is not committed: the last position up to its end, its encoded size."""

    batch: Batch
    last: int
    size: int


class _Told(NamedTuple):
    """What the writer tells, and how it gets there."""

    post: Post
    committed: Callable[[int], None]
    lost: Callable[[Broken], None]
    recovered: Callable[[], None]

    def tell(self, what: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self.post(what, *args)


class SqliteEngine:
    """Keeps the newest events of a namespace, within its `History`, in memory and in a file.

    Args:
        post: runs a function on the loop, from another thread.
        retry: see `RETRY`.

    Attributes:
        failure: why nothing can be stored now.
    """

    immediate = False

    def __init__(
        self, storage: Storage, history: History, post: Post, retry: float = RETRY
    ) -> None:
        self.failure: str | None = None
        self.full = False
        self._journal = Journal(storage, history.bytes)
        self._log = MemoryEngine(history)
        self._age = int(history.age * 1000)
        self._heads: dict[str, int] = {}  # the last positions of streams that something waits of
        self._head = 0
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        told = _Told(post, self._committed, self._lost, self._recovered)
        self._writer = _Writer(self._journal, self._orders, told, retry)
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
        self, delivered: Callable[[Batch], None], failed: Callable[[Batch, Exception], None]
    ) -> None:
        self._delivered = delivered
        self._failed = failed

    def restore(self) -> None:
        """See `Engine`.

        Raises:
            Broken: the file cannot be used.
        """
        self._journal.open()
        try:
            began = False
            for last, runs in self._journal.load():
                if not began:
                    self._log.begin(last - sum(map(len, runs)))
                    began = True
                self._log.store(runs)
        except BaseException:
            self._journal.close()
            raise
        self._head = self._log.position
        self._writer.start()

    def close(self) -> None:
        if self._writer.is_alive():
            self._orders.put(_Close())
            self._writer.join()

    # ------------------------------------------------------------- on the loop

    def append(self, batch: Batch) -> None:
        if self.failure is not None:
            self._failed(batch, Broken(self.failure))
            return
        for key, expected in batch.expected.items():
            if (self._heads.get(key) or self._log.last(key)) != expected:
                self._failed(batch, Conflict(f"a stream is not at {expected} any more"))
                return
        if not batch.runs:
            if self._waiting:
                self._waiting.append(_Waiting(batch, self._head, 0))
            else:
                self._delivered(batch)
            return
        position = self._head
        size = 0
        for run in batch.runs:
            for event in run:
                position += 1
                event.position = position
                size += len(event.raw) + OVERHEAD
            self._heads[run[0].key] = position
        self._head = position
        blob = encode(batch.runs)
        self._waiting.append(_Waiting(batch, position, len(blob)))
        self._bytes += len(blob)
        self.full = self._bytes > MOST_WAITING
        newest = batch.runs[-1][-1].time
        self._orders.put(_Write(position, newest, size, blob))

    def _committed(self, last: int) -> None:
        waiting, heads = self._waiting, self._heads
        while waiting and waiting[0].last <= last:
            done = waiting.popleft()
            batch = done.batch
            self._bytes -= done.size
            if batch.runs:
                self._log.store(batch.runs)
            for run in batch.runs:
                key = run[0].key
                if heads.get(key) == run[-1].position:
                    del heads[key]
            self.full = self._bytes > MOST_WAITING
            self._delivered(batch)

    def _lost(self, error: Broken) -> None:
        """Nothing that waits was stored, nor is anything until the file can be used again."""
        log.error("storage failed", why=str(error))
        self.failure = str(error)
        lost, self._waiting = self._waiting, deque()
        self._head = self._log.position
        self._heads.clear()
        self._bytes = 0
        self.full = False
        self._orders.put(_Retry(self._head))
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

    def keys(self) -> Sequence[str]:
        return self._log.keys()

    def last(self, key: str) -> int:
        return self._log.last(key)

    def has_name(self, key: str, name: str) -> bool:
        return self._log.has_name(key, name)

    def forget(self, key: str) -> None:
        self._log.forget(key)

    def trim(self, now: int) -> None:
        self._log.trim(now)
        self._orders.put(_Trim(now - self._age))


class _Writer(threading.Thread):
    """Commits what waits, all of it at once, and then what came meanwhile."""

    def __init__(
        self,
        journal: Journal,
        orders: "SimpleQueue[_Order]",
        told: _Told,
        retry: float,
    ) -> None:
        super().__init__(name="sqlite", daemon=True)
        self._journal = journal
        self._orders = orders
        self._told = told
        self._retry = retry
        self._over = False

    def run(self) -> None:
        while not self._over:
            orders = [self._orders.get()]
            try:
                while True:
                    orders.append(self._orders.get_nowait())
            except Empty:
                pass
            try:
                self._obey(orders)
            except Exception as error:  # whatever it is, nothing was stored
                broken = error if isinstance(error, Broken) else Broken(str(error))
                self._fail(broken, orders)
        try:
            self._journal.close()
        except Broken as error:
            log.warning("storage not closed", why=str(error))

    def _obey(self, orders: Sequence[_Order]) -> None:
        writes = [order for order in orders if type(order) is _Write]
        self._over = any(type(order) is _Close for order in orders)
        if writes:
            total = sum([write.size for write in writes])
            blobs = [write.blob for write in writes]
            row = Row(writes[-1].last, writes[-1].newest, total, blobs)
            self._journal.add(row)
            self._told.tell(self._told.committed, row.last)
        for order in orders:
            if type(order) is _Trim:
                self._journal.trim(order.oldest)

    def _fail(self, error: Broken, orders: Sequence[_Order]) -> None:
        """Leave out what comes until the loop knows; then try to open the file again."""
        self._told.tell(self._told.lost, error)
        room = sum([len(order.blob) for order in orders if type(order) is _Write])
        last: int | None = None
        due = 0.0  # when the next try is, whatever else comes until then
        while not self._over:
            pause = None if last is None else max(0.0, due - time.monotonic())
            try:
                order = self._orders.get(timeout=pause)
            except Empty:
                assert last is not None
                try:
                    self._journal.reopen(last, room)
                except Broken:
                    due = time.monotonic() + self._retry
                    continue
                self._told.tell(self._told.recovered)
                return
            if type(order) is _Retry:
                last = order.last
                due = time.monotonic() + self._retry
            self._over = type(order) is _Close
