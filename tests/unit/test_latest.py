"""Where only the latest counts: what a reader that is behind gets, and what it is told of."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from plugins.open import OpenOptions, OpenPlugin

from .fakes import FakePublisher, Reader, Timers, namespace, publish, say

TOPICS = ["workflow.a", "workflow.b"]
KEYS = ["k", "l"]
FULL = "x" * 70_000


def latest(**changes):
    plugin = OpenPlugin("workflow", OpenOptions(slow_reader="latest"))
    return namespace(plugin, **changes)


def tell(reader, *bodies, topic="workflow.a", key="k"):
    say(reader.source, FakePublisher(), *[publish(topic, body, key=key) for body in bodies])


def stalled(pattern="workflow.a"):
    """A reader that is behind already, by one large event on `workflow.full`."""
    reader = Reader(latest())
    reader.subscribe("workflow.full", None)
    reader.subscribe(pattern, None)
    reader.wire.writable = False
    tell(reader, FULL, topic="workflow.full")
    assert not reader.queue.live
    return reader


def brief(messages):
    told = [m for m in messages if m["op"] in ("event", "dropped")]
    return [m["count"] if m["op"] == "dropped" else m["body"] for m in told]


class Model(RuleBasedStateMachine):
    """One subscription, now and then behind: each event is either told or counted."""

    def __init__(self):
        super().__init__()
        self.timers = Timers()
        self.reader = Reader(latest(timers=self.timers))
        self.reader.subscribe("workflow.*", None)
        self.publisher = FakePublisher()
        self.published = {(topic, key): [] for topic in TOPICS for key in KEYS}
        self.told = dict.fromkeys(self.published, 0)
        self.announced = {}
        self.behind = False
        self.last = dict.fromkeys(KEYS, 0)
        self.number = 0

    @rule(
        batch=st.lists(st.tuples(st.sampled_from(TOPICS), st.sampled_from(KEYS)), max_size=8),
        size=st.sampled_from([1, 5000, 30_000]),
    )
    def publish(self, batch, size):
        messages = []
        for name in batch:
            self.number += 1
            self.published[name].append(self.number)
            messages.append(publish(name[0], [self.number, "x" * size], key=name[1]))
        say(self.reader.source, self.publisher, *messages)
        self.behind = self.behind or not self.reader.queue.live

    @rule(rollup=st.sampled_from([0, 20]))
    def replace(self, rollup):
        if self.reader.queue.live and not self.reader.queue.waiting:
            self.reader.subscribe("workflow.*", None, rollup=rollup)

    @rule()
    def stall(self):
        self.reader.wire.writable = False

    @rule(ms=st.sampled_from([10, 100]))
    def wait(self, ms):
        self.timers.pass_(ms / 1000)
        self.behind = self.behind or not self.reader.queue.live

    @rule()
    def flush(self):
        if self.reader.touched:
            self.reader.flush()

    @rule()
    def drain(self):
        self.timers.pass_(1)
        self.behind = self.behind or not self.reader.queue.live
        self.reader.drain()
        self.read()
        for name, numbers in self.published.items():
            assert self.told[name] == len(numbers), "told and counted is not all"
        self.behind = False

    @invariant()
    def read(self):
        for message in self.reader.wire.messages:
            name = message["topic"], message["key"]
            if message["op"] == "dropped":
                assert self.behind, "it kept up"
                assert message["count"] > 0
                self.announced[name] = message["count"]
                continue
            number = message["body"][0]
            self.told[name] += self.announced.pop(name, 0) + 1
            assert self.published[name][self.told[name] - 1] == number, "a wrong count before it"
            assert number > self.last[name[1]], "out of order in its stream"
            self.last[name[1]] = number
        assert not self.announced, "what was left out is told with what was not"
        self.reader.wire.sent.clear()


Model.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestLatest = Model.TestCase


def test_the_order_is_that_of_the_last_ones():
    """Of each topic and key the last event and the number of the others, oldest first."""
    reader = stalled("workflow.*")
    for n in range(3):
        tell(reader, f"a{n}")
        tell(reader, f"b{n}", topic="workflow.b")
    tell(reader, "a3")
    assert brief(reader.told()) == [FULL, 2, "b2", 3, "a3"]
    tell(reader, "a4", "a5")
    assert brief(reader.told()) == ["a4", "a5"]


def test_what_comes_together_is_counted_once():
    """A reader falls behind for good in the middle of what is stored together: what it is
    told of the rest was found when the positions that it held became the latest."""
    reader = Reader(latest(timers=Timers()))
    reader.subscribe("workflow.a", None, rollup=20)
    reader.wire.writable = False
    for _ in range(2):
        tell(reader, *["x" * 30_000] * 6)
    assert not reader.queue.live
    told = [n if isinstance(n, int) else 1 for n in brief(reader.told())]
    assert sum(told) == 12


def test_what_was_given_back_is_not_counted():
    """Nothing of a subscription that was given back follows, in a count neither."""
    reader = stalled()
    tell(reader, 1, 2, 3)
    reader.unsubscribe("workflow.a", None)
    tell(reader, 4, 5)
    reader.subscribe("workflow.a", None)
    tell(reader, 6, 7)
    assert brief(reader.told()) == [FULL, 1, 7]


@pytest.mark.parametrize("pattern", ["workflow.a", "workflow.*"])
def test_who_refuses_merging_while_it_is_behind(pattern):
    """From `coalesce: never` on it gets each event, or is closed; none is left out."""
    reader = stalled()
    tell(reader, 1, 2, 3)
    reader.subscribe(pattern, None, coalesce=False)
    tell(reader, 4, 5, 6)
    told = brief(reader.told())
    assert reader.wire.closed == [4108] or told[-3:] == [4, 5, 6]


def test_a_replay_is_no_reason_to_disconnect():
    """In the middle of a large snapshot, and then behind by much: not closed."""
    reader = Reader(latest(history={"events": 10}))
    for n in range(100):
        tell(reader, "x" * 2000, topic=f"workflow.t{n}")
    reader.subscribe("workflow.>", None, replay=True)
    reader.flush()
    reader.wire.writable = False
    for n in range(200):
        tell(reader, n)
    told = brief(reader.told())
    assert not reader.wire.closed
    assert told[-1] == 199


def test_an_unsubscribe_is_no_reason_to_disconnect():
    """Behind by a little, giving one subscription back, and then by much: not closed."""
    reader = Reader(latest(history={"events": 10}))
    reader.subscribe("workflow.a", None)
    reader.subscribe("workflow.b", None)
    reader.wire.writable = False
    tell(reader, 1)
    reader.unsubscribe("workflow.b", None)
    for n in range(200):
        tell(reader, n)
    told = brief(reader.told())
    assert not reader.wire.closed
    assert told[-1] == 199
