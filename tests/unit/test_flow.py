"""Bytes under way: on simulated links, and against pongs that nobody asked for."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.transports.flow import MOST, PINGS, START, Flow

from .fakes import FakeClock

MODEM = 512_000 / 8  # bytes a second
GIGABIT = 1e9 / 8
WELCOME = 300


@dataclass
class Link:
    """A flood from a broker to a peer that answers pings, through a proxy that buffers all.

    Args:
        rate: bytes a second.
        delay: how long a byte and its answer take together, in seconds, on an empty link.
        message: how long the flood's messages are, in bytes.

    Attributes:
        waits: how long each byte written had to wait in the proxy, in seconds.
    """

    rate: float
    delay: float
    message: int = 1000
    flow: Flow = field(default_factory=Flow)
    clock: FakeClock = field(default_factory=FakeClock)
    written: int = 0
    acknowledged: int = 0
    waits: list[float] = field(default_factory=list)
    _busy: float = 0.0
    _pongs: deque[tuple[float, bytes]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.write(WELCOME)

    def write(self, size: int) -> None:
        """One message into the proxy's buffer."""
        wait = max(0.0, self._busy - self.clock.now)
        self.waits.append(wait)
        self._busy = self.clock.now + wait + size / self.rate
        self.written += size
        if self.written >= self.flow.ping_at:
            payload = self.flow.ping(self.written, self.clock.now)
            answered = max(self._busy + self.delay, self._pongs[-1][0] if self._pongs else 0)
            self._pongs.append((answered, payload))

    def flood(self, seconds: float) -> float:
        """Write all that may be written for so long. Returns the link's use, from 0 to 1."""
        end, before = self.clock.now + seconds, self._arrived
        self.waits.clear()
        while True:
            while self.written < self.flow.limit:
                self.write(self.message)
            assert self._pongs, "nothing more is written, and no pong is going to change that"
            if self._pongs[0][0] > end:
                self.clock.now = end
                return (self._arrived - before) / (self.rate * seconds)
            self.clock.now, payload = self._pongs.popleft()
            self.acknowledged = int.from_bytes(payload, "big")
            self.flow.pong(payload, self.written, self.clock.now)

    @property
    def _arrived(self) -> float:
        return self.written - max(0.0, self._busy - self.clock.now) * self.rate

    @property
    def bound(self) -> int:
        """How many bytes may be under way, as far as the last pong told."""
        return self.flow.limit - self.acknowledged


@pytest.mark.parametrize("message", [100, 1000, 4000])
@pytest.mark.parametrize("delay", [0.002, 0.04, 0.15])
@pytest.mark.parametrize("rate", [MODEM, MODEM * 4, MODEM * 20])
def test_a_slow_link_has_short_queues_and_is_kept_busy(rate, delay, message):
    """On 512 kbit/s, say, nothing waits for half a second in a buffer, and none is idle."""
    link = Link(rate, delay, message)
    link.flood(15)  # it has to learn what the way is like
    assert link.flood(60) > 0.9
    assert max(link.waits) < 0.5


@pytest.mark.parametrize("delay", [0.0005, 0.01, 0.05])
def test_a_fast_link_is_not_limited(delay):
    """The bound grows until it is more than the link has under way at once."""
    link = Link(GIGABIT, delay, 16_000)
    link.flood(delay * 20)
    assert link.flood(1) > 0.95
    assert link.bound > START


def test_the_bound_has_a_bound():
    """Not even the fastest link may have more than `MOST` under way."""
    link = Link(GIGABIT * 100, 0.05, 64_000)
    link.flood(5)
    assert link.bound == MOST
    assert link.written - link.acknowledged <= MOST + link.message


@pytest.mark.parametrize("longer", [0.1, 0.17, 0.25, 0.4])
@pytest.mark.parametrize("rate", [MODEM, MODEM * 20])
def test_a_longer_way_is_not_taken_for_a_queue_for_ever(rate, longer):
    """After a change of route the link is used as well as before, once that is learnt."""
    link = Link(rate, 0.02)
    link.flood(20)
    link.delay = longer
    link.flood(60)
    assert link.flood(30) > 0.85


