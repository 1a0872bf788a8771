"""What has ended is compacted a while later: less is retained, and it says the same."""

from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from broker.codec import JSON
from broker.contents import History
from broker.upkeep import Upkeep
from plugins.agent.chat import ChatPlugin
from plugins.agent.options import ChatOptions

from .fakes import FakePublisher, Reader, Timers, namespace, publish, say

AFTER = 60
TURNS = ["t", "u"]
NAME = {"sessionId": "s", "agentId": "a"}


class Chat:
    """A namespace of sessions with its time, and somebody who publishes to it."""

    def __init__(self):
        self.timers = Timers()
        plugin = ChatPlugin("agent.chat", ChatOptions(compact_after=AFTER, stall=10_000))
        self.target = namespace(plugin, None, self.timers)
        self.target.upkeep.start()
        self.publisher = FakePublisher()
        self.target.leases.join(self.publisher)
        self.texts = {}
        self.indexes = {}

    def say(self, what, turn="t", **body):
        body = {**NAME, "turnId": turn, **body}
        say(self.target, self.publisher, publish("agent.chat." + what, body))
        assert not self.publisher.errors

    def start(self, turn="t"):
        self.texts[turn], self.indexes[turn] = "", 0
        self.say("turnStarted", turn)

    def write(self, text, turn="t"):
        index = self.indexes[turn]
        self.say("token", turn, token=text, tokenIndex=index, isLast=False)
        self.texts[turn] += text
        self.indexes[turn] += 1

    def complete(self, turn="t"):
        self.say(
            "turnCompleted", turn, fullText=self.texts[turn], toolCallsUsed=[],
            inputTokens=1, outputTokens=1, durationMs=1,
        )  # fmt: skip

    def fail(self, turn="t"):
        self.say("error", turn, code="x", message="y", retryable=False)

    def retained(self, after=None):
        engine = self.target.engine
        return engine.read("s", engine.floor("s") if after is None else after, 10_000)

    def topics(self):
        return [event.topic.removeprefix("agent.chat.") for event in self.retained()]


class Client:
    """What a front end shows: it begins a text anew where the protocol says that it may."""

    def __init__(self):
        self.texts = {}
        self.ended = set()
        self.next = {}

    def take(self, events):
        self.show([{"topic": e.topic, "body": JSON.decode_any(e.raw)} for e in events])

    def show(self, messages):
        for message in messages:
            body = message["body"]
            turn = body["turnId"]
            match message["topic"].removeprefix("agent.chat."):
                case "turnStarted":
                    self.texts[turn], self.next[turn] = "", 0
                case "token":
                    if body["tokenIndex"] == 0:
                        self.texts[turn], self.next[turn] = "", 0
                    assert body["tokenIndex"] == self.next[turn], "a gap, or a repeat"
                    self.texts[turn] += body["token"]
                    self.next[turn] += body.get("tokenCount", 1)
                case "turnCompleted":
                    self.texts[turn] = body["fullText"]
                    self.ended.add(turn)
                case "error":
                    self.ended.add(turn)


@st.composite
def sessions(draw):
    """Steps of two turns, and of time that passes between them."""
    steps = st.sampled_from(["t", "t", "t", "u", "u", "tool", "wait", "end t", "end u"])
    return draw(st.lists(steps, max_size=30)), draw(st.booleans())


@given(sessions())
@settings(max_examples=150, deadline=None)
def test_whoever_comes_back_ends_up_right(session):
    """From every position: with no gap and no repeat, or `recovered: false` and all texts."""
    steps, fails = session
    chat = Chat()
    events, open_turns = [], set(TURNS)
    engine = chat.target.engine

    def note():
        last = events[-1].position if events else 0
        events.extend(chat.retained(last))

    for turn in TURNS:
        chat.start(turn)
        note()
    for number, step in enumerate(steps):
        ending = step.removeprefix("end ")
        if step == "wait":
            chat.timers.pass_(AFTER + 2)
        elif step == "tool" and "t" in open_turns:
            chat.say("toolCallStarted", toolName="x", toolCallId=str(number), arguments={})
        elif step in open_turns:
            chat.write(f"{number} ", step)
        elif step != ending and ending in open_turns:
            open_turns.discard(ending)
            (chat.fail if fails else chat.complete)(ending)
        note()
    retained = chat.target.retained
    for seen in range(len(events) + 1):
        client = Client()
        client.take(events[:seen])
        position = events[seen - 1].position if seen else 0
        after, whole = retained.resume("s", retained.cursor(position))
        if whole:
            client.take(engine.read("s", after, 10_000))
        else:
            client.take(retained.snapshot("s", after))
        assert client.texts == chat.texts
        assert client.ended == set(TURNS) - open_turns
    assert retained.resume("s", retained.cursor(engine.floor("s")))[1]
    assert len(chat.retained()) <= len(events)


