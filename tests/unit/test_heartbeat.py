"""Liveness with a timer of our own: when pings go out, and who is taken for dead."""

import pytest

from broker.transports.heartbeat import VISITS, Heartbeat, Pulse

from .timer import Timer


class Connection:
    """Writes down what it is told to do, and when."""

    def __init__(self, timer, answers=False):
        self.timer = timer
        self.answers = answers
        self.heard = self.spoke = True
        self.reading = True
        self.pulse = Pulse()
        self.pings, self.messages, self.deaths = [], [], []

    def ping_frame(self):
        self.pings.append(self.timer.now)
        self.heard = self.heard or self.answers

    def ping_message(self):
        self.messages.append(self.timer.now)
        self.spoke = True

    def dead(self):
        self.deaths.append(self.timer.now)


@pytest.fixture
def timer():
    return Timer()


@pytest.fixture
def heart(timer):
    it = Heartbeat(10.0, timer.call_later)
    it.start()
    return it


def test_silence_of_two_heartbeats_is_death(timer, heart):
    """Not before two heartbeats, and not after three."""
    connection = Connection(timer)
    heart.add(connection)
    timer.advance(35)
    assert 20 <= connection.deaths[0] <= 30


def test_who_answers_pings_lives(timer, heart):
    """A ping each heartbeat is enough to stay."""
    connection = Connection(timer, answers=True)
    heart.add(connection)
    timer.advance(1000)
    assert connection.deaths == []
    assert 95 <= len(connection.pings) <= 101


def test_any_sign_of_life_counts(timer, heart):
    """Whatever comes, once in two heartbeats, keeps a connection."""
    connection = Connection(timer)
    heart.add(connection)
    for _ in range(50):
        timer.advance(19)
        connection.heard = True
    assert connection.deaths == []


def test_the_clock_stops_while_it_is_not_read_from(timer, heart):
    """Silence of a connection that the broker does not read says nothing."""
    connection = Connection(timer)
    heart.add(connection)
    connection.reading = False
    timer.advance(500)
    assert connection.deaths == []
    connection.reading = True
    timer.advance(15)
    assert connection.deaths == []
    timer.advance(20)
    assert connection.deaths


def test_op_ping_only_where_nothing_else_was_said(timer, heart):
    """A talkative broker sends no `op: ping`; a silent one sends one each heartbeat."""
    talking, silent = Connection(timer, answers=True), Connection(timer, answers=True)
    heart.add(talking)
    heart.add(silent)
    for _ in range(40):
        timer.advance(5)
        talking.spoke = True
    assert talking.messages == []
    assert 15 <= len(silent.messages) <= 20
    gaps = [b - a for a, b in zip(silent.messages, silent.messages[1:], strict=False)]
    assert max(gaps) <= 15


def test_who_is_gone_is_not_visited(timer, heart):
    """A connection that was taken out is left alone, also in the middle of a visit."""
    connections = [Connection(timer) for _ in range(5)]
    for connection in connections:
        heart.add(connection)
        connection.dead = lambda c=connection: (c.deaths.append(0), heart.discard(c))
    timer.advance(100)
    assert all(len(connection.deaths) == 1 for connection in connections)
    heart.discard(connections[0])


def test_visits_are_few():
    """What it costs to watch a connection is a few visits a heartbeat."""
    timer = Timer()
    heart = Heartbeat(10.0, timer.call_later)
    heart.start()
    assert timer.due[0][0] == pytest.approx(10 / VISITS)
