"""The publishers: a connection for each session, and one for the bystander.

A process of its own: told its task on its standard input, it says `ready` when it is
connected, is told when to begin, and says what it did when it is through, or on SIGTERM.
"""

import asyncio
import contextlib
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench.slow import plan
from bench.slow.dialects import DIALECTS, Answer, Dialect, Opened, Trouble
from bench.slow.plan import Published, Task


class Publisher:
    """All of them."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._tokens = 0
        self._ticks = 0
        self._held = 0.0
        self._lags: list[float] = []
        self._problems: list[str] = []

    async def run(self) -> None:
        """Connect, say so, wait for the beginning, publish."""
        load = self._task.load
        async with contextlib.AsyncExitStack() as stack:
            _, chat, workflow = self._task.urls
            urls = [chat] * load.sessions + [workflow]
            lines = [await stack.enter_async_context(self._connected(url)) for url in urls]
            for number, line in enumerate(lines[:-1]):
                if line.dialect.turns:
                    await line.publish(
                        "agent.chat.turnStarted", plan.session(number), _turn(number)
                    )
            print("ready", flush=True)
            begin = float(await asyncio.to_thread(sys.stdin.readline))
            async with asyncio.TaskGroup() as group:
                for number, line in enumerate(lines[:-1]):
                    group.create_task(self._session(line, number, begin))
                group.create_task(self._bystander(lines[-1], begin))

    def published(self) -> Published:
        lags = sorted(self._lags)
        return Published(
            tokens=self._tokens,
            ticks=self._ticks,
            held=self._held,
            lag=lags[int(0.99 * (len(lags) - 1))] if lags else 0.0,
            problems=self._problems[:10],
        )

    @contextlib.asynccontextmanager
    async def _connected(self, url: str) -> "AsyncIterator[_Line]":
        task = self._task
        dialect = DIALECTS[task.dialect]()
        names = [Subprotocol(dialect.subprotocol)] if dialect.subprotocol else None
        tls = ssl.create_default_context(cafile=task.trust) if task.trust else None
        async with connect(
            url, ssl=tls, subprotocols=names, compression=None, ping_interval=None, proxy=None
        ) as socket:
            line = _Line(socket, dialect, self._problems)
            listening = asyncio.create_task(line.listen())
            try:
                async with asyncio.timeout(10):
                    await line.opened.wait()
                yield line
            finally:
                listening.cancel()

    async def _session(self, line: "_Line", number: int, begin: float) -> None:
        load = self._task.load
        try:
            for index in range(load.tokens):
                await self._until(begin + plan.due(load, number, index))
                body = plan.token(load, number, index)
                if not await line.publish(plan.TOPIC, plan.session(number), body):
                    return
                self._tokens += 1
        finally:
            self._held = max(self._held, time.monotonic() - begin - load.seconds)

    async def _bystander(self, line: "_Line", begin: float) -> None:
        load = self._task.load
        for index in range(load.all_ticks):
            due = begin + (index + 0.5) / load.ticks
            await self._until(due)
            if not await line.publish(plan.TICK, plan.TICKS, plan.tick(index, due)):
                return
            self._ticks += 1

    async def _until(self, due: float) -> None:
        """It is late by itself only if it had to wait for nobody else."""
        wait = due - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
            self._lags.append(time.monotonic() - due)


class _Line:
    """One connection."""

    def __init__(self, socket: ClientConnection, dialect: Dialect, problems: list[str]) -> None:
        self.dialect = dialect
        self.opened = asyncio.Event()
        self._socket = socket
        self._problems = problems
        if not dialect.waits:
            self.opened.set()

    async def publish(self, topic: str, key: str, body: dict[str, object]) -> bool:
        """Hand it over, as soon as it is taken; False: there is no connection any more."""
        try:
            await self._socket.send(self.dialect.publish(topic, key, body))
        except ConnectionClosed as error:
            self._problems.append(f"a publisher's connection ended: {error}")
            return False
        return True

    async def listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in self.dialect.greeting:
                await self._socket.send(message)
            async for message in self._socket:
                for said in self.dialect.receive(message):
                    if isinstance(said, Answer):
                        await self._socket.send(said.message)
                    elif isinstance(said, Opened):
                        self.opened.set()
                    elif isinstance(said, Trouble):
                        self._problems.append(said.text)


def _turn(number: int) -> dict[str, object]:
    return {"sessionId": plan.session(number), "turnId": "turn-1", "agentId": "agent-1"}


async def main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    publisher = Publisher(task)
    running = asyncio.ensure_future(publisher.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    sys.stdout.buffer.write(msgspec.json.encode(publisher.published()) + b"\n")


if __name__ == "__main__":
    asyncio.run(main())
