"""A cable that a test can pull: TCP from the page to the broker."""

import asyncio
from urllib.parse import urlsplit


class Link:
    """Listens on a port of its own and passes everything on, until it is cut.

    Attributes:
        url: what the page is opened with, instead of the broker's own address.
    """

    def __init__(self, target: str) -> None:
        self._host, self._port = urlsplit(target).hostname, urlsplit(target).port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._listening_on = 0
        self.url = ""

    async def restore(self) -> None:
        """Listen: the first time on any free port, then on the same one again."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self._listening_on)
        self._listening_on = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._listening_on}"

    async def cut(self) -> None:
        """Break every connection with a reset, and refuse new ones."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # cut
        finally:
            self._writers.discard(writer)
            writer.close()
