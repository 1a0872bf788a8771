"""A thousand subscriptions of one connection cost an event what one does."""

import pytest

from broker.codec import JSON
from broker.event import Event
from broker.lane import Positions
from broker.replay import Subscription
from broker.wishes import Wishes
from plugins.open import OpenOptions, OpenPlugin

from .fakes import FakePublisher, Reader, namespace, publish, say

MANY = 1000


@pytest.fixture
def compared(monkeypatch):
    """How often a subscription was compared with an event."""
    count = [0]
    matches = Subscription.matches

    def counted(self, event):
        count[0] += 1
        return matches(self, event)

    monkeypatch.setattr(Subscription, "matches", counted)
    return count


def behind(reader, events=1):
    """The reader subscribes to many keys, stalls, and has something to get of each."""
    for n in range(MANY):
        reader.subscribe("workflow.a", f"k{n}")
    reader.wire.writable = False
    large = "x" * 1000
    for n in range(MANY):
        say(
            reader.source,
            FakePublisher(),
            *[publish("workflow.a", large, key=f"k{n}") for _ in range(events)],
        )
    assert not reader.queue.live


@pytest.mark.parametrize("latest", [False, True])
def test_many_subscriptions_are_given_back(compared, latest):
    options = OpenOptions(slow_reader="latest" if latest else "disconnect")
    reader = Reader(namespace(OpenPlugin("workflow", options)))
    behind(reader, events=2)
    for n in range(MANY):
        reader.unsubscribe("workflow.a", f"k{n}")
    assert compared[0] <= 4 * MANY
    reader.drain()
    assert reader.wire.messages == []


def test_catching_up_with_many_subscriptions(compared):
    reader = Reader()
    behind(reader)
    compared[0] = 0
    reader.drain()
    assert len(reader.wire.messages) == MANY
    assert compared[0] <= 2 * MANY


def test_what_was_left_out_before_a_subscription_is_not_counted():
    """`dropped` counts what this subscription has missed, not what another one did."""
    options = OpenOptions(slow_reader="latest")
    reader = Reader(namespace(OpenPlugin("workflow", options)))
    reader.subscribe("workflow.a", "k")
    reader.subscribe("workflow.b", "k")
    reader.wire.writable = False
    publisher = FakePublisher()
    big = "x" * 70_000
    say(reader.source, publisher, publish("workflow.b", big, key="k"))
    say(reader.source, publisher, *[publish("workflow.a", n, key="k") for n in range(5)])
    reader.unsubscribe("workflow.a", "k")
    reader.subscribe("workflow.a", "k")
    say(reader.source, publisher, *[publish("workflow.a", n, key="k") for n in range(5, 8)])
    reader.drain()
    told = [m for m in reader.wire.messages if m["topic"] == "workflow.a"]
    assert [(m["op"], m.get("count", m.get("body"))) for m in told] == [
        ("dropped", 2),
        ("event", 7),
    ]


def test_only_who_refuses_merging_has_to_keep_up():
    """A quiet stream that wants each event alone does not end a busy one that does not."""
    reader = Reader()
    reader.subscribe("workflow.a", "quiet", coalesce=False)
    reader.subscribe("workflow.a", "loud")
    reader.wire.writable = False
    large = ["x" * 3000 + str(n) for n in range(400)]
    publisher = FakePublisher()
    say(reader.source, publisher, *[publish("workflow.a", body, key="loud") for body in large])
    say(reader.source, publisher, publish("workflow.a", "hush", key="quiet"))
    reader.drain()
    assert [m["op"] for m in reader.wire.messages] == ["event"] * 401
    assert [m["body"] for m in reader.wire.messages if m["key"] == "loud"] == large


def test_merging_stops_at_an_event_that_is_wanted_alone():
    wishes = Wishes()
    wishes.add(Subscription(1, "t.>", "k", []), 0)
    wishes.add(Subscription(2, "t.alone", "k", [], coalesce=False), 0)
    topics = ["t.a", "t.a", "t.alone", "t.alone", "t.a", "t.a", "t.a"]
    events = [Event.of(topic, "k", n, 0) for n, topic in enumerate(topics)]
    for position, event in enumerate(events, 1):
        event.position = position

    class Source:
        """Merges whatever it is given."""

        may_read = True

        def read(self, key, after, limit):
            return events[after:]

        def merge(self, run):
            assert all(event.topic == "t.a" for event in run)
            return run[-1:]

        def encode(self, events, codec):
            return b",".join(bytes(event.raw) for event in events)

    lane = Positions(Source(), JSON, wishes)
    lane.note(events)
    assert [piece.data for piece in lane.take(1000)] == [b"1", b"2", b"3", b"6"]
    assert not lane
