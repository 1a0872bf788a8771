"""WebSocket frames for the generator: as cheap as Python allows.

A client's frames are masked with the key 0, which is legal and leaves the
payload as it is; so a frame is a header, found by length, before the payload.
"""

from collections.abc import Iterator

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
NO_MASK = bytes(4)


class FrameError(Exception):
    """The peer sent what a client must refuse."""


def header(opcode: int, length: int) -> bytes:
    """The header of a client's final frame, masked with the key 0."""
    first = 0x80 | opcode
    if length < 126:
        return bytes((first, 0x80 | length)) + NO_MASK
    if length < 65_536:
        return bytes((first, 0xFE)) + length.to_bytes(2, "big") + NO_MASK
    return bytes((first, 0xFF)) + length.to_bytes(8, "big") + NO_MASK


class Headers:
    """`header` of one opcode, looked up for the lengths that tokens have."""

    def __init__(self, opcode: int, known: int = 1024) -> None:
        self._opcode = opcode
        self.ready = [header(opcode, length) for length in range(known)]

    def frame(self, payload: bytes) -> bytes:
        length = len(payload)
        if length < len(self.ready):
            return self.ready[length] + payload
        return header(self._opcode, length) + payload


class Reader:
    """Bytes of one connection → messages, whichever way the reads split them."""

    __slots__ = ("_fragments", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._fragments: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(opcode, payload) of each message that `data` completes; control frames too."""
        if self.rest:
            data = self.rest + data
        start, end = 0, len(data)
        while (size := _extent(data, start, end)) is not None:
            first, at, stop = size
            payload = data[at:stop]
            start = stop
            opcode = first & 0x0F
            if opcode >= CLOSE:
                yield opcode, payload
            elif not first & 0x80:
                self._fragments.append(payload)
            elif self._fragments:
                whole = b"".join([*self._fragments, payload])
                self._fragments.clear()
                yield TEXT, whole
            else:
                yield opcode, payload
        self.rest = data[start:]


def _extent(data: bytes, start: int, end: int) -> tuple[int, int, int] | None:
    """The first byte of the frame at `start`, and where its payload begins and ends."""
    if end - start < 2:
        return None
    first, length, at = data[start], data[start + 1], start + 2
    if length > 127 or first & 0x70:
        raise FrameError("a server's frame is masked or uses an extension")
    if length > 125:
        width = 2 if length == 126 else 8
        if end - at < width:
            return None
        length = int.from_bytes(data[at : at + width], "big")
        at += width
    return (first, at, at + length) if at + length <= end else None
