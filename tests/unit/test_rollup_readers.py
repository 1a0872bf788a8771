"""Merging on request, as readers see it: whose window, in what order, nothing twice or lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.queue import GATHERED_BYTES
from plugins.agent.chat import ChatPlugin
from plugins.agent.options import ChatOptions

from .fakes import FakePublisher, Reader, Timers, namespace, publish, say

TOKEN = "agent.chat.token"
MS = 0.001


class Chat:
    """A namespace of sessions, somebody who answers in them, and readers."""

    def __init__(self):
        self.timers = Timers()
        self.source = namespace(ChatPlugin("agent.chat", ChatOptions()), timers=self.timers)
        self.publisher = FakePublisher()
        self.counts = {}

    def reader(self, pattern=TOKEN, key=None, rollup=40, **wishes):
        reader = Reader(self.source)
        reader.subscribe(pattern, key, rollup=rollup, **wishes)
        return reader

    def say(self, count=1, session="s", size=1, **more):
        """Tokens `0`, `1` and so on, in one run if they are small."""
        first = self.counts.get(session, 0)
        if not first:
            body = {"sessionId": session, "turnId": "t", "agentId": "a"}
            say(self.source, self.publisher, publish("agent.chat.turnStarted", body))
        self.counts[session] = first + count
        batch = [
            publish(
                TOKEN,
                {
                    "sessionId": session, "turnId": "t", "agentId": "a", "tokenIndex": index,
                    "token": f"{index}".ljust(size), "isLast": False, **more,
                },
            )
            for index in range(first, first + count)
        ]  # fmt: skip
        say(self.source, self.publisher, *batch)
        assert not self.publisher.errors

    def think(self, session="s"):
        body = {"sessionId": session, "turnId": "t", "text": "hm"}
        say(self.source, self.publisher, publish("agent.chat.thinking", body))

    def wait(self, ms):
        self.timers.pass_(ms * MS)


def spans(messages):
    """Of each event, in short: a token's index and count, or what else it is."""
    return [
        (m["body"]["tokenIndex"], m["body"].get("tokenCount", 1))
        if m["topic"] == TOKEN
        else m["topic"].rpartition(".")[2]
        for m in messages
    ]


# ------------------------------------------------------------- whose window


def test_the_smallest_wins():
    """Where several subscriptions match an event, it waits for the least of their times."""
    chat = Chat()
    reader = chat.reader(rollup=1000)
    reader.subscribe("agent.chat.*", None, rollup=20)
    chat.say(3)
    chat.wait(30)
    assert spans(reader.told()) == ["turnStarted", (0, 3)]


@pytest.mark.parametrize("other", [{"coalesce": False, "rollup": 500}, {"coalesce": False}, {}])
def test_who_did_not_ask_for_it_gets_each_at_once(other):
    """A subscription without a rollup beats one that has it; `coalesce: never` does too."""
    chat = Chat()
    reader = chat.reader(rollup=40)
    reader.subscribe("agent.chat.>", "s", **other)
    chat.say(1)
    chat.say(1)
    chat.say(2, session="z")  # of this stream, only the first subscription knows
    assert spans(reader.told()) == ["turnStarted", (0, 1), (1, 1), (0, 1)]
    chat.wait(50)
    assert spans(reader.told()) == [(1, 1)]


def test_an_event_that_does_not_wait_takes_along_what_does():
    """A stream's order holds: what was gathered leaves before it, merged."""
    chat = Chat()
    reader = chat.reader(rollup=40)
    reader.subscribe("agent.chat.thinking", None)
    chat.say(1)
    chat.say(3)
    chat.say(2, session="z")
    chat.think()
    chat.say(2)
    assert spans(reader.told()) == [(0, 1), (0, 1), (1, 3), "thinking"]
    chat.wait(50)
    assert sorted(spans(reader.told())) == [(1, 1), (4, 2)]


def test_two_lengths_on_one_stream():
    """The shorter window takes along what the longer one has gathered of the stream."""
    chat = Chat()
    reader = chat.reader(rollup=200)
    reader.subscribe("agent.chat.thinking", None, rollup=20)
    chat.say(4)
    chat.think()
    chat.think()
    chat.say(4)
    chat.wait(10)
    assert spans(reader.told()) == [(0, 1)]
    chat.wait(15)
    assert spans(reader.told()) == [(1, 3), "thinking", "thinking", (4, 4)]
    chat.say(1)
    chat.wait(250)
    assert spans(reader.told()) == [(8, 1)]
    chat.wait(1000)
    assert not chat.source.fanout._rollups


def test_bytes_and_cursor_of_what_is_merged():
    """One event: text, index and count of all, cursor of the last; and the same for two."""
    chat = Chat()
    first, second = chat.reader(), chat.reader("agent.chat.>", "s")
    chat.say(1)
    chat.wait(500)
    chat.say(1)
    chat.say(10)
    chat.wait(50)
    *_, merged = first.told()
    assert merged["body"]["token"] == "234567891011"
    assert merged["cursor"] == chat.source.retained.cursor(chat.source.retained.position)
    assert second.told()[-1] == merged


# ------------------------------------------------------------- in the middle of a window


