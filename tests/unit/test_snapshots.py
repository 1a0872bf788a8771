"""A snapshot of many streams: told little by little, while they go on."""

import random

import pytest

from plugins.agent.chat import ChatPlugin
from plugins.agent.options import ChatOptions

from .fakes import FakePublisher, Reader, Timers, namespace, publish, say

CHAT = "agent.chat."
SESSIONS = [f"s{n}" for n in range(400)]


class Chat:
    """A namespace with an open turn in each of many sessions, and their publisher."""

    def __init__(self):
        self.timers = Timers()
        plugin = ChatPlugin("agent.chat", ChatOptions(stall=10_000))
        self.target = namespace(plugin, None, self.timers)
        self.target.upkeep.start()
        self.publisher = FakePublisher()
        self.target.leases.join(self.publisher)
        self.said = {}
        for key in SESSIONS:
            self.start(key)
            self.write(key)

    def say(self, key, what, **body):
        body = {"sessionId": key, "turnId": "t", "agentId": "a", **body}
        say(self.target, self.publisher, publish(CHAT + what, body))
        assert not self.publisher.errors

    def start(self, key):
        self.said[key] = 0
        self.say(key, "turnStarted")

    def write(self, key):
        index = self.said[key]
        self.say(key, "token", token=f"{index} ", tokenIndex=index, isLast=False)
        self.said[key] += 1


class Account:
    """What one subscription was told of each session: each thing once, in order."""

    def __init__(self):
        self.told = {}

    def take(self, messages):
        for message in messages:
            if message["op"] != "event":
                continue
            body = message["body"]
            key = body["sessionId"]
            if message["topic"] == CHAT + "turnStarted":
                assert key not in self.told, "told twice"
                self.told[key] = 0
            else:
                assert body["tokenIndex"] == self.told[key], "a gap, or a repeat"
                self.told[key] += body.get("tokenCount", 1)


@pytest.mark.parametrize("seed", range(4))
def test_streams_that_change_while_it_is_told(seed):
    """Each is told as it is when its turn comes, and what is said later follows, once."""
    chance = random.Random(seed)
    chat = Chat()
    reader, account = Reader(chat.target), Account()
    reader.subscribe(CHAT + ">", None, replay=True)
    turns = 0
    while reader.touched:
        reader.flush()
        turns += 1
        if turns < 30:
            for key in chance.sample(list(chat.said), 20):
                chat.write(key)
            chat.start(f"new{turns}")
            chat.write(f"new{turns}")
        if turns == 20 and seed % 2:
            reader.wire.writable = False
    if seed % 2:
        for key in SESSIONS:
            chat.write(key)
    account.take(reader.told())
    for key in chance.sample(SESSIONS, 20):
        chat.write(key)
    account.take(reader.told())
    assert account.told == chat.said
    assert turns > 10
    assert not reader.wire.closed
    assert reader.queue.live
    assert not reader.queue._wishes._covers


def test_another_subscription_misses_nothing():
    """What a snapshot told to one is still news to another; and one that replaces it goes on."""
    chat = Chat()
    reader = Reader(chat.target)
    key = SESSIONS[-1]
    reader.subscribe(CHAT + "token", key)
    chat.write(key)
    reader.told()
    reader.subscribe(CHAT + ">", None, replay=True)
    reader.flush()
    chat.write(key)
    chat.write(SESSIONS[-2])
    tokens = [m for m in reader.told() if m["op"] == "event" and m["topic"] == CHAT + "token"]
    assert [m["body"]["tokenIndex"] for m in tokens if m["body"]["sessionId"] == key] == [0, 2]
    assert len([m for m in tokens if m["body"]["sessionId"] == SESSIONS[-2]]) == 1


def test_a_subscription_that_is_replaced_behind_its_snapshot():
    """The new one has what the old one had still to get, and nothing else."""
    chat = Chat()
    reader, account = Reader(chat.target), Account()
    reader.subscribe(CHAT + ">", None, replay=True)
    reader.flush()
    chat.write(SESSIONS[-1])
    while not any(m["op"] == "replayed" for m in reader.wire.messages):
        chat.write(SESSIONS[0])  # told already: it waits until the snapshot is through
        reader.flush()
    reader.subscribe(CHAT + ">", None)
    account.take(reader.told())
    assert account.told == chat.said


def test_it_takes_little_time_at_once():
    """In no turn of the loop are more than some streams looked at."""
    chat = Chat()
    looked_at = []
    snapshot = chat.target.plugin.snapshot
    chat.target.plugin.snapshot = lambda *args: looked_at.append(args) or snapshot(*args)
    reader = Reader(chat.target)
    reader.subscribe(CHAT + ">", None, replay=True)
    most = 0
    while reader.touched:
        before = len(looked_at)
        reader.flush()
        most = max(most, len(looked_at) - before)
    assert len(looked_at) == len(SESSIONS)
    assert most < 40


def test_what_a_snapshot_told_is_compacted_with_what_follows():
    """An event that says both would say some of it twice: who is that late is told to come back."""
    chat = Chat()
    key = SESSIONS[-1]
    chat.say(key, "toolCallStarted", toolName="x", toolCallId="c", arguments={})
    reader, account = Reader(chat.target), Account()
    reader.subscribe(CHAT + ">", None, replay=True)
    reader.flush()
    for _ in range(5):
        chat.write(key)
    while not any(m["op"] == "replayed" for m in reader.wire.messages):
        reader.flush()
    reader.wire.writable = False
    for _ in range(5):
        chat.write(key)
    chat.say(key, "error", code="x", message="y", retryable=False)
    chat.timers.pass_(200)
    messages = [m for m in reader.told() if m["op"] == "event"]
    account.take(m for m in messages if m["topic"] in (CHAT + "turnStarted", CHAT + "token"))
    assert reader.wire.closed == [4108]
