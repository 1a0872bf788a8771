"""Turns of the loop: fair between connections and namespaces, and held at the marks."""

from contextlib import suppress

import msgspec
import pytest

from broker.codec import JSON
from broker.lane import READ_EVENTS
from broker.scheduler import SLICE
from broker.session import AT_ONCE
from plugins.open import OpenOptions, OpenPlugin

from .fakes import (
    CountingEngine,
    FakeClock,
    FakePublisher,
    LateEngine,
    Reader,
    namespace,
    publish,
    say,
)
from .loops import scheduled, session_on


def test_connections_take_turns():
    """One that floods does not delay another by more than a share of its own."""
    target = namespace()
    flood, quiet = FakePublisher("flood"), FakePublisher("quiet")
    order = []
    reader = Reader(target)
    reader.subscribe("workflow.a", None)
    for n in range(1000):
        target.enqueue(flood.ingress, publish("workflow.a", n))
    target.enqueue(quiet.ingress, publish("workflow.a", "quiet", 1))
    target.run(float("inf"))
    order = [event["body"] for event in reader.told()]
    assert order.index("quiet") < 100
    assert quiet.acked == 1
    assert len(order) == 1001


def test_order_within_a_connection_is_kept():
    """However turns are taken, what one connection says is handled in its order."""
    target = namespace()
    publishers = [FakePublisher(f"p{n}") for n in range(5)]
    reader = Reader(target)
    reader.subscribe("workflow.a", None)
    for n in range(200):
        for index, publisher in enumerate(publishers):
            if n % (index + 1) == 0:
                target.enqueue(publisher.ingress, publish("workflow.a", [index, n]))
    target.run(float("inf"))
    got = [event["body"] for event in reader.told()]
    for index in range(len(publishers)):
        said = [n for n in range(200) if n % (index + 1) == 0]
        assert [n for whose, n in got if whose == index] == said


def test_namespaces_take_turns():
    """A backlog of one is no delay to another: both are served in the same turn."""
    scheduler, loop = scheduled("loud", "quiet")
    loud, quiet = scheduler.namespaces
    publisher, other = FakePublisher(), FakePublisher("c2")
    for n in range(5000):
        loud.enqueue(publisher.ingress, publish("loud.a", n))
    quiet.enqueue(other.ingress, publish("quiet.a", 1, 1))
    loop.turn()
    assert other.acked == 1
    assert 0 < loud.accepted < 5000
    loop.run()
    assert loud.accepted == 5000


def test_a_slice_is_kept():
    """A namespace stops soon after its share, and goes on in the next turn."""
    clock = FakeClock()
    scheduler, loop = scheduled("loud", clock=clock)
    publisher = FakePublisher()
    for n in range(5000):
        scheduler.namespaces[0].enqueue(publisher.ingress, publish("loud.a", n))
    before = clock.now
    loop.turn()
    assert clock.now - before < 0.05
    assert loop.soon


def test_nothing_to_do_costs_nothing():
    """Without work there is no turn."""
    scheduler, loop = scheduled("loud")
    assert loop.soon == []
    publisher = FakePublisher()
    scheduler.namespaces[0].enqueue(publisher.ingress, publish("loud.a", 1, 1))
    assert loop.run() < 5
    assert publisher.acked == 1
    assert loop.soon == []


def test_a_full_queue_holds_its_publishers_and_lets_them_go():
    """Over the mark nobody is read from; below half of it, one after the other is."""
    scheduler, loop = scheduled("loud", queue={"messages": 10})
    target = scheduler.namespaces[0]
    publishers = [FakePublisher(f"p{n}") for n in range(4)]
    for publisher in publishers:
        for n in range(20):
            target.enqueue(publisher.ingress, publish("loud.a", n))
    assert [p.holds for p in publishers] == [1, 1, 1, 1]
    loop.run()
    assert [p.holds for p in publishers] == [0, 0, 0, 0]
    assert target.accepted == 80
    assert target.intake.messages == target.intake.bytes == 0


