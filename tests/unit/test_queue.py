"""An outbox and its queues against a model: order, and nothing lost or repeated."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.codec import JSON
from broker.messages import Pong
from broker.queue import Queue
from broker.replay import Subscription
from broker.topics import matches

from .fakes import FakePublisher, Reader, Timers, namespace, publish, say

TOPICS = ["workflow.a", "workflow.b", "workflow.c.d"]
KEYS = ["k", "l"]
WISHES = [
    (pattern, key)
    for pattern in ("workflow.a", "workflow.*", "workflow.>")
    for key in (None, "k", "l")
]
ROLLUPS = [0, 20, 50]


class Model(RuleBasedStateMachine):
    """What each subscription has to get, by what was published while it stood.

    Events are numbers. `due` has to come live; `allowed` may (while a replay is due, an
    event may be in the replay instead); `over` must not, since nobody wants it any more.
    """

    def __init__(self):
        super().__init__()
        self.timers = Timers()
        self.reader = Reader(namespace(timers=self.timers))
        self.publisher = FakePublisher()
        self.keys = []  # of every event
        self.due = {}
        self.allowed = {}
        self.over = set()
        self.replaying = set()
        self.live = []
        self.seen = 0

    @rule(
        batch=st.lists(st.tuples(st.sampled_from(TOPICS), st.sampled_from(KEYS)), max_size=6),
        size=st.sampled_from([1, 9000]),
    )
    def publish(self, batch, size):
        messages = []
        for topic, key in batch:
            number = len(self.keys)
            self.keys.append(key)
            messages.append(publish(topic, {"n": number, "x": "y" * size}, key=key))
            for wish in self.reader.standing.values():
                if matches(wish.pattern, topic) and wish.key in (None, key):
                    self.allowed[wish.id].add(number)
                    if wish.id not in self.replaying:
                        self.due[wish.id].add(number)
        say(self.reader.source, self.publisher, *messages)

    @rule(wish=st.sampled_from(WISHES), rollup=st.sampled_from(ROLLUPS))
    def subscribe(self, wish, rollup):
        older = self.reader.standing.get(wish)
        new = self.reader.subscribe(*wish, rollup=rollup)
        self.due[new.id], self.allowed[new.id] = set(), set()
        if older is not None:
            self.replaying.discard(older.id)
            self.due[new.id] = self.due.pop(older.id)
            self.allowed[new.id] = self.allowed.pop(older.id)

    @rule(wish=st.sampled_from(WISHES), rollup=st.sampled_from(ROLLUPS))
    def subscribe_with_replay(self, wish, rollup):
        if wish not in self.reader.standing:
            new = self.reader.subscribe(*wish, replay=True, rollup=rollup)
            self.due[new.id], self.allowed[new.id] = set(), set()
            self.replaying.add(new.id)

    @rule(data=st.data())
    def unsubscribe(self, data):
        if self.reader.standing:
            wish = data.draw(st.sampled_from(sorted(self.reader.standing, key=repr)))
            id = self.reader.standing[wish].id
            self.reader.unsubscribe(*wish)
            self.replaying.discard(id)
            lost = self.allowed.pop(id) | self.due.pop(id)
            self.over |= lost - set(self.live) - set().union(*self.allowed.values())

    @rule()
    def flush(self):
        if self.reader.touched:
            self.reader.flush()

    @rule()
    def stall(self):
        self.reader.wire.writable = False

    @rule(ms=st.sampled_from([1, 20, 60]))
    def wait(self, ms):
        self.timers.pass_(ms / 1000)

    @rule()
    def drain(self):
        self.timers.pass_(3 * max(ROLLUPS) / 1000)
        assert not self.timers, "a window is open that nothing came in"
        self.reader.drain()
        self.read()
        assert not self.replaying
        assert set().union(*self.due.values()) <= set(self.live), "lost"
        for key in KEYS:
            mine = [n for n in self.live if self.keys[n] == key]
            assert mine == sorted(mine), "out of order"

    @invariant()
    def read(self):
        """Nothing comes twice, or after it was given back; replays belong to who asked."""
        messages = self.reader.wire.messages
        for message in messages[self.seen :]:
            if message["op"] == "replayed":
                self.replaying.remove(message["id"])
            elif "sub" in message:
                assert message["sub"] in self.replaying
            else:
                number = message["body"]["n"]
                assert number not in self.live, "twice"
                assert number not in self.over, "it was given back"
                self.live.append(number)
        self.seen = len(messages)


Model.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestQueue = Model.TestCase


def test_live_events_wait_for_the_replay():
    """What comes between a subscribe and its replay is in the replay, or behind it: once."""
    reader = Reader()
    publisher = FakePublisher()
    say(reader.source, publisher, publish("workflow.a", "old"))
    reader.subscribe("workflow.>", None, replay=True)
    say(reader.source, publisher, publish("workflow.b", "between"))
    reader.flush()
    say(reader.source, publisher, publish("workflow.c", "behind"))
    reader.drain()
    told = [(m["op"], m.get("body"), "sub" in m) for m in reader.wire.messages]
    end = told.index(("replayed", None, False))
    assert told[:2] == [("event", "old", True), ("event", "between", True)]
    assert all(replayed for _, _, replayed in told[:end])
    assert not any(replayed for _, _, replayed in told[end:])
    assert [body for _, body, _ in told if body] == ["old", "between", "behind"]


def test_a_replay_comes_however_busy_its_streams_are():
    """Something new in every turn of the loop does not put a replay off for ever."""
    reader = Reader()
    publisher = FakePublisher()
    reader.subscribe("workflow.a", None, replay=True)
    for n in range(100):
        say(reader.source, publisher, publish("workflow.a", n))
        reader.flush()
    assert "replayed" in [m["op"] for m in reader.wire.messages]


def test_a_quiet_namespace_overtakes_a_backlog():
    """An event of one namespace leaves before the rest of another's backlog."""
    loud = Reader()
    publisher = FakePublisher()
    loud.subscribe("workflow.>", None)
    loud.wire.writable = False
    say(loud.source, publisher, *[publish("workflow.a", f"{n}" + "x" * 3000) for n in range(400)])
    loud.wire.writable = True
    loud.flush()
    [first] = loud.wire.sent
    assert len(first) < 100
    other = namespace()
    quiet = Queue(loud.outbox, JSON, other.retained, 1)
    quiet.add(Subscription(9, "workflow.q", None, [other]))
    other.fanout.subscriptions.add("workflow.q", None, quiet)
    say(other, publisher, publish("workflow.q", "urgent"))
    loud.flush()
    assert "urgent" in [m["body"] for m in loud.wire.sent[1]]
    loud.drain()
    numbers = [m["body"] for m in loud.wire.messages if m["topic"] == "workflow.a"]
    assert len(numbers) == 400


def test_replies_leave_first():
    """An answer does not wait behind events."""
    reader = Reader()
    reader.subscribe("workflow.>", None)
    reader.wire.writable = False
    say(reader.source, FakePublisher(), *[publish("workflow.a", "x" * 3000)] * 100)
    reader.outbox.reply(Pong(5))
    reader.drain()
    assert reader.wire.messages[0] == {"op": "pong", "id": 5}


def test_a_cursor_names_its_numbering():
    """Two brokers never write the same cursor for different events."""
    assert namespace().retained.cursor(5) != namespace().retained.cursor(5)
