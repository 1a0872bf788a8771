"""A TCP proxy that cuts connections where it is told to: at a byte, or behind a message."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Any, Literal, Protocol

Way = Literal["up", "down"]
"""From the client to the broker, or from the broker to the client."""

WAYS: tuple[Way, Way] = ("up", "down")

BUFFER = 64 << 10
"""How much a socket of it receives before it is read: what is not, waits where it comes from."""


class Judge(Protocol):
    """Says how far one connection's bytes get."""

    def __call__(self, way: Way, data: bytes) -> int | None:
        """How many of these bytes still pass before the cut; None: all, and there is none."""


def never(way: Way, data: bytes) -> None:
    """The judge of a good cable."""


class AtByte:
    """Cuts once so many bytes have gone one way."""

    def __init__(self, way: Way, after: int) -> None:
        self._way = way
        self._left = after

    def __call__(self, way: Way, data: bytes) -> int | None:
        if way != self._way:
            return None
        self._left -= len(data)
        return None if self._left > 0 else len(data) + self._left


class Frames:
    """Finds the ends of WebSocket frames in one direction of a connection."""

    def __init__(self) -> None:
        self._rest = b""
        self._open = False  # the handshake is through
        self._skip = 0  # how much of a frame is still to come

    def ends(self, data: bytes) -> list[int]:
        """Behind which of these bytes a frame, or the handshake, ends."""
        ends: list[int] = []
        start = len(self._rest)
        whole = self._rest + data
        at = 0
        while at + self._skip < len(whole) or (self._skip and at + self._skip == len(whole)):
            if self._skip:
                at += self._skip
                self._skip = 0
                ends.append(at - start)
                continue
            size = self._measure(whole, at)
            if size is None:
                break
            self._skip = size
        if self._skip:
            self._skip -= len(whole) - at
            at = len(whole)
        self._rest = whole[at:]
        return ends

    def _measure(self, whole: bytes, at: int) -> int | None:
        """The size of what begins there, once it can be known."""
        if not self._open:
            end = whole.find(b"\r\n\r\n", at)
            self._open = end >= 0
            return end + 4 - at if end >= 0 else None
        if len(whole) < at + 2:
            return None
        length, mask = whole[at + 1] & 127, whole[at + 1] >> 7
        wide = {126: 2, 127: 8}.get(length, 0)
        if len(whole) < at + 2 + wide:
            return None
        body = int.from_bytes(whole[at + 2 : at + 2 + wide], "big") if wide else length
        return 2 + wide + 4 * mask + body


class AtFrame:
    """Cuts behind a frame of one way, or some bytes further, inside of the next one.

    Args:
        frames: how many frames pass, the handshake among them.
        more: how many bytes of the next one do; it is not cut before it comes.
    """

    def __init__(self, way: Way, frames: int, more: int = 0) -> None:
        self._way = way
        self._left = frames
        self._more = more
        self._frames = Frames()

    def __call__(self, way: Way, data: bytes) -> int | None:
        if way != self._way:
            return None
        if self._left <= 0:
            return self._inside(0, data)
        ends = self._frames.ends(data)
        self._left -= len(ends)
        if self._left > 0:
            return None
        end = ends[self._left - 1]
        return self._inside(end, data) if end < len(data) or not self._more else None

    def _inside(self, end: int, data: bytes) -> int | None:
        cut = end + self._more
        self._more -= len(data) - end
        return cut if cut <= len(data) else None


class Count:
    """Cuts nothing, and counts the frames of each way."""

    def __init__(self) -> None:
        self.frames = dict.fromkeys(WAYS, 0)
        self._parsers = {way: Frames() for way in WAYS}

    def __call__(self, way: Way, data: bytes) -> None:
        self.frames[way] += len(self._parsers[way].ends(data))


class Proxy:
    """Listens on a port of its own, and passes on what its judges let through.

    Args:
        port: of the broker, on this machine. May be changed: new connections go there.
        judge: makes the judge of each connection.
        rate: how many bytes a second each connection gives its client; 0: no bound.

    Attributes:
        cuts: how many connections have been cut.
        on_cut: called when one is.
    """

    def __init__(
        self, port: int, judge: Callable[[], Judge] = lambda: never, rate: int = 0
    ) -> None:
        self.target = port
        self.judge = judge
        self.rate = rate
        self.cuts = 0
        self.on_cut: Callable[[], None] = lambda: None
        self.port = 0
        self.passages: set[Passage] = set()

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    def cut_all(self) -> None:
        """Cut every connection, wherever it is."""
        for passage in list(self.passages):
            passage.cut()


class Passage:
    """One connection through a proxy: an end to the client, and one to the broker."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._judge = proxy.judge()
        self._ends = {way: End(self, way) for way in WAYS}
        self._connecting: asyncio.Task[None] | None = None
        self._early = b""  # what the client said before there was a way on
        proxy.passages.add(self)

    @property
    def client(self) -> "End":
        return self._ends["up"]

    def opened(self) -> None:
        """The client is here: on to the broker."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(
                lambda: self._ends["down"], "127.0.0.1", self._proxy.target
            )
        except OSError:
            self.client.transport.abort()
            self._proxy.passages.discard(self)
            return
        if self not in self._proxy.passages:
            self._ends["down"].transport.close()
        else:
            self.passes("up", self._early)

    def other(self, way: Way) -> "End":
        return self._ends["down" if way == "up" else "up"]

    def passes(self, way: Way, data: bytes) -> None:
        """Bytes of one way: on with them, as far as they may go."""
        if self not in self._proxy.passages:
            return
        far = self.other(way)
        if far.transport is None:
            self._early += data
            return
        allowed = self._judge(way, data)
        far.transport.write(data if allowed is None else data[:allowed])
        if allowed is not None:
            self.cut()
        elif way == "down" and self._proxy.rate:
            self._rest(len(data) / self._proxy.rate)

    def _rest(self, seconds: float) -> None:
        """Read no more of what the broker says, for a while."""
        broker = self._ends["down"].transport
        broker.pause_reading()
        asyncio.get_running_loop().call_later(seconds, self._read_on, broker)

    def _read_on(self, broker: asyncio.Transport) -> None:
        if self in self._proxy.passages:
            broker.resume_reading()

    def cut(self) -> None:
        """Cut it: what has passed arrives, and nothing after it."""
        if self not in self._proxy.passages:
            return
        self._proxy.passages.discard(self)
        self._proxy.cuts += 1
        for end in self._ends.values():
            if end.transport is not None:
                end.transport.close()
        self._proxy.on_cut()

    def ended(self, way: Way) -> None:
        """One end is gone, so the other goes too."""
        self._proxy.passages.discard(self)
        far = self.other(way)
        if far.transport is not None:
            far.transport.close()


class End(asyncio.Protocol):
    """One end of a passage; `way` is that of what it reads."""

    def __init__(self, passage: Passage, way: Way) -> None:
        self._passage = passage
        self._way: Way = way
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_RCVBUF, BUFFER)
        if self._way == "up":
            self._passage.opened()

    def data_received(self, data: bytes) -> None:
        self._passage.passes(self._way, data)

    def pause_writing(self) -> None:
        self._passage.other(self._way).transport.pause_reading()

    def resume_writing(self) -> None:
        self._passage.other(self._way).transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._passage.ended(self._way)


@asynccontextmanager
async def proxied(
    port: int, judge: Callable[[], Judge] = lambda: never, rate: int = 0
) -> AsyncIterator[Proxy]:
    """A proxy to the broker at that port; see `Proxy`."""
    proxy = Proxy(port, judge, rate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Passage(proxy).client, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut_all()
        await server.wait_closed()
