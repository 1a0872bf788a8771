"""A connection's way out: who is waited for, and for how long."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from broker.transports import writer
from broker.transports.flow import START
from broker.transports.writer import FrameWriter


class Sink:
    """A transport that takes everything."""

    def __init__(self):
        self.data = bytearray()

    def write(self, data):
        self.data += data

    def is_closing(self):
        return False

    def set_write_buffer_limits(self, high, low):
        """It holds nothing."""

    def get_extra_info(self, name):
        return None


@pytest.fixture
def may_write():
    return asyncio.Event()


@pytest.fixture
def made(may_write, monkeypatch):
    """Makes a writer whose peer answers no pings; its patience is short."""
    monkeypatch.setattr(writer, "PATIENCE", 0.02)
    made = []

    def make(*extensions):
        protocol = ServerProtocol()
        protocol.state = OPEN
        protocol.extensions = list(extensions)
        made.append(FrameWriter(Sink(), protocol, lambda: 0.0, may_write.set))
        made[-1].begin(binary=True)
        return made[-1]

    yield make
    for one in made:
        one.lost()


async def lifted(one, may_write):
    async with asyncio.timeout(8):
        await may_write.wait()
    assert one.room > 1 << 30


async def test_who_answers_no_pings_is_not_waited_for(made, may_write):
    """After `PATIENCE`, the socket alone says how much is under way."""
    one = made()
    while one.room > 0:
        one.send(bytes(1000))
    assert one.bytes < START + 2000
    await lifted(one, may_write)


@pytest.mark.parametrize("reason", ["x" * 124, "🙂" * 31, "é" * 500])
async def test_a_long_reason_is_cut(made, reason):
    """A close frame holds 125 bytes; what it cannot hold is left out, and that shows."""
    one = made()
    one.close(4004, reason)
    head, length, *_ = one._transport.data
    told = one._transport.data[4 : 2 + length].decode()
    assert (head, length <= 125) == (0x88, True)
    assert told == reason[: len(told) - 1] + "…"
    assert length > 120


async def test_nobody_waits_once_it_is_over(made):
    """A connection that is lost leaves no timer that wakes it."""
    one = made()
    while one.room > 0:
        one.send(bytes(1000))
    assert not one._patience.cancelled()
    one.lost()
    assert one._patience.cancelled()
    assert one.room == 0


async def test_what_is_deflated_is_not_waited_for_either(made, may_write):
    """A peer that takes compression and answers no pings."""
    one = made(PerMessageDeflate(False, False, 15, 15))
    salt = 0
    while one.room > 0:
        salt += 1
        one.send(b"".join((salt * 1000 + n).to_bytes(8, "big")[::-1] * 3 for n in range(300)))
    await lifted(one, may_write)


async def test_nor_is_who_gets_little_at_a_time(made, may_write):
    """Pings of the heartbeat count: a peer that answers none of them is waited for as long."""
    one = made()
    while one.room > 0:
        one.send(bytes(8000))
        one.ping()
    await lifted(one, may_write)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=40), st.integers(100, 60_000))
def test_who_answers_every_ping_is_never_stuck(delays, size):
    """However long each answer takes, and however much the bound shrinks by it: while there
    is no room, a ping is under way, whose answer makes some."""
    now = 0.0
    protocol = ServerProtocol()
    protocol.state = OPEN
    one = FrameWriter(Sink(), protocol, lambda: now, lambda: None)
    one._patience = object()  # none is needed: this peer answers
    one.begin(binary=True)
    for delay in delays * 3:
        while one.room > 0:
            one.send(bytes(size))
        pings = take_pings(one._transport)
        assert pings, "no room, and nothing that would make some"
        for payload in pings:
            now += delay
            one.ponged(payload)


def take_pings(sink):
    """The payloads of the pings that were written, each of which is the last of its write."""
    data, sink.data = bytes(sink.data), bytearray()
    payloads = []
    while data:
        length, at = data[1], 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        if data[0] == 0x89:
            payloads.append(data[at : at + length])
        data = data[at + length :]
    return payloads
