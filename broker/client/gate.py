"""When the socket is read, and when it is left alone.

A subscription whose buffer is full shuts the gate: nothing more is read, the
broker notices, and holds back what is for this connection. But an answer that
somebody waits for comes through the same socket, and the one who waits may be
the very consumer that is slow. So the gate stays open while anybody waits for
an answer; the buffers then grow past their bound by what comes before it.
"""

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class Gate:
    """Lets the reader pass while no buffer is full, or while an answer is awaited."""

    def __init__(self) -> None:
        self.full: set[Hashable] = set()
        self._awaited = 0
        self._reader: asyncio.Future[None] | None = None

    @property
    def is_shut(self) -> bool:
        return bool(self.full) and not self._awaited

    def filled(self, buffer: Hashable) -> None:
        """`buffer` takes no more."""
        self.full.add(buffer)

    def drained(self, buffer: Hashable) -> None:
        """`buffer` has room again, or is gone."""
        self.full.discard(buffer)
        self._wake()

    @contextmanager
    def awaiting_answer(self) -> Iterator[None]:
        """Hold the gate open for the length of the block."""
        self._awaited += 1
        self._wake()
        try:
            yield
        finally:
            self._awaited -= 1

    async def passage(self) -> None:
        """Wait until the reader may go on."""
        while self.is_shut:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done() and not self.is_shut:
            self._reader.set_result(None)
