"""The generator's connections: plain non-blocking sockets, opened one after the other."""

import base64
import os
import socket

from bench.frames import NO_MASK, Reader


class Refused(Exception):
    """The system under test did not open a WebSocket."""


class Peer:
    """One WebSocket connection of the generator.

    Attributes:
        session: the session that it subscribes to; -1 for a publisher.
        pending: bytes that the socket did not take yet.
        last_id: the id of the last operation sent; ids grow by one.
        acked: the highest id that an ack named.
    """

    __slots__ = (
        "acked", "fd", "last_id", "mark", "name", "pending", "reader", "recv", "send",
        "session", "socket", "standing",
    )  # fmt: skip

    def __init__(self, connected: socket.socket, session: int = -1, name: str = "") -> None:
        self.socket = connected
        self.fd = connected.fileno()
        self.send = connected.send
        self.recv = connected.recv
        self.session = session
        self.name = name
        self.mark = b""
        self.reader = Reader()
        self.pending = bytearray()
        self.last_id = 0
        self.acked = 0
        self.standing = False

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def flush(self) -> bool:
        """Send what is pending; False where some still is."""
        try:
            taken = self.send(self.pending)
        except BlockingIOError:
            return False
        del self.pending[:taken]
        return not self.pending

    def close(self) -> None:
        self.socket.close()


def open_peer(
    host: str, port: int, path: str, subprotocol: str, *, session: int = -1, name: str = ""
) -> Peer:
    """Connect and shake hands.

    Raises:
        Refused: the answer is no upgrade to `subprotocol`.
        OSError: no connection.
    """
    connected = socket.create_connection((host, port), timeout=10)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    connected.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = connected.recv(4096)
        if not data:
            raise Refused(f"closed during the handshake: {answer[:200]!r}")
        answer += data
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0] or subprotocol.encode() not in head:
        raise Refused(f"no upgrade to {subprotocol}: {head[:200]!r}")
    connected.setblocking(False)
    peer = Peer(connected, session, name)
    peer.reader.rest = rest
    return peer


def control(opcode: int, payload: bytes) -> bytes:
    """A client's control frame."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + NO_MASK + payload
