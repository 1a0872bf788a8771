"""A link of the test's own making: a TCP proxy that passes bytes on when it is told to."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LinkClock:
    """A broker's time, which passes as its bytes do."""

    def __init__(self) -> None:
        self.now = 1000.0

    def unix_ms(self) -> int:
        return int(self.now * 1000)

    def seconds(self) -> float:
        return self.now


class Throttle:
    """One connection's way through. What the client says passes at once.

    Attributes:
        passed: how many bytes the client was given.
    """

    def __init__(self, broker: socket.socket, client: socket.socket) -> None:
        self.passed = 0
        self._broker = broker
        self._client = client
        self._loop = asyncio.get_running_loop()

    async def tick(self, size: int) -> int:
        """Pass up to `size` bytes on to the client. Returns how many there were."""
        try:
            data = self._broker.recv(size)
        except BlockingIOError:
            return 0
        await self._loop.sock_sendall(self._client, data)
        self.passed += len(data)
        return len(data)

    async def answers(self) -> None:
        """Pass on what the client says, for as long as it does."""
        while data := await self._loop.sock_recv(self._client, 1 << 16):
            await self._loop.sock_sendall(self._broker, data)


@asynccontextmanager
async def throttled(address: str) -> AsyncIterator[tuple[str, "asyncio.Future[Throttle]"]]:
    """A port that leads to `address`: its own address, and the one connection through it."""
    loop = asyncio.get_running_loop()
    host, _, port = address.rpartition(":")
    with socket.create_server((host, 0)) as listening, socket.socket() as broker:
        listening.setblocking(False)
        broker.setblocking(False)
        made: asyncio.Future[Throttle] = loop.create_future()

        async def serve() -> None:
            client, _ = await loop.sock_accept(listening)
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(broker, (host, int(port)))
                link = Throttle(broker, client)
                made.set_result(link)
                await link.answers()

        serving = asyncio.create_task(serve())
        try:
            yield f"{host}:{listening.getsockname()[1]}", made
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
