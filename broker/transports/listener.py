"""The one port: its socket, and uvicorn behind it."""

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn

from broker.errors import ConfigError


class HttpServer(uvicorn.Server):
    """uvicorn, started and stopped by the broker: without signal handlers and polling."""

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()

    async def main_loop(self) -> None:
        self.exit = asyncio.Event()
        while not self.exit.is_set():
            await self.on_tick(0)  # the date in the headers of answers
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.exit.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on `host`, an address or a name.

    Raises:
        ConfigError: the address is not to be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not an address"
        raise ConfigError("listen", f"{host}:{port} is not to be had: {why}") from None
    bound.setblocking(False)
    return bound
