"""Fixtures for the client's tests: a stub broker, and time that does not pass by itself."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from .stub import Stub, stubbed


class Time:
    """Sleeps that end when the test says so."""

    def __init__(self) -> None:
        self.sleeping: list[tuple[float, asyncio.Future[None]]] = []
        self._began = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        entry = (seconds, asyncio.get_running_loop().create_future())
        self.sleeping.append(entry)
        self._began.set()
        try:
            await entry[1]
        finally:
            self.sleeping.remove(entry)

    async def pass_by(self, seconds: float) -> None:
        """Wait until somebody sleeps for `seconds`, and wake them."""
        while True:
            for wanted, future in self.sleeping:
                if wanted == seconds and not future.done():
                    future.set_result(None)
                    return
            self._began.clear()
            await self._began.wait()


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    """A stub broker on a free port."""
    async with stubbed() as it:
        yield it


@pytest.fixture
async def time() -> Time:
    """A clock for the client; with `random` at 0 it reconnects without sleeping."""
    return Time()
