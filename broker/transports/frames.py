"""From bytes to WebSocket messages: quickly for the common frame.

The rules are the Sans-I/O `ServerProtocol` of the `websockets` library. Nearly
every frame is alike, though: masked, final, complete in the buffer, of the
connection's own type. That one is unmasked here, between messages of an open
connection; every other frame, and all that breaks a rule, is handed to the library
whole, which thus always stands between two frames.
(docs/decisions/0004-frames.md)
"""

from collections import deque
from collections.abc import Hashable
from typing import Protocol

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiler was there when websockets was installed
    from websockets.utils import apply_mask

MOST_FRAMES = 1024
"""How many frames of one connection are taken at once; one that takes the long way
counts as `LONG_WAY`. What is left waits for the connection's next turn."""

LONG_WAY = 16

TEXT, BINARY = 0x81, 0x82
"""The first byte of a final frame."""


class Receiver(Protocol):
    """The connection that a `FrameReader` reads for."""

    def request(self, request: Request) -> None:
        """The upgrade request came."""

    def message(self, payload: bytes) -> None:
        """A whole message of the connection's own type came."""

    def wrong_type(self) -> None:
        """A text message came where binary ones are due, or the other way round."""

    def pinged(self) -> None:
        """A control ping came; the library has its answer ready."""

    def ponged(self, payload: bytes) -> None:
        """A control pong came."""

    def may_take(self, size: int) -> bool:
        """Whether `size` bytes that came in parts may be looked at now; if not, it is held."""

    def had_enough(self) -> None:
        """So many frames were taken at once that others should have their turn."""

    def handled(self) -> None:
        """The library has looked at a frame: it may have something to say."""


class FrameReader:
    """Cuts a connection's bytes into frames.

    Args:
        protocol: the library's side of the connection.
        limit: how long a message may be, in bytes.
        held: while this is not empty, nothing is taken out of what came.
        receiver: gets what comes out.

    Attributes:
        first: the first byte of a final frame of the connection's own type.
        plain: an open connection between two messages: the quick way is right. Whoever
            closes the connection takes it back.
    """

    __slots__ = (
        "_fragments", "_held", "_limit", "_need", "_protocol", "_receiver", "_tail",
        "_whole", "first", "plain",
    )  # fmt: skip

    def __init__(
        self, protocol: ServerProtocol, limit: int, held: set[Hashable], receiver: Receiver
    ) -> None:
        self.first = TEXT
        self.plain = False
        self._protocol = protocol
        self._limit = limit
        self._held = held
        self._receiver = receiver
        self._fragments: bytearray | None = None  # of a message that is not complete
        self._whole: deque[bytes] = deque()  # messages of several frames that have to wait
        self._tail = bytearray()  # what came of a frame that is not complete, or not taken yet
        self._need = 0  # how long the tail has to be before looking at it is worth while

    def feed(self, data: bytearray, size: int) -> None:
        """Take the first `size` bytes of `data`, which is the caller's again afterwards."""
        if not self._tail:
            self._consume(data, size)
        else:
            self._tail += memoryview(data)[:size]
            self.go_on()

    def go_on(self) -> None:
        """Take out what came earlier and had to wait."""
        while self._whole and not self._held:
            if self._receiver.may_take(len(self._whole[0])):
                self._receiver.message(self._whole.popleft())
        tail = self._tail
        if tail and len(tail) >= self._need:
            if not self._held and not self._receiver.may_take(len(tail)):
                return
            self._tail = bytearray()
            self._consume(tail, len(tail))

    def _consume(self, data: bytearray, size: int) -> None:
        """Take every complete frame out of `data`; keep the rest for later."""
        position = 0
        taken = 0
        self._need = 0
        while size - position >= 2 and not self._held:
            length = data[position + 1]
            start = position + 6
            if length < 0x80:  # not masked, which is not allowed: the library knows what to say
                break
            if length == 0xFE:
                start += 2
                if start > size:
                    break
                length = (data[position + 2] << 8) | data[position + 3]
            elif length == 0xFF:
                start += 8
                if start > size:
                    break
                length = int.from_bytes(data[position + 2 : position + 10], "big")
            else:
                length &= 0x7F
            stop = start + length
            if length > self._limit:
                break
            if stop > size:
                self._need = stop - position
                break
            if self.plain and data[position] == self.first:
                self._receiver.message(apply_mask(data[start:stop], data[start - 4 : start]))
                taken += 1
            else:
                self.ask(data[position:stop])
                taken += LONG_WAY
            position = stop
            if taken >= MOST_FRAMES:
                taken = 0
                self._receiver.had_enough()
        if position < size:
            self._keep(data[position:size])

    def _keep(self, rest: bytearray) -> None:
        """Put bytes aside; but what breaks a rule, or comes too late, is told at once."""
        broken = len(rest) > 1 and not self._held and (rest[1] < 0x80 or self._too_long(rest))
        if broken or self._protocol.state is not OPEN:
            self.ask(rest)
        else:
            self._tail = rest + self._tail

    def _too_long(self, rest: bytearray) -> bool:
        size = {0xFE: 4, 0xFF: 10}.get(rest[1], 2)
        return len(rest) >= size > 2 and int.from_bytes(rest[2:size], "big") > self._limit

    def ask(self, data: bytes | bytearray) -> None:
        """The long way: let the library say what these bytes are."""
        protocol = self._protocol
        protocol.receive_data(bytes(data))
        for event in protocol.events_received():
            if isinstance(event, Request):
                self._receiver.request(event)
            elif isinstance(event, Frame):
                self._frame(event)
        self._receiver.handled()
        self.plain = protocol.state is OPEN and self._fragments is None

    def _frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if self._protocol.state is not OPEN:
            return  # it came behind what ended the connection
        if opcode is Opcode.PING:
            self._receiver.pinged()
        elif opcode is Opcode.PONG:
            self._receiver.ponged(bytes(frame.data))
        elif opcode is Opcode.TEXT or opcode is Opcode.BINARY or opcode is Opcode.CONT:
            if opcode is not Opcode.CONT and opcode != self.first & 0x0F:
                self._receiver.wrong_type()
                return
            if self._fragments is None:
                self._fragments = bytearray()
            self._fragments += frame.data
            if frame.fin:
                whole, self._fragments = bytes(self._fragments), None
                if self._whole or not self._receiver.may_take(len(whole)):
                    self._whole.append(whole)
                else:
                    self._receiver.message(whole)
