"""A connection's way out: who is waited for, and for how long."""

import asyncio

import pytest
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


async def test_nobody_waits_once_it_is_over(made):
    """A connection that is lost leaves no timer that wakes it."""
    one = made()
    while one.room > 0:
        one.send(bytes(1000))
    assert not one._patience.cancelled()
    one.lost()
    assert one._patience.cancelled()
    assert one.room == 0
