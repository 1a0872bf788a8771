"""A reader of server-sent events that is made of bytes: it sees each chunk, and may not read."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec

from .client import PATIENCE
from .rawsocket import RawSocket, dial


@dataclass
class Sse:
    """One event, as the specification reads it."""

    data: str
    event: str = "message"
    id: str | None = None

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.data)


def parse(text: str) -> list[Sse]:
    """The whole events of a stream, as the specification says, for LF alone."""
    events = []
    for block in text.split("\n\n")[:-1]:
        found: dict[str, Any] = {}
        data = []
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name:
                found[name] = value
        found.pop("retry", None)
        if data:
            events.append(Sse("\n".join(data), **found))
    return events


@dataclass
class Stream:
    """A streaming response.

    Attributes:
        status, headers: its head; names are in lower case.
        chunks: what came, as it was written.
        ended: the last chunk has come.
    """

    raw: RawSocket
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    ended: bool = False
    _buffer: bytes = b""
    _events: list[Sse] = field(default_factory=list)

    async def open(self) -> None:
        head, *lines = (await self.raw.read_head()).decode("latin-1").split("\r\n")
        self.status = int(head.split()[1])
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        assert len(self.headers) == len(lines), "a header stands there twice"

    async def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._buffer += await self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    async def _more(self) -> bytes:
        return await self.raw.some()

    async def chunk(self) -> bytes:
        """The next chunk; b"" at the end."""
        size = int(await self._line(), 16)
        while len(self._buffer) < size + 2:
            self._buffer += await self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        if not data:
            self.ended = True
        else:
            self.chunks.append(data)
            assert data.endswith(b"\n\n"), "an event is cut"
        return data

    async def next(self) -> Sse:
        """The next event, whatever it is called."""
        while not self._events:
            data = await self.chunk()
            assert data, "the stream has ended"
            self._events = parse(data.decode())
        return self._events.pop(0)

    async def get(self, name: str = "message") -> Sse:
        """The next event of this name; others are passed over."""
        while (event := await self.next()).event != name:
            pass
        return event

    async def bodies(self, count: int) -> list[Any]:
        """The bodies of the next `count` events of the broker's."""
        return [(await self.get()).json["body"] for _ in range(count)]

    async def rest(self) -> list[Sse]:
        """All that comes until the end."""
        rest, self._events = self._events, []
        while data := await self.chunk():
            rest += parse(data.decode())
        return rest


async def until(done: Callable[[], Any]) -> None:
    """Wait for something in the broker that tells nobody."""
    async with asyncio.timeout(PATIENCE):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0)


def query(**fields: Any) -> str:
    """A query string; lists are fields that stand there several times."""
    return urlencode(fields, doseq=True)


@asynccontextmanager
async def stream(
    address: str,
    path: str,
    *headers: str,
    method: str = "GET",
    body: bytes = b"",
    receive_buffer: int = 0,
) -> AsyncIterator[Stream]:
    """A request whose response's head has come."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    async with dial(address, receive_buffer=receive_buffer) as raw:
        await raw.send("\r\n".join([*lines, "", ""]).encode() + body)
        opened = Stream(raw)
        await opened.open()
        yield opened


@asynccontextmanager
async def events(
    site: Any, *headers: str, server: str = "", **fields: Any
) -> AsyncIterator[Stream]:
    """`GET /events`, which stands."""
    path = f"/events{server}?{query(**fields)}"
    async with stream(site.address, path, *headers) as opened:
        assert opened.status == 200
        yield opened