def test_who_says_little_is_not_held_for_one_who_floods():
    """A full namespace holds those who filled it; all, once it is twice as full."""
    scheduler, loop = scheduled("loud", queue={"messages": 100})
    target = scheduler.namespaces[0]
    flood, polite = FakePublisher("flood"), FakePublisher("polite")
    for n in range(150):
        target.enqueue(flood.ingress, publish("loud.a", n))
    target.enqueue(polite.ingress, publish("loud.a", "polite"))
    assert (flood.holds, polite.holds) == (1, 0)
    for n in range(100):
        target.enqueue(flood.ingress, publish("loud.a", n))
    target.enqueue(polite.ingress, publish("loud.a", "polite"))
    assert (flood.holds, polite.holds) == (1, 1)
    loop.run()
    assert (flood.holds, polite.holds) == (0, 0)


def test_bytes_hold_too():
    """A few large bodies fill a queue as well as many small ones."""
    scheduler, loop = scheduled("loud", queue={"bytes": 1000})
    publisher = FakePublisher()
    scheduler.namespaces[0].enqueue(publisher.ingress, publish("loud.a", "x" * 999))
    assert publisher.holds == 1
    loop.run()
    assert publisher.holds == 0


def test_one_held_twice_is_held_once():
    """However much a connection adds to a full queue, it is held once, and let go once."""
    scheduler, loop = scheduled("loud", queue={"messages": 1})
    publisher = FakePublisher()
    for n in range(50):
        scheduler.namespaces[0].enqueue(publisher.ingress, publish("loud.a", n))
    assert publisher.holds == 1
    loop.run()
    assert publisher.holds == 0


def test_those_that_bring_too_much_wait_their_turn():
    """A turn has room for so many bytes; who would have brought more is read again in order."""
    scheduler, loop = scheduled("loud")
    scheduler.read_room -= 10 << 20
    resumed = []
    for n in range(10):
        scheduler.next_turn(lambda n=n: resumed.append(n))
    loop.turn()
    assert 0 < len(resumed) < 10
    assert scheduler.read_room > 0
    loop.run()
    assert resumed == list(range(10))


def test_those_that_are_read_again_have_a_slice_together():
    """What each of them brings takes time: once it is a slice, the rest wait for the next turn."""
    clock = FakeClock()
    scheduler, loop = scheduled("loud", clock=clock)
    turns = []

    def resumed():
        turns[-1] += 1
        clock.now += 2 * SLICE

    for _ in range(5):
        scheduler.next_turn(resumed)
    while loop.soon:
        turns.append(0)
        loop.turn()
    assert turns == [1, 1, 1, 1, 1]


def test_the_quiet_namespace_runs_and_leaves_first():
    """In one turn, what a busy namespace has to do delays nothing of the others."""
    scheduler, loop = scheduled("busy", "quiet")
    order = []
    for target in scheduler.namespaces:
        target.plugin.validate = lambda head, event: order.append(event.topic)
    busy, quiet = scheduler.namespaces
    publisher, other = FakePublisher(), FakePublisher("c2")
    for n in range(10):
        busy.enqueue(publisher.ingress, publish("busy.a", n))
    quiet.enqueue(other.ingress, publish("quiet.a", 1))
    loop.turn()
    assert order[0] == "quiet.a"


def test_a_turn_that_fails_is_not_the_last():
    """A fault in one namespace's turn leaves the others, and the turns to come."""
    scheduler, loop = scheduled("broken", "good")
    broken, good = scheduler.namespaces

    class Failing(LateEngine):
        def append(self, batch):
            raise ZeroDivisionError

    broken.engine = Failing()
    publisher, other = FakePublisher(), FakePublisher("c2")
    broken.enqueue(publisher.ingress, publish("broken.a", 1, 1))
    with suppress(ZeroDivisionError):  # the loop logs it
        loop.run()
    good.enqueue(other.ingress, publish("good.a", 1, 1))
    loop.run()
    assert other.acked == 1


@pytest.mark.parametrize("count", [1, 31, 32, 33, 255, 256, 257, 1000])
def test_acks_name_the_last_id(count):
    """Whatever the batches, the last ack is for the last id."""
    target, publisher = namespace(), FakePublisher()
    say(target, publisher, *[publish("workflow.a", n, n) for n in range(1, count + 1)])
    assert publisher.acked == count


