"""The frame reader: what it takes at once, and what it leaves for later."""

from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from broker.transports.frames import LONG_WAY, MOST_FRAMES, FrameReader

PONG = b"\x8a\x80\0\0\0\0"
TEXT = b"\x81\x82\0\0\0\0hi"
LONG = b"\x81\xe4\0\0\0\0" + b"h" * 100
PIECE = b"\x00\x80\0\0\0\0"


class FakeReceiver:
    """A connection that stops reading when it has had enough."""

    def __init__(self) -> None:
        self.held = set()
        self.messages = []
        self.enough = 0
        self.room = 1 << 20
        protocol = ServerProtocol(state=OPEN)
        self.frames = FrameReader(protocol, 1000, self.held, self)
        self.frames.plain = True

    def message(self, payload):
        self.messages.append(payload)

    def may_take(self, size):
        if size > self.room:
            self.held.add("budget")
        return size <= self.room

    def had_enough(self):
        self.enough += 1
        self.held.add("budget")

    def handled(self): ...

    def ponged(self, payload):
        pass

    def pinged(self): ...

    def feed(self, data):
        self.frames.feed(bytearray(data), len(data))

    def go_on(self):
        self.held.clear()
        self.frames.go_on()


def test_a_flood_of_small_messages_is_taken_in_turns():
    """So many at once, and the rest when the connection's turn comes again; none is lost."""
    receiver = FakeReceiver()
    receiver.feed(TEXT * (2 * MOST_FRAMES + 5))
    assert (len(receiver.messages), receiver.enough) == (MOST_FRAMES, 1)
    receiver.go_on()
    receiver.go_on()
    assert receiver.messages == [b"hi"] * (2 * MOST_FRAMES + 5)


def test_control_frames_count_for_more():
    """A flood of pongs, which the library looks at one by one, has its turn sooner."""
    receiver = FakeReceiver()
    receiver.feed(PONG * 10 * (MOST_FRAMES // LONG_WAY) + TEXT)
    assert receiver.enough == 1
    for _ in range(10):
        receiver.go_on()
    assert receiver.messages == [b"hi"]


def test_empty_fragments_are_nothing():
    """A message in pieces, most of them empty, is the message; the pieces are not kept."""
    receiver = FakeReceiver()
    receiver.feed(b"\x01\x81\0\0\0\0h" + PIECE * 50 + b"\x80\x81\0\0\0\0i" + TEXT)
    for _ in range(3):
        receiver.go_on()
    assert receiver.messages == [b"hi", b"hi"]


def test_what_came_in_parts_waits_to_be_looked_at():
    """A last byte that completes much has it decoded when there is room, in its order."""
    receiver = FakeReceiver()
    receiver.feed(LONG[:-1])
    receiver.room = 0
    receiver.feed(LONG[-1:] + TEXT)
    assert (receiver.messages, receiver.held) == ([], {"budget"})
    receiver.go_on()
    assert receiver.messages == []
    receiver.room = 1 << 20
    receiver.go_on()
    assert receiver.messages == [b"h" * 100, b"hi"]


def test_what_came_in_frames_waits_too():
    """Pieces that are whole frames are no way around it; what is behind them stays there."""
    receiver = FakeReceiver()
    receiver.feed(b"\x01\x81\0\0\0\0h")
    receiver.room = 0
    receiver.feed(b"\x80\x81\0\0\0\0i" + TEXT)
    receiver.feed(TEXT)
    assert (receiver.messages, receiver.held) == ([], {"budget"})
    receiver.go_on()
    assert receiver.messages == []
    receiver.room = 1 << 20
    receiver.go_on()
    assert receiver.messages == [b"hi"] * 3
