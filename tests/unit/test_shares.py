"""Shares of the loop: who has how much of a turn, counted by a clock that the work moves."""

from collections import Counter

import msgspec
import pytest
import structlog

from broker.codec import JSON
from broker.namespace import QUANTUM
from broker.outbox import TURN_BYTES
from broker.queue import Queue
from broker.replay import Subscription
from broker.scheduler import LARGE, OVERRUN, READ_ROOM, SLICE

from .fakes import FakeClock, FakePublisher, Reader, namespace, publish, say
from .loops import Slow, scheduled, session_on

TEXT = "x" * 200_000


class Dear(Slow):
    """Takes time for each byte: 0.4 ms for one of `TEXT`."""

    def validate(self, head, event):
        self.clock.now += len(event.raw) * 2e-9


def test_large_bodies_do_not_share_a_quantum():
    """After each large body the clock is asked: a slice exceeds its share by one, not by many."""
    scheduler, loop = scheduled("loud", kind=Dear, queue={"messages": 100, "bytes": 100 << 20})
    target = scheduler.namespaces[0]
    publisher = FakePublisher()
    for n in range(40):
        target.enqueue(publisher.ingress, publish("loud.a", TEXT + str(n), n + 1))
    handled = []
    while loop.soon:
        before = target.accepted
        loop.turn()
        handled.append(target.accepted - before)
    assert max(handled) <= 4, "a share of 0.5 ms, two of them in a turn, and 0.4 ms each"
    assert publisher.acked == 40


def test_small_ones_among_large_ones_keep_their_order():
    """What a turn leaves behind is still in front of what came later."""
    scheduler, loop = scheduled("loud", kind=Dear, queue={"messages": 100, "bytes": 100 << 20})
    target = scheduler.namespaces[0]
    reader = Reader(target)
    reader.subscribe("loud.a", None)
    publisher = FakePublisher()
    for n in range(60):
        target.enqueue(publisher.ingress, publish("loud.a", [n, TEXT if n % 7 == 3 else ""]))
    loop.run()
    assert [event["body"][0] for event in reader.told()] == list(range(60))
    assert (target.intake.messages, target.intake.bytes) == (0, 0)


def test_large_messages_that_are_complete_wait_for_one_another():
    """However many are completed at once, one is decoded in a turn, each in its row; those that
    bring less do not wait behind them."""
    scheduler, loop = scheduled("quiet")
    turn, taken = 0, []

    def arrives(name, size):
        if scheduler.takes(size):
            taken.append((turn, name))
        else:
            scheduler.next_turn(lambda: arrives(name, size), size)

    for n in range(60):
        arrives(n, 1 << 20)
    while loop.soon:
        turn += 1
        if turn == 5:
            arrives("less", 10_000)
        loop.turn()
    assert taken.pop(5) == (5, "less")
    assert taken == [(n, n) for n in range(60)]


def test_messages_in_parts_share_the_room_to_read():
    """Smaller ones that came in parts count again, and none waits for ever."""
    scheduler, loop = scheduled("quiet")
    taken = [0]

    def arrives(size):
        if scheduler.takes(size):
            taken[-1] += size
        else:
            scheduler.next_turn(lambda: arrives(size), size)

    for _ in range(50):
        arrives(LARGE)
    while loop.soon:
        taken.append(0)
        loop.turn()
    assert sum(taken) == 50 * LARGE
    assert max(taken) < READ_ROOM + LARGE
    assert len(taken) < 50


class Stuck(Slow):
    """One of its messages takes a second."""

    def validate(self, head, event):
        self.clock.now += 1.0 if event.body == "long" else 0.0


@pytest.fixture
def warnings():
    """What is logged, also where a broker was started before that logs errors alone."""
    before = structlog.get_config()
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as logs:
        yield logs
    structlog.configure(**before)


def test_a_slice_that_is_not_kept_is_counted_and_logged(warnings):
    """Of each that holds the loop too long; those who are quick are not blamed. The log has
    the 1st, 2nd, 4th and so on."""
    scheduler, loop = scheduled("loud", "quiet", kind=Stuck)
    loud, quiet = scheduler.namespaces
    publisher, other = FakePublisher(), FakePublisher("c2")
    for n in range(5):
        loud.enqueue(publisher.ingress, publish("loud.a", "long", n + 1))
        quiet.enqueue(other.ingress, publish("quiet.a", "short", n + 1))
        loop.run()
    assert (loud.overruns, quiet.overruns) == (5, 0)
    assert (publisher.acked, other.acked) == (5, 5)
    assert [(log["event"], log["namespace"], log["count"], log["ms"]) for log in warnings] == [
        ("slice overrun", "loud", count, 1000.0) for count in (1, 2, 4)
    ]