def test_the_tokens_go_when_it_is_time():
    """A turn that is complete is told by its end alone, one that failed has its text."""
    chat = Chat()
    for turn, end in (("t", chat.complete), ("u", chat.fail)):
        chat.start(turn)
        for n in range(100):
            chat.write(f"{n} ", turn)
        end(turn)
    chat.timers.pass_(AFTER - 1)
    assert chat.topics().count("token") == 200
    before = chat.target.engine.figures()
    chat.timers.pass_(3)
    assert chat.topics() == ["turnStarted", "turnCompleted", "turnStarted", "token", "error"]
    [text] = [JSON.decode_any(e.raw) for e in chat.retained() if e.topic == "agent.chat.token"]
    assert (text["token"], text["tokenCount"]) == (chat.texts["u"], 100)
    after = chat.target.engine.figures()
    assert (before.events, after.events) == (204, 5)
    assert after.bytes < before.bytes / 20
    assert after.bytes == sum(len(e.raw) + 400 for e in chat.retained())


def test_an_open_turn_is_left_alone():
    """However long it takes: and what ended before it is compacted all the same."""
    chat = Chat()
    for turn in TURNS:
        chat.start(turn)
        chat.write("one ", turn)
        chat.write("two ", turn)
        if turn == "t":
            chat.complete()
    chat.timers.pass_(2 * AFTER)
    assert chat.topics() == ["turnStarted", "turnCompleted", "turnStarted", "token", "token"]


def test_what_was_published_under_a_name_keeps_it():
    """Repeats of it are noticed as long as it is retained."""
    chat = Chat()
    chat.start()
    body = {**NAME, "turnId": "t", "token": "x", "tokenIndex": 0, "isLast": False}
    say(chat.target, chat.publisher, publish("agent.chat.token", body, dedupe="name"))
    chat.texts["t"], chat.indexes["t"] = "x", 1
    chat.write("y")
    chat.complete()
    chat.timers.pass_(2 * AFTER)
    assert chat.target.engine.has_name("s", "name")
    assert chat.topics() == ["turnStarted", "token", "token", "turnCompleted"]


@pytest.mark.parametrize("behind", [50, 5000])
def test_a_reader_that_is_behind_all_the_while(behind):
    """What waits for it comes; and where that is not all, it is told to come back for the rest."""
    chat = Chat()
    reader = Reader(chat.target)
    reader.subscribe("agent.chat.>", "s")
    chat.start()
    chat.write("first ")
    told = reader.told()
    reader.wire.writable = False
    for n in range(behind):
        chat.write(f"{n} ")
    chat.fail()
    chat.timers.pass_(2 * AFTER)
    assert len(chat.retained()) < 10
    told += reader.told()
    client = Client()
    client.show([message for message in told if message["op"] == "event"])
    if reader.wire.closed:
        assert reader.wire.closed[0] == 4108
        retained = chat.target.retained
        cursor = [message["cursor"] for message in told if message["op"] == "event"][-1]
        after, whole = retained.resume("s", cursor)
        assert not whole
        client.take(retained.snapshot("s", after))
    assert bool(reader.wire.closed) == (behind == 5000)
    assert client.texts == chat.texts
    assert client.ended == {"t"}


def test_it_takes_little_time_at_once():
    """What has to be merged is merged in pieces."""
    chat = Chat()
    chat.start()
    for n in range(3000):
        chat.write(f"{n} ")
    chat.fail()
    chat.timers.clock.now += 2 * AFTER
    upkeep: Upkeep = chat.target.upkeep
    steps = 0
    while upkeep.some():
        steps += 1
    assert steps >= 10
    assert chat.topics() == ["turnStarted", "token", "error"]


