"""The reader's end of a WebSocket: a blocking socket, which may be read slowly."""

import socket
import ssl
import time
from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

RECEIVE_BUFFER = 16 << 10
"""SO_RCVBUF of a reader that is slow by itself."""

READ_BYTES = 64 << 10
SLOW_READ_BYTES = 4 << 10
OPEN_TIMEOUT = 10.0


class Ended(Exception):
    """The connection is over; with why."""


class Peer:
    """One connection. Pings are answered.

    Args:
        url: where to.
        subprotocol: what is offered, if anything.
        trust: the certificate to trust, for wss.
        pace: how many bytes a second are read, with a small receive buffer; 0 is all.

    Attributes:
        bytes: how many came, without TLS.
    """

    def __init__(self, url: str, subprotocol: str, trust: str = "", pace: int = 0) -> None:
        uri = parse_uri(url)
        names = [Subprotocol(subprotocol)] if subprotocol else None
        self.bytes = 0
        self._pace = pace
        self._next = 0.0
        self._parts: list[bytes] = []
        self._opcode = Opcode.TEXT
        self._protocol = ClientProtocol(uri, subprotocols=names, max_size=None)
        self._socket = _connect(uri.host, uri.port, pace)
        if uri.secure:
            context = ssl.create_default_context(cafile=trust)
            self._socket = context.wrap_socket(self._socket, server_hostname=uri.host)
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        end = time.monotonic() + OPEN_TIMEOUT
        while self._protocol.state is not OPEN:
            if time.monotonic() > end:
                raise Ended("the handshake was not answered")
            self._read(1.0)
            if self._protocol.handshake_exc is not None:
                raise Ended(str(self._protocol.handshake_exc))

    def send(self, message: str | bytes) -> None:
        """One message.

        Raises:
            Ended: the connection is over.
        """
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._flush()

    def receive(self, timeout: float) -> Sequence[str | bytes]:
        """What came within `timeout`; there may be nothing.

        Raises:
            Ended: the connection is over.
        """
        self._read(timeout)
        messages = [
            message
            for event in self._protocol.events_received()
            if isinstance(event, Frame) and (message := self._message(event)) is not None
        ]
        if not messages and self._protocol.state is not OPEN:
            raise Ended(self._why())
        return messages

    def close(self) -> None:
        self._socket.close()

    def _message(self, frame: Frame) -> str | bytes | None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._opcode = frame.opcode
        elif frame.opcode is not Opcode.CONT:
            return None
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return None
        data = b"".join(self._parts)
        self._parts.clear()
        return data.decode() if self._opcode is Opcode.TEXT else data

    def _read(self, timeout: float) -> None:
        self._socket.settimeout(max(0.001, timeout))
        try:
            data = self._socket.recv(SLOW_READ_BYTES if self._pace else READ_BYTES)
        except TimeoutError:
            return
        except OSError as error:
            raise Ended(f"{self._why()}: {error}") from error
        self.bytes += len(data)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._flush()
        if self._pace:
            self._wait(len(data))

    def _wait(self, size: int) -> None:
        now = time.monotonic()
        self._next = max(now, self._next) + size / self._pace
        time.sleep(self._next - now)

    def _flush(self) -> None:
        self._socket.settimeout(OPEN_TIMEOUT)
        try:
            for data in self._protocol.data_to_send():
                if data:
                    self._socket.sendall(data)
        except OSError as error:
            raise Ended(f"{self._why()}: {error}") from error

    def _why(self) -> str:
        protocol = self._protocol
        if protocol.close_rcvd is not None:
            return f"closed: {protocol.close_rcvd}"
        return "ended without a close frame"


def _connect(host: str, port: int, pace: int) -> socket.socket:
    found = socket.socket()
    if pace:  # before it connects: the window is offered then
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    found.settimeout(OPEN_TIMEOUT)
    found.connect((host, port))
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found
