"""The thread that writes a durable namespace's file. What it is told to do comes in a queue."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

import structlog
from msgspec import Struct

from broker.engines.file import Broken
from broker.engines.journal import Journal, StreamRow

log = structlog.get_logger(__name__)

Post = Callable[..., object]
"""Runs a function with arguments on the loop: its `call_soon_threadsafe`."""


class Write(Struct):
    """Batches: the last position, their events, encoded, and how many they are."""

    last: int
    blob: bytes
    batches: int


class Keep(Struct):
    """What is said of streams by themselves, and up to where commits may go then, or 0."""

    streams: Sequence[StreamRow]
    until: int = 0


class Retry(Struct):
    """The loop knows of the failure: nothing in the queue behind this is lost with it."""

    last: int


class Close(Struct):
    """Write what came before this, and end."""


Order = Write | Keep | Retry | Close


class Told(NamedTuple):
    """What the writer tells, and how it gets there.

    Attributes:
        committed: everything up to a position is stored.
        kept: so is what the first `Keep` says of which that was not told yet.
        lost: nothing that was written behind that is, nor will be, until it has `recovered`.
    """

    post: Post
    committed: Callable[[int], None]
    kept: Callable[[], None]
    lost: Callable[[Broken], None]
    recovered: Callable[[], None]

    def tell(self, what: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self.post(what, *args)


class Writer(threading.Thread):
    """Commits what waits, all of it at once, and then what came meanwhile.

    Args:
        journal: the file; nobody else uses it while this runs.
        retry: how long after a failure it is tried again, and again, in seconds.

    Attributes:
        orders: what is to be done, in order.
        commits, batches, seconds: how many rows were added, of how many batches, and how
            long that took together.
        longest: the longest of them.
        failures: how often something could not be stored.
    """

    def __init__(self, journal: Journal, told: Told, retry: float) -> None:
        super().__init__(name="sqlite", daemon=True)
        self.orders: SimpleQueue[Order] = SimpleQueue()
        self.commits = 0
        self.batches = 0
        self.seconds = 0.0
        self.longest = 0.0
        self.failures = 0
        self._journal = journal
        self._told = told
        self._retry = retry
        self._over = False
        self._trim = 0  # the position up to which rows are let go of, a few at a time

    def run(self) -> None:
        while not self._over:
            orders = self._waiting()
            try:
                self._obey(orders)
            except Exception as error:  # whatever it is, nothing was stored
                broken = error if isinstance(error, Broken) else Broken(str(error))
                self._fail(broken, orders)
        try:
            self._journal.close()
        except Broken as error:
            log.warning("storage not closed", why=str(error))

    def _waiting(self) -> list[Order]:
        """Everything that is to be done now; without more to trim, there is something."""
        queue = self.orders
        orders: list[Order] = [] if self._trim else [queue.get()]
        while not queue.empty():  # nobody else takes something out
            orders.append(queue.get())
        return orders

    def _obey(self, orders: Sequence[Order]) -> None:
        self._over = Close in [type(order) for order in orders]
        writes = [order for order in orders if type(order) is Write]
        if writes:
            self._commit(writes)
        for order in orders:
            if type(order) is Keep:
                self._journal.keep(order.streams)
                self._trim = max(self._trim, order.until)
                self._told.tell(self._told.kept)
        if self._trim and not self._journal.trim(self._trim):
            self._trim = 0

    def _commit(self, writes: Sequence[Write]) -> None:
        begin = time.perf_counter()
        self._journal.add(writes[-1].last, [write.blob for write in writes])
        took = time.perf_counter() - begin
        self.commits += 1
        self.batches += sum([write.batches for write in writes])
        self.seconds += took
        self.longest = max(self.longest, took)
        self._told.tell(self._told.committed, writes[-1].last)

    def _fail(self, error: Broken, orders: Sequence[Order]) -> None:
        """Leave out what comes until the loop knows; then try to open the file again."""
        self.failures += 1
        self._trim = 0
        self._told.tell(self._told.lost, error)
        room = sum([len(order.blob) for order in orders if type(order) is Write])
        last: int | None = None
        due = 0.0  # when the next try is, whatever else comes until then
        while not self._over:
            pause = None if last is None else max(0.0, due - time.monotonic())
            try:
                order = self.orders.get(timeout=pause)
            except Empty:
                assert last is not None
                try:
                    self._journal.reopen(last, room)
                except Broken:
                    due = time.monotonic() + self._retry
                    continue
                self._told.tell(self._told.recovered)
                return
            if type(order) is Retry:
                last = order.last
                due = time.monotonic() + self._retry
            self._over = type(order) is Close
