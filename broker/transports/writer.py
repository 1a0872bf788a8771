"""From messages to bytes: a connection's way out.

A common message is framed here, in one write with the ping that is due behind it;
control frames, and messages that are deflated, are the library's.
"""

import asyncio
import struct
from collections.abc import Callable

from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from broker.transports.flow import Flow
from broker.transports.frames import BINARY, TEXT
from broker.transports.unsent import hold_little

_HEAD_16 = struct.Struct("!BBH")
_HEAD_64 = struct.Struct("!BBQ")
_PING = bytes((0x89, 8))

PATIENCE = 2.0
"""How long a peer may take for its first pong, before it is taken for one that sends
none, in seconds."""

REASON_BYTES = 123
"""How long the reason in a close frame may be."""


class FrameWriter:
    """Writes one connection's frames, and counts what is under way.

    Args:
        transport: the socket.
        protocol: the library's side of the connection.
        now: seconds since some moment.
        may_write: called when there is room again.

    Attributes:
        bytes: how many were written.
        open: messages may be sent.
        paused: the socket takes no more.
        spoke: something was sent since whoever asks took it back.
    """

    __slots__ = (
        "_deflates", "_first", "_flow", "_may_write", "_now", "_patience", "_protocol",
        "_transport",
        "bytes", "open", "paused", "spoke",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: ServerProtocol,
        now: Callable[[], float],
        may_write: Callable[[], None],
    ) -> None:
        self.bytes = 0
        self._first = TEXT
        self.open = False
        self.paused = False
        self.spoke = True
        self._transport = transport
        self._protocol = protocol
        self._now = now
        self._may_write = may_write
        self._flow = Flow()
        self._patience: asyncio.TimerHandle | None = None
        self._deflates = False

    def begin(self, *, binary: bool) -> int:
        """The handshake is done: messages may be sent. Returns how their frames begin."""
        self.open = True
        self._first = BINARY if binary else TEXT
        self._deflates = bool(self._protocol.extensions)
        return self._first

    @property
    def room(self) -> int:
        """How many bytes may be written now; 0 or less: none."""
        return 0 if self.paused else self._flow.limit - self.bytes

    def send(self, payload: bytes) -> None:
        """One message."""
        if not self.open or self._transport.is_closing():
            return
        self.spoke = True
        if self._deflates:
            self._send_deflated(payload)
            return
        size = len(payload)
        if size < 126:
            data = bytes((self._first, size)) + payload
        elif size < 65_536:
            data = _HEAD_16.pack(self._first, 126, size) + payload
        else:
            data = _HEAD_64.pack(self._first, 127, size) + payload
        self.bytes += len(data)
        if self.bytes >= self._flow.ping_at:
            data += _PING + self._ask()
        self._transport.write(data)

    def _send_deflated(self, payload: bytes) -> None:
        if self._first == TEXT:
            self._protocol.send_text(payload)
        else:
            self._protocol.send_binary(payload)
        self.flush()
        if self.bytes >= self._flow.ping_at:
            self.ping()

    def ping(self) -> None:
        """A control ping: a sign of life is asked for, and what has arrived."""
        self._protocol.send_ping(self._ask())
        self.flush()

    def _ask(self) -> bytes:
        """The payload of a ping; and how long its answer may take, if it is the first."""
        if not self._flow.answered and self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(PATIENCE, self._wait_no_more)
        return self._flow.ping(self.bytes, self._now())

    def ponged(self, payload: bytes) -> None:
        """A pong came."""
        blocked = self.room <= 0
        self._flow.pong(payload, self.bytes, self._now())
        if self._flow.limit <= self.bytes and not self._flow.asking and self.open:
            self.ping()  # the bound has shrunk below what is under way: nothing else would ask
        if blocked:
            self._may_write()

    def _wait_no_more(self) -> None:
        if not self._flow.answered:
            self.lift()
            self._may_write()

    def lift(self) -> None:
        """Let the socket alone say how much is under way: little of it waits to be sent."""
        hold_little(self._transport)
        self._flow.lift()

    def lost(self) -> None:
        """The connection is gone."""
        self.open = False
        self.paused = True
        if self._patience is not None:
            self._patience.cancel()

    def close(self, code: int, reason: str) -> None:
        """Say why, and send no more messages."""
        self.open = False
        self._protocol.send_close(code, _fitting(reason))
        self.flush()

    def flush(self) -> None:
        """Write what the library has to say."""
        self.open = self.open and self._protocol.state is OPEN
        for chunk in self._protocol.data_to_send():
            if self._transport.is_closing():
                return  # it broke, and we are about to be told
            if chunk:
                self.bytes += len(chunk)
                self._transport.write(chunk)
            elif self._transport.can_write_eof():
                # What the peer still sends is read and left aside: closing now could
                # reset the connection before the peer has seen why.
                self._transport.write_eof()
            else:
                self._transport.close()


def _fitting(reason: str) -> str:
    """A reason, cut short where a close frame cannot hold it."""
    data = reason.encode()
    if len(data) <= REASON_BYTES:
        return reason
    return data[: REASON_BYTES - len("…".encode())].decode(errors="ignore") + "…"