@pytest.mark.parametrize("over", [False, True])
def test_how_much_a_slice_may_be_exceeded(over):
    """The bound comes on top of the namespace's share, which is by its weight."""
    scheduler, loop = scheduled("loud", weight=3)
    [loud] = scheduler.namespaces
    loud.plugin.cost = 3 * SLICE + OVERRUN + (1e-6 if over else -1e-6)
    loud.enqueue(FakePublisher().ingress, publish("loud.a", 1))
    loop.run()
    assert loud.overruns == int(over)


def test_saturated_namespaces_share_by_weight():
    """Two that always have more to do than they may: three times the weight is three times
    the work."""
    clock = FakeClock()
    scheduler, loop = scheduled("light", clock=clock)
    heavy_scheduler, _ = scheduled("heavy", clock=clock, weight=3)
    light, [heavy] = scheduler.namespaces[0], heavy_scheduler.namespaces
    heavy.intake._wake = scheduler.wake
    scheduler.namespaces.append(heavy)
    for target in (light, heavy):
        target.plugin.cost = SLICE / 500  # many quanta in a slice
        publishers = [FakePublisher(f"c{n}") for n in range(5)]
        for n in range(20_000):
            target.enqueue(publishers[n % 5].ingress, publish(f"{target.name}.a", n))
    for _ in range(6):
        loop.turn()
    assert light.busy
    assert heavy.busy
    assert 2.5 < heavy.accepted / light.accepted < 3.5


def test_one_slow_connection_is_shared_by_weight():
    """What two namespaces have for one connection leaves in the ratio of their weights, and in
    the end everything has."""
    light = Reader(weight=1)
    other = namespace()
    heavy = Queue(light.outbox, JSON, other.retained, 3)
    heavy.add(Subscription(9, "workflow.heavy", None, [other]))
    other.fanout.subscriptions.add("workflow.heavy", None, heavy)
    light.subscribe("workflow.light", None)
    light.wire.writable = False
    publisher = FakePublisher()
    for target, topic in (light.source, "workflow.light"), (other, "workflow.heavy"):
        say(target, publisher, *[publish(topic, f"{n:400}") for n in range(100)])
    light.wire.writable, light.wire.width = True, 4 * TURN_BYTES
    light.flush()
    light.flush()
    sent = Counter(message["topic"] for message in light.wire.messages)
    assert 2.5 < sent["workflow.heavy"] / sent["workflow.light"] < 3.5
    light.drain()
    assert Counter(message["topic"] for message in light.wire.messages) == {
        "workflow.heavy": 100, "workflow.light": 100,
    }  # fmt: skip


def test_a_hundred_floods_beside_a_quiet_one():
    """Whoever says little waits once at most for one quantum of each, while all are new. Once the
    broker knows who floods, it is through in the turn in which it speaks, and never held."""
    scheduler, loop = scheduled("loud")
    [loud] = scheduler.namespaces
    loud.plugin.cost = SLICE / 100
    flooding = [session_on(scheduler, loud) for _ in range(100)]
    quiet, wire = session_on(scheduler, loud)
    batch = [{"op": "publish", "topic": "loud.a", "body": n} for n in range(300)]
    flood = msgspec.json.encode(batch)

    def turn():
        """Every flooding connection that is read from brings as much as it can."""
        for session, their_wire in flooding:
            if not their_wire.held:
                session.receive(flood)
        loop.turn()

    def turns(id):
        """How many it takes until what is said now is acknowledged."""
        quiet.receive(b'{"op":"publish","id":%d,"topic":"loud.a","body":0}' % id)
        for count in range(1, 1000):
            turn()
            if wire.messages[-1] == {"op": "ack", "id": id}:
                return count
        raise AssertionError("never acknowledged")

    assert turns(1) <= 100 * QUANTUM * loud.plugin.cost / SLICE + 2
    while loud.intake.messages > 2 * loud.settings.queue.messages:  # what all brought at once
        turn()
    for id in range(2, 102):
        assert not wire.held
        assert turns(id) == 1
    assert sum(their_wire.held != set() for _, their_wire in flooding) > 90
    loop.run()
    assert loud.accepted == sum(session.received for session, _ in flooding) + quiet.received
