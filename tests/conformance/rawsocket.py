"""A WebSocket client made of bytes: it may send what no library would, or not read."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from .client import PATIENCE

TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """One frame as a client would send it, or as none should."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 65_536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    wide = mask * (size // 4 + 1)
    joined = int.from_bytes(payload, "big") ^ int.from_bytes(wide[:size], "big")
    return head + mask + joined.to_bytes(size, "big")


def text(*operations: Any) -> bytes:
    """A text frame of one operation, or of an array of several."""
    whole = operations[0] if len(operations) == 1 else list(operations)
    return frame(TEXT, msgspec.json.encode(whole))


class RawSocket:
    """A connection by its bytes. Close codes are read from the close frame; 1006 for none."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()  # of which much may come in little pieces
        self._pending: list[dict[str, Any]] = []
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._loop.sock_sendall(self.sock, data)

    def send_now(self, data: bytes) -> int:
        """As many bytes as the kernel takes at once: 0 when it takes none."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    async def _fill(self) -> None:
        async with asyncio.timeout(PATIENCE):
            data = await self._loop.sock_recv(self.sock, 1 << 20)
        if not data:
            raise EOFError
        self._buffer += data

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._fill()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def some(self) -> bytes:
        """What has come, or comes next."""
        if not self._buffer:
            await self._fill()
        return await self._exactly(len(self._buffer))

    async def read_head(self) -> bytes:
        """An HTTP response's head."""
        while b"\r\n\r\n" not in self._buffer:
            await self._fill()
        head = await self._exactly(self._buffer.index(b"\r\n\r\n"))
        await self._exactly(4)
        return head

    async def read_answer(self) -> tuple[int, dict[str, str], bytes]:
        """An HTTP response that has a length: its status, its headers, its body."""
        first, *lines = (await self.read_head()).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (ln.partition(": ") for ln in lines)}
        assert len(headers) == len(lines), "a header stands there twice"
        return int(first.split()[1]), headers, await self._exactly(int(headers["content-length"]))

    async def rest(self) -> bytes:
        """All that comes until the other side hangs up."""
        try:
            while True:
                await self._fill()
        except (EOFError, ConnectionResetError):
            return await self._exactly(len(self._buffer))

    async def read_frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        first, second = await self._exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self._exactly(2 if size == 126 else 8), "big")
        return first & 0x0F, await self._exactly(size)

    async def next(self) -> dict[str, Any]:
        """The next object of the text frames; control frames are passed over."""
        while not self._pending:
            opcode, payload = await self.read_frame()
            assert opcode != CLOSE, payload
            if opcode == TEXT:
                whole = msgspec.json.decode(payload)
                self._pending = whole if isinstance(whole, list) else [whole]
        return self._pending.pop(0)

    async def get(self, op: str, **fields: Any) -> dict[str, Any]:
        """The first message with this op and these fields; others are passed over."""
        while True:
            message = await self.next()
            if {"op": op, **fields}.items() <= message.items():
                return message

    async def close_code(self) -> int:
        """Read on until the broker closes, answer that, and hang up."""
        try:
            while True:
                opcode, payload = await self.read_frame()
                if opcode == CLOSE:
                    self.send_now(frame(CLOSE, payload))
                    self.sock.shutdown(socket.SHUT_WR)
                    return int.from_bytes(payload[:2], "big") if payload else 1005
        except (EOFError, ConnectionError):
            return 1006


@asynccontextmanager
async def dial(address: str, *, receive_buffer: int = 0) -> AsyncIterator[RawSocket]:
    """A TCP connection to ``host:port``."""
    host, _, port = address.rpartition(":")
    with socket.socket() as sock:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        yield RawSocket(sock)


def request(path: str = "/ws/chat", *lines: str) -> bytes:
    """An upgrade request; `lines` are more headers, or others of the same name."""
    key = base64.b64encode(os.urandom(16)).decode()
    usual = {
        "host": "Host: 127.0.0.1",
        "upgrade": "Upgrade: websocket",
        "connection": "Connection: Upgrade",
        "sec-websocket-key": f"Sec-WebSocket-Key: {key}",
        "sec-websocket-version": "Sec-WebSocket-Version: 13",
    }
    for line in lines:
        usual.pop(line.partition(":")[0].lower(), None)
    head = [f"GET {path} HTTP/1.1", *usual.values(), *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


@asynccontextmanager
async def shake_hands(
    address: str, path: str = "/ws/chat", *lines: str, receive_buffer: int = 0
) -> AsyncIterator[RawSocket]:
    """A WebSocket connection whose `welcome` has been read."""
    async with dial(address, receive_buffer=receive_buffer) as raw:
        await raw.send(request(path, *lines))
        assert (await raw.read_head()).startswith(b"HTTP/1.1 101 ")
        await raw.get("welcome")
        yield raw