def test_a_connection_that_fills_two_namespaces_waits_for_both():
    """It is not read from until each of them has room again."""
    scheduler, loop = scheduled("one", "two", queue={"messages": 4})
    one, two = scheduler.namespaces
    for plugin in (one.plugin, two.plugin):
        plugin.clock = FakeClock()
    session, wire = session_on(scheduler, one, two)
    for name in ("one", "two"):
        batch = [{"op": "publish", "topic": f"{name}.a", "body": n} for n in range(10)]
        session.receive(JSON.encode_any(batch))
    assert wire.held
    one.run(float("inf"))
    one.intake.release_some()
    assert wire.held, "the second namespace is still full"
    loop.run()
    assert not wire.held


def test_one_huge_message_gives_others_their_turn():
    """Operations over a bound are put off: another connection's come between, order holds."""
    scheduler, loop = scheduled("loud")
    session, wire = session_on(scheduler, *scheduler.namespaces)
    other, _ = session_on(scheduler, *scheduler.namespaces)
    order = []
    scheduler.namespaces[0].plugin.validate = lambda head, event: order.append(
        (event.sender.connection, bytes(event.raw))
    )
    count = 3 * AT_ONCE + 7
    ops = [{"op": "publish", "topic": "loud.a", "body": n} for n in range(count)]
    session.receive(msgspec.json.encode(ops))
    assert wire.held
    other.receive(b'{"op":"publish","topic":"loud.a","body":"other"}')
    loop.run()
    assert not wire.held
    mine = [raw for name, raw in order if name == session.name]
    assert mine == [b"%d" % n for n in range(count)]
    assert order.index((other.name, b'"other"')) < 2 * AT_ONCE


def test_what_is_malformed_counts_for_more():
    """To say what is wrong with an object takes its time: fewer of them are answered at once."""
    scheduler, loop = scheduled("loud")
    session, wire = session_on(scheduler, *scheduler.namespaces)
    session.receive(msgspec.json.encode([1] * 90))
    assert wire.held
    assert session.received < 90
    loop.run()
    assert not wire.held
    assert session.received == 90


def test_who_is_gone_in_the_middle_of_a_huge_message_leaves_nothing():
    """All of what came whole is published; then nothing of the connection is left."""
    scheduler, loop = scheduled("loud")
    [loud] = scheduler.namespaces
    session, _ = session_on(scheduler, loud)
    ops = [{"op": "publish", "topic": "loud.a", "body": n} for n in range(3 * AT_ONCE)]
    ops.insert(-1, {"op": "subscribe", "id": 1, "topic": "loud.>"})
    session.receive(msgspec.json.encode(ops))
    session.lost()
    loop.run()
    assert loud.accepted == 3 * AT_ONCE
    assert not list(loud.fanout.subscriptions.readers("loud.a", ""))
    assert not session._shared.live


def test_a_recovery_storm_leaves_the_loop_to_others():
    """However many readers catch up at once, a turn reads a bounded part of it, and an event of
    another namespace goes out in the turn in which it came. In the end each has everything."""
    scheduler, loop = scheduled("quiet")
    engine = CountingEngine()
    chat = namespace(OpenPlugin("chat", OpenOptions()), engine)
    chat.intake._wake = scheduler.wake
    scheduler.namespaces.append(chat)
    quiet = scheduler.namespaces[0]
    publisher = FakePublisher()
    for n in range(5000):
        chat.enqueue(publisher.ingress, publish("chat.a", n, key="k"))
    loop.run()
    readers = [session_on(scheduler, chat) for _ in range(50)]
    for session, _ in readers:
        session.receive(b'{"op":"subscribe","id":1,"topic":"chat.>","replay":"history"}')
    bystander, wire = session_on(scheduler, quiet)
    bystander.receive(b'{"op":"subscribe","id":1,"topic":"quiet.>"}')
    for turn in range(20):
        before = engine.read_again
        quiet.enqueue(publisher.ingress, publish("quiet.a", turn))
        loop.turn()
        assert wire.messages[-1]["body"] == turn
        assert engine.read_again - before <= 2 * READ_EVENTS
    loop.run()
    for _, wire in readers:
        assert [m["body"] for m in wire.messages if m["op"] == "event"] == list(range(5000))
