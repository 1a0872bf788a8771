"""The generator's honesty check: about the least that can stand in for a broker.

It reads the generator's own bytes, which it knows, and writes one frame per
token; it is faster than the generator, so what is measured is the generator.
Run it as a module, with a port.
"""

import base64
import hashlib
import select
import socket
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NAME = b'"sessionId":"'
BODY = b'"body":'
EVENT = b'{"op":"event","topic":"agent.chat.token","body":'


class Sink:
    """Every connection by its descriptor, and subscribers by session."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.epoll = select.epoll()
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        self.connections: dict[int, tuple[socket.socket, bytearray]] = {}
        self.subscribers: dict[bytes, socket.socket] = {}

    def run(self) -> None:
        while True:
            for fd, _ in self.epoll.poll():
                if fd == self.listener.fileno():
                    self.accept()
                    continue
                connection, rest = self.connections[fd]
                data = connection.recv(65_536)
                if not data:
                    self.epoll.unregister(fd)
                    del self.connections[fd]
                    connection.close()
                elif rest or not self.frame(connection, data):
                    rest += data
                    self.frames(connection, rest)

    def accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv(4096)
            if not data:  # no client, only a look whether somebody listens
                connection.close()
                return
            request += data
        key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: edgestream.v1.json\r\nSec-WebSocket-Accept: " + accept
            + b"\r\n\r\n"
        )  # fmt: skip
        self.connections[connection.fileno()] = (connection, bytearray())
        self.epoll.register(connection.fileno(), select.EPOLLIN)

    def frame(self, connection: socket.socket, data: bytes) -> bool:
        """Handle `data` if it is exactly one frame."""
        length, at = data[1] & 0x7F, 6
        if length == 126:
            length, at = data[2] << 8 | data[3], 8
        if length == 127 or len(data) != at + length:
            return False
        self.message(connection, data[at:])
        return True

    def frames(self, connection: socket.socket, rest: bytearray) -> None:
        """Handle the complete frames at the start of `rest`."""
        while len(rest) >= 8:
            length, at = rest[1] & 0x7F, 6
            if length == 126:
                length, at = rest[2] << 8 | rest[3], 8
            elif length == 127:
                length, at = int.from_bytes(rest[2:10], "big"), 14
            if len(rest) < at + length:
                return
            message = bytes(rest[at : at + length])
            del rest[: at + length]
            self.message(connection, message)

    def message(self, connection: socket.socket, message: bytes) -> None:
        if message[:1] == b"[":
            for item in message[1:-1].split(b',{"op":'):
                self.token(item)
        elif message.startswith(b'{"op":"publish","topic":"agent.chat.token"'):
            self.token(message)
        elif message.startswith(b'{"op":"subscribe"'):
            self.subscribers[_between(message, b'"key":"', b'"')] = connection
            connection.sendall(_frame(b'{"op":"subscribed","id":1}'))
        else:
            id = _between(message, b'"id":', b",")
            connection.sendall(_frame(b'{"op":"ack","id":' + id + b"}"))

    def token(self, publish: bytes) -> None:
        session = _between(publish, NAME, b'"')
        body = publish[publish.find(BODY) + len(BODY) :]
        self.subscribers[session].sendall(_frame(EVENT + body))


def _between(data: bytes, start: bytes, end: bytes) -> bytes:
    at = data.find(start) + len(start)
    return data[at : data.find(end, at)]


def _frame(payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    return b"\x81\x7e" + length.to_bytes(2, "big") + payload


if __name__ == "__main__":
    Sink(int(sys.argv[1])).run()
