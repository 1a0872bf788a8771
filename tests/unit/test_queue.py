"""An outbox and its queues against a model: order, and nothing lost or repeated."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.codec import JSON
from broker.fanout import Fanout
from broker.outbox import Outbox
from broker.queue import Queue
from broker.replay import Replay, ReplayEnd, Subscription
from broker.topics import matches

from .fakes import FakePublisher, FakeWire, namespace, publish, say

TOPICS = ["workflow.a", "workflow.b", "workflow.c.d"]
KEYS = ["k", "l"]
WISHES = [
    (pattern, key)
    for pattern in ("workflow.a", "workflow.*", "workflow.>")
    for key in (None, "k", "l")
]


class Reader:
    """One connection's outbox on one namespace, driven as a session drives it."""

    def __init__(self, source=None, weight=1):
        self.source = source or namespace()
        self.wire = FakeWire()
        self.touched = False
        self.outbox = Outbox(JSON, self.wire, self.touch)
        self.queue = Queue(self.outbox, JSON, self.source, weight)
        self.standing = {}
        self.last_id = 0

    def touch(self, outbox):
        assert not self.touched
        self.touched = True

    def subscribe(self, pattern, key, replay=False):
        self.last_id += 1
        wish = Subscription(self.last_id, pattern, key, [self.source], True)
        older = self.standing.get((pattern, key))
        self.queue.add(wish, replaces=older)
        self.source.fanout.subscriptions.add(pattern, key, self.queue)
        if replay:
            self.queue.replay(Replay(wish, ReplayEnd(wish.id, 1), None))
        if older is not None:
            self.remove(older)
        self.standing[pattern, key] = wish
        return wish

    def unsubscribe(self, pattern, key):
        self.remove(self.standing.pop((pattern, key)))

    def remove(self, wish):
        self.source.fanout.subscriptions.remove(wish.pattern, wish.key, self.queue)
        self.queue.remove(wish)

    def flush(self):
        self.touched = False
        self.outbox.flush()

    def drain(self):
        self.wire.writable = True
        self.outbox.touch() if not self.touched else None
        while self.touched:
            self.flush()


class Model(RuleBasedStateMachine):
    """What each subscription has to get, by what was published while it stood."""

    def __init__(self):
        super().__init__()
        self.reader = Reader()
        self.publisher = FakePublisher()
        self.published = []  # (topic, key, number)
        self.due = []  # numbers of live events that have to come
        self.replays = {}  # id → wish, of those that are not ended
        self.seen = 0
        self.live = []

    @rule(batch=st.lists(st.tuples(st.sampled_from(TOPICS), st.sampled_from(KEYS)), max_size=6))
    def publish(self, batch):
        messages = []
        for topic, key in batch:
            number = len(self.published)
            self.published.append((topic, key, number))
            messages.append(publish(topic, {"n": number, "x": "y" * 9000}, key=key))
            if any(
                matches(w.pattern, topic) and w.key in (None, key) and id not in self.replays
                for w in self.reader.standing.values()
                for id in [w.id]
            ):
                self.due.append(number)
        say(self.reader.source, self.publisher, *messages)

    @rule(wish=st.sampled_from(WISHES))
    def subscribe(self, wish):
        older = self.reader.standing.get(wish)
        new = self.reader.subscribe(*wish)
        if older is not None and self.replays.pop(older.id, None):
            # what waited for the replay of the older one comes live, or not at all
            self.replays.pop(new.id, None)

    @rule(wish=st.sampled_from(WISHES))
    def subscribe_with_replay(self, wish):
        older = self.reader.standing.get(wish)
        if older is not None:
            return
        new = self.reader.subscribe(*wish, replay=True)
        self.replays[new.id] = new

    @rule()
    @precondition(lambda self: not self.reader.touched or True)
    def flush(self):
        if self.reader.touched:
            self.reader.flush()

    @rule()
    def stall(self):
        self.reader.wire.writable = False

    @rule()
    def drain(self):
        self.reader.drain()
        self.read()
        assert not self.replays
        live = list(self.live)
        assert sorted(set(live)) == sorted(live), "twice"
        assert set(self.due) <= set(live), "lost"
        for key in KEYS:
            mine = [n for n in live if self.published[n][1] == key]
            assert mine == sorted(mine), "out of order"

    @invariant()
    def read(self):
        """Live events come once; before a replay's end only its own events are new."""
        messages = self.reader.wire.messages
        for message in messages[self.seen :]:
            if message["op"] == "replayed":
                del self.replays[message["id"]]
            elif "sub" in message:
                assert message["sub"] in self.replays
            else:
                self.live.append(message["body"]["n"])
        self.seen = len(messages)


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
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
    assert told == [
        ("event", "old", True), ("event", "between", True), ("replayed", None, False),
        ("event", "behind", False),
    ]  # fmt: skip


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
    quiet = Queue(loud.outbox, JSON, namespace(), 1)
    publisher = FakePublisher()
    loud.subscribe("workflow.>", None)
    loud.wire.writable = False
    say(loud.source, publisher, *[publish("workflow.a", f"{n}" + "x" * 3000) for n in range(400)])
    loud.wire.writable = True
    loud.flush()
    [first] = loud.wire.sent
    assert len(first) < 100
    other = namespace()
    quiet = Queue(loud.outbox, JSON, other, 1)
    quiet.add(Subscription(9, "workflow.q", None, [other], True))
    other.fanout.subscriptions.add("workflow.q", None, quiet)
    say(other, publisher, publish("workflow.q", "urgent"))
    loud.flush()
    assert "urgent" in [m["body"] for m in loud.wire.sent[1]]
    loud.drain()
    numbers = [m["body"] for m in loud.wire.messages if m["topic"] == "workflow.a"]
    assert len(numbers) == 400


def test_replies_leave_first():
    """An answer does not wait behind events."""
    from broker.messages import Pong

    reader = Reader()
    reader.subscribe("workflow.>", None)
    reader.wire.writable = False
    say(reader.source, FakePublisher(), *[publish("workflow.a", "x" * 3000)] * 100)
    reader.outbox.reply(Pong(5))
    reader.drain()
    assert reader.wire.messages[0] == {"op": "pong", "id": 5}


def test_a_cursor_names_its_numbering():
    """Two brokers never write the same cursor for different events."""
    assert Fanout("a").cursor(5) != Fanout("b").cursor(5)