def test_a_shorter_way_is_no_excuse_for_a_queue():
    """What the bound has grown to on a long way is too much for a short one, and shrinks."""
    link = Link(MODEM * 20, 0.3)
    link.flood(20)
    link.delay = 0.02
    link.flood(40)
    assert link.flood(20) > 0.9
    assert max(link.waits) < 0.5


def test_a_peer_that_hardly_gets_anything_is_not_limited_later():
    """A quiet time, with its pings for life's sake alone, says nothing against the link."""
    link = Link(GIGABIT, 0.01, 16_000)
    for _ in range(20):
        link.clock.now += 20
        link.flow.pong(link.flow.ping(link.written, link.clock.now), link.written, 0.01)
    link.flood(1)
    assert link.flood(1) > 0.95


def told(flow):
    return flow.limit, flow.ping_at


@pytest.mark.parametrize(
    "payload",
    [b"", b"hello", bytes(7), bytes(9), (10**18).to_bytes(8, "big"), b"\xff" * 8, bytes(125)],
)
def test_a_pong_that_answers_nothing_changes_nothing(payload):
    """Unasked pongs, as RFC 6455 allows them, and lies about what has not been sent."""
    flow = Flow()
    flow.pong(flow.ping(20_000, 1.0), 20_000, 1.1)
    flow.ping(40_000, 2.0)
    before = told(flow)
    for _ in range(10):
        flow.pong(payload, 50_000, 2.5)
    assert told(flow) == before


def test_pongs_that_are_late_or_repeated_change_nothing():
    """Only progress counts: an answer to an older ping, or to the same again, is no news."""
    flow = Flow()
    first, second, third = (flow.ping(n * 10_000, n) for n in (1, 2, 3))
    flow.pong(second, 35_000, 3.1)
    before = told(flow)
    for old in (second, first, second, first):
        flow.pong(old, 35_000, 9.0)
        assert told(flow) == before
    flow.pong(third, 35_000, 3.2)
    assert flow.limit > before[0]


def test_a_pong_for_several_pings():
    """A peer may answer the last of some pings alone: that says that all of it is there."""
    flow = Flow()
    pings = [flow.ping(n * 1000, n / 10) for n in range(1, 20)]
    flow.pong(pings[-1], 20_000, 2.0)
    assert flow.limit >= 19_000 + START


def test_who_answers_no_ping_is_not_limited_and_who_answers_late_is_again():
    """`lift` stands until a pong shows that the peer answers after all."""
    flow = Flow()
    assert not flow.answered
    ping = flow.ping(20_000, 0.0)
    flow.lift()
    assert flow.limit > 1 << 40
    flow.pong(ping, 1 << 20, 3.0)
    assert flow.answered
    assert flow.limit <= 20_000 + MOST


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 300_000)),
            st.tuples(st.just("answer"), st.integers(0, 50)),
            st.tuples(st.just("lie"), st.integers(0, 2**64 - 1)),
            st.tuples(st.just("wait"), st.floats(0, 30)),
        ),
        max_size=80,
    )
)
def test_whatever_pongs_come_there_is_a_way_on(steps):
    """The counts stay in their order; and who has answered every ping may be written to."""
    flow, now, written, acknowledged, pings = Flow(), 0.0, 0, 0, []
    for what, how in steps:
        now += 0.01
        if what == "write" and written < flow.limit:
            written += how
            if written >= flow.ping_at:
                pings.append(flow.ping(written, now))
                assert flow.ping_at > written
        elif what == "answer" and pings:
            payload = pings[min(how, len(pings) - 1)]
            acknowledged = max(acknowledged, int.from_bytes(payload, "big"))
            flow.pong(payload, written, now)
        elif what == "lie":
            if how > written:
                before = told(flow)
                flow.pong(how.to_bytes(8, "big"), written, now)
                assert told(flow) == before
        elif what == "wait":
            now += how
        assert flow.limit > acknowledged
        assert flow.limit <= acknowledged + MOST
        assert flow.ping_at <= written + MOST // PINGS
    for payload in pings:
        flow.pong(payload, written, now)
    if written >= flow.ping_at:
        flow.pong(flow.ping(written, now), written, now)
    assert written < flow.limit, "all has arrived, and nothing more may be written"