def test_a_reader_falls_behind_in_a_window():
    """What was gathered is a position then: read again once, in order, and merged."""
    chat = Chat()
    reader, other = chat.reader(), chat.reader()
    reader.wire.writable = False
    chat.say(1, size=60_000)
    chat.say(3)
    chat.say(2, session="z", size=12_000)
    chat.say(2)
    chat.wait(50)
    chat.say(1)
    chat.wait(50)
    got = [(m["key"], *span) for m, span in _pairs(reader.told())]
    assert [g[1:] for g in got if g[0] == "s"] == [(0, 1), (1, 6)]
    assert [g[1:] for g in got if g[0] == "z"] == [(0, 2)]
    assert spans(other.told()) == [(0, 1), (0, 1), (1, 5), (1, 1), (6, 1)]


def _pairs(messages):
    return zip(messages, spans(messages), strict=True)


def test_an_unsubscribe_in_a_window():
    """Nothing of it follows; what another subscription wants is still there, once."""
    chat = Chat()
    reader = chat.reader()
    reader.subscribe("agent.chat.>", "z", rollup=40)
    chat.say(4)
    chat.say(4, session="z")
    reader.unsubscribe(TOKEN, None)
    chat.say(2)
    chat.say(2, session="z")
    chat.wait(50)
    got = [(m["key"], span) for m, span in _pairs(reader.told())]
    assert [span for key, span in got if key == "s"] == []
    assert [span for key, span in got if key == "z"] == ["turnStarted", (0, 6)]
    chat.wait(500)
    assert not reader.told()
    assert not chat.source.fanout._rollups


@pytest.mark.parametrize("rollup", [0, 20, 100])
def test_a_replacement_in_a_window(rollup):
    """What the older subscription had gathered is the newer one's, once and in order."""
    chat = Chat()
    reader = chat.reader()
    chat.say(4)
    reader.subscribe(TOKEN, None, rollup=rollup)
    chat.say(2)
    chat.wait(500)
    chat.say(1)
    chat.wait(500)
    got = spans(reader.told())
    assert sum(count for _, count in got) == 7
    assert [index for index, _ in got] == sorted({index for index, _ in got})


def test_a_replay_in_a_window():
    """What is gathered comes before the snapshot, and what follows it comes after."""
    chat = Chat()
    reader = chat.reader()
    chat.say(4)
    reader.subscribe("agent.chat.*", "s", replay=True, rollup=40)
    chat.say(2)
    messages = reader.told()
    chat.say(3)
    chat.wait(100)
    later = reader.told()
    live = [m for m in messages + later if m["op"] == "event" and "sub" not in m]
    assert messages[-1]["op"] == "replayed"
    assert sum(count for _, count in spans(live)) == 9
    assert spans([m for m in messages if "sub" in m]) == ["turnStarted", (0, 6)]


def test_a_reader_that_leaves_in_a_window():
    """Its queue is let go with the window, and costs nobody anything."""
    chat = Chat()
    reader, other = chat.reader(), chat.reader()
    chat.say(4)
    reader.unsubscribe(TOKEN, None)
    reader.wire.writable = False
    chat.wait(50)
    assert spans(other.told()) == [(0, 1), (1, 3)]
    assert not reader.wire.sent
    chat.wait(500)
    assert not chat.source.fanout._rollups


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from("sz"), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("think"), st.sampled_from("sz")),
        st.tuples(st.just("wait"), st.sampled_from([1, 15, 30, 100])),
        st.tuples(st.sampled_from(["stall", "drain", "extended"])),
        st.tuples(st.just("replace"), st.sampled_from([0, 10, 40])),
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([0, 10, 40]), st.sampled_from([0, 25, 40]))
@settings(max_examples=150, deadline=None)
def test_every_token_once_and_in_order(steps, rollup, thinking):
    """Whatever comes between: the text of each session is whole, and thoughts in their place."""
    chat = Chat()
    reader = chat.reader(rollup=rollup)
    reader.subscribe("agent.chat.thinking", None, rollup=thinking)
    expected = {"s": [], "z": []}
    for what, *how in steps:
        if what == "say":
            session, count, large = how
            expected[session] += range(
                chat.counts.get(session, 0), chat.counts.get(session, 0) + count
            )
            chat.say(count, session, 9000 if large else 1)
        elif what == "extended":
            expected["s"].append(chat.counts.get("s", 0))
            chat.say(1, more=1)
        elif what == "think" and how[0] in chat.counts:
            expected[how[0]].append("thinking")
            chat.think(how[0])
        elif what == "wait":
            chat.wait(*how)
        elif what == "stall":
            reader.wire.writable = False
        elif what == "drain":
            reader.drain()
        elif what == "replace":
            reader.subscribe(TOKEN, None, rollup=how[0])
    chat.wait(200)
    assert not chat.source.fanout._rollups
    reader.drain()
    got = {"s": [], "z": []}
    for message, span in _pairs(reader.wire.messages):
        if span == "thinking":
            got[message["key"]].append(span)
        else:
            index, count = span
            got[message["key"]] += range(index, index + count)
            text = "".join(f"{n}" for n in range(index, index + count))
            assert message["body"]["token"].replace(" ", "") == text
    assert got == expected


def test_what_is_gathered_is_bounded_in_bytes():
    """Past it, a reader keeps positions: it gets all of it, merged, and not only at the end."""
    chat = Chat()
    reader = chat.reader(rollup=1000)
    count = 3 * GATHERED_BYTES // 10_000
    for session in "abc":  # each alone would be within it
        chat.say(count // 3, session=session, size=10_000)
    events = [message for message in reader.told() if message["topic"] == TOKEN]
    assert len(events) > 3, "some went before the window closed"
    chat.wait(2000)
    events += [message for message in reader.told() if message["topic"] == TOKEN]
    assert sum(event["body"].get("tokenCount", 1) for event in events) == 3 * (count // 3)