def test_turns_that_are_told_by_their_ends_within_each_other():
    """All of their tokens go; where one of them failed, its text is still there."""
    for fails in (False, True):
        chat = Chat()
        for turn in TURNS:
            chat.start(turn)
        for n in range(50):
            chat.write(f"{n} ", TURNS[n % 2])
        chat.complete("t")
        (chat.fail if fails else chat.complete)("u")
        chat.timers.pass_(2 * AFTER)
        assert ("token" in chat.topics()) == fails
        client = Client()
        client.take(chat.retained())
        assert client.texts == chat.texts


class Replaying:
    """A finished turn of so many tokens, and a reader to whom some of its history was told."""

    def __init__(self, after=None):
        self.chat = Chat()
        self.chat.start()
        for n in range(3000):
            self.chat.write(f"{n} ")
        self.chat.fail()
        self.chat.timers.pass_(AFTER - 5)
        self.client = Client()
        self.reader = Reader(self.chat.target)
        wish = self.reader.subscribe("agent.chat.>", "s")
        if after is not None:
            self.client.take(self.chat.retained()[:after])
        self.reader.replay(wish, History(wish, after))
        if after is None:
            self.reader.flush()

    def finish(self):
        self.client.show([m for m in self.reader.told() if m["op"] == "event"])


@pytest.mark.parametrize("after", [None, 1000])
def test_a_replay_is_not_torn(after):
    """Who is in the middle of a stream, or is going to be, is told all of it; then it is done."""
    replaying = Replaying(after)
    chat = replaying.chat
    chat.timers.pass_(30)
    replaying.finish()
    assert not replaying.reader.wire.closed
    assert replaying.client.texts == chat.texts
    assert chat.topics().count("token") == 3000
    chat.timers.pass_(AFTER + 2)
    assert chat.topics() == ["turnStarted", "token", "error"]


def test_a_replay_that_begins_while_a_stream_is_compacted():
    """Some of it is one event by then, the rest is told as it is."""
    replaying = Replaying()
    replaying.reader.told()
    chat = replaying.chat
    chat.timers.clock.now += AFTER
    before = len(chat.retained())
    chat.target.upkeep.some()
    assert len(chat.retained()) < before
    wish = replaying.reader.subscribe("agent.chat.>", "s")
    replaying.reader.replay(wish, History(wish))
    replaying.reader.flush()
    chat.timers.pass_(2)
    client = replaying.client = Client()
    replaying.finish()
    assert not replaying.reader.wire.closed
    assert client.texts == chat.texts


@pytest.mark.parametrize("leaves", [False, True])
def test_nobody_holds_a_stream_for_long(leaves):
    """One that stalls in the middle is told to come back; one that leaves is not waited for."""
    replaying = Replaying()
    replaying.reader.wire.writable = False
    chat = replaying.chat
    if leaves:
        replaying.reader.unsubscribe("agent.chat.>", "s")
        chat.timers.pass_(10)
    else:
        chat.timers.pass_(2 * AFTER + 10)
    assert chat.topics() == ["turnStarted", "token", "error"]
    replaying.finish()
    assert replaying.reader.wire.closed == ([] if leaves else [4108])


def test_a_stream_that_cannot_be_compacted_holds_up_no_other():
    """It is logged, once and with its name; upkeep goes on, also for what ends later."""
    chat = Chat()
    plugin, streams = chat.target.plugin, chat.target.streams
    settled = plugin.settled

    def fails(state, before):
        if state is streams["broken"].committed:
            raise ValueError("broken")
        return settled(state, before)

    plugin.settled = fails
    with capture_logs() as logs:
        for turn in TURNS:
            chat.say("turnStarted", sessionId="broken", turnId=turn)
            chat.say("error", sessionId="broken", turnId=turn, code="x", message="y",
                     retryable=False)  # fmt: skip
            chat.start(turn)
            chat.write("one ", turn)
            chat.complete(turn)
            chat.timers.pass_(2 * AFTER)
    assert chat.topics() == ["turnStarted", "turnCompleted"] * 2
    assert [(log["event"], log["key"]) for log in logs] == [("compaction failed", "broken")] * 2


def test_whatever_fails_it_goes_on_later():
    """As an engine may: the next time is set before anything can be wrong."""
    chat = Chat()
    upkeep = chat.target.upkeep
    upkeep.some = Mock(side_effect=OSError("broken"))
    with pytest.raises(OSError, match="broken"):
        chat.timers.pass_(2)
    del upkeep.some
    chat.start()
    chat.write("one ")
    chat.complete()
    chat.timers.pass_(2 * AFTER)
    assert chat.topics() == ["turnStarted", "turnCompleted"]
