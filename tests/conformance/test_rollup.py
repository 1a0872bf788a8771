"""`rollupMs`: one frame for what comes within it, and nothing lost, merged away or reordered."""

import time

import pytest

from .agent import CHAT, GOOD, TURN, completed, started, token
from .client import connect

ONE = CHAT + "token"
LONG = 10_000
"""A window that stays open for as long as a test takes; what ends it is another event."""


def publish(topic, body, **fields):
    return {"op": "publish", "topic": topic, "body": body, **fields}


async def say(publisher, first, count, **more):
    """So many tokens, acknowledged; their texts are their numbers."""
    batch = [
        publish(ONE, token(index, f"{index},", **more)) for index in range(first, first + count)
    ]
    id = publisher.id()
    await publisher.send(*batch[:-1], {**batch[-1], "id": id})
    await publisher.acked(id)


def texts(first, count):
    return "".join(f"{index}," for index in range(first, first + count))


async def test_what_comes_within_the_window_is_one_event(site, peer, other):
    """Index of the first, number and text of all; cursor, time and `isLast` of the last."""
    await peer.subscribe(ONE, key="s", rollupMs=40)
    await other.publish(CHAT + "turnStarted", started())
    before = int(time.time() * 1000)
    await say(other, 0, 1)
    await say(other, 1, 30)
    await other.publish(ONE, token(31, "end", last=True))
    first = await peer.get("event")
    assert first["body"] == token(0, "0,")
    events = [first]
    while not events[-1]["body"]["isLast"]:
        events.append(await peer.get("event"))
    expected = 0
    for event in events:
        body = event["body"]
        assert (event["topic"], event["key"]) == (ONE, "s")
        assert body["tokenIndex"] == expected
        expected += body.get("tokenCount", 1)
        assert before <= event["time"] <= int(time.time() * 1000)
    assert expected == 32
    assert "".join(e["body"]["token"] for e in events) == texts(0, 31) + "end"
    cursors = [e["cursor"] for e in events]
    assert len(set(cursors)) == len(cursors)
    assert cursors[-1] == (await other.subscribe(ONE, key="s"))["cursor"]


async def test_it_merges_although_the_reader_keeps_up(peer, other):
    """Everything that waits goes out as one event, when something comes that does not wait."""
    await peer.subscribe(ONE, key="s", rollupMs=LONG)
    await peer.subscribe(CHAT + "thinking")
    await other.publish(CHAT + "turnStarted", started())
    for first in range(0, 40, 4):
        await say(other, first, 4)
    assert (await peer.barrier())[0]["body"] == token(0, "0,")
    assert not await peer.barrier()
    await other.publish(CHAT + "thinking", GOOD["thinking"])
    merged, thought = await peer.events(2)
    assert merged["body"] == token(1, texts(1, 39), tokenCount=39)
    assert thought["topic"] == CHAT + "thinking"
    assert merged["time"] <= thought["time"]


async def test_lifecycle_events_are_not_merged_away(peer, other):
    """Whatever they stand between: in order, each alone, in one window as well."""
    await peer.subscribe(CHAT + ">", key="s", rollupMs=30)
    told = [
        ("turnStarted", started()),
        *[("token", token(n, f"{n},")) for n in range(3)],
        ("toolCallStarted", GOOD["toolCallStarted"]),
        ("toolCallCompleted", GOOD["toolCallCompleted"]),
        *[("progress", {**TURN, "percent": n, "message": "m"}) for n in range(3)],
        *[("token", token(n, f"{n},")) for n in range(3, 8)],
        ("thinking", GOOD["thinking"]),
        ("thinking", GOOD["thinking"]),
        ("token", token(8, "8,", last=True)),
        ("turnCompleted", completed(text=texts(0, 9))),
    ]
    await other.send(*[publish(CHAT + topic, body) for topic, body in told])
    got, expected = [], 0
    while not got or got[-1] != told[-1]:
        event = await peer.get("event")
        body = event["body"]
        if event["topic"] == ONE:
            assert body["tokenIndex"] == expected
            expected += body.get("tokenCount", 1)
            assert body["token"] == texts(body["tokenIndex"], body.get("tokenCount", 1))
            numbers = range(body["tokenIndex"], expected)
            got += [("token", token(n, f"{n},", last=n == 8)) for n in numbers]
            assert body["isLast"] == (expected == 9)
        else:
            got.append((event["topic"].removeprefix(CHAT), body))
    assert got == told


async def test_unknown_fields_are_not_merged(peer, other):
    """A token event that says more than this broker knows stays alone, with what it says."""
    await peer.subscribe(ONE, key="s", rollupMs=LONG)
    await peer.subscribe(CHAT + "thinking")
    await other.publish(CHAT + "turnStarted", started())
    await say(other, 0, 3)
    await say(other, 3, 2, logprob=-0.5)
    await say(other, 5, 2)
    await other.publish(CHAT + "thinking", GOOD["thinking"])
    bodies = [event["body"] for event in (await peer.events(6))[:-1]]
    assert bodies == [
        token(0, "0,"),
        token(1, "1,2,", tokenCount=2),
        token(3, "3,", logprob=-0.5),
        token(4, "4,", logprob=-0.5),
        token(5, "5,6,", tokenCount=2),
    ]


async def test_two_turns_in_one_window(peer, other):
    """Each turn keeps its own text; the order in the session is that of the publishes."""
    await peer.subscribe(ONE, rollupMs=LONG)
    await peer.subscribe(CHAT + "thinking")
    for turn in "tu":
        await other.publish(CHAT + "turnStarted", started(turn))
    for n in range(4):
        for turn in "tu":
            await other.publish(ONE, token(n, f"{turn}{n}", turn))
    await say(other, 4, 3, turn="t")
    await other.publish(CHAT + "thinking", GOOD["thinking"])
    *events, thought = await peer.events(10)
    assert thought["topic"] == CHAT + "thinking"
    in_turns = [(turn, n) for n in range(4) for turn in "tu"]
    assert [(e["body"]["turnId"], e["body"]["tokenIndex"]) for e in events] == [*in_turns, ("t", 4)]
    assert events[-1]["body"] == token(4, "4,5,6,", tokenCount=3)


async def test_who_wants_it_at_once_gets_it_at_once(site, codec, other):
    """Another reader's window delays nobody who has not asked for one."""
    async with connect(site.ws, codec) as patient, connect(site.ws, codec) as hasty:
        await patient.subscribe(ONE, rollupMs=LONG)
        await hasty.subscribe(ONE, rollupMs=LONG)
        await hasty.subscribe(CHAT + "*", key="s")
        await other.publish(CHAT + "turnStarted", started())
        await hasty.get("event")
        for n in range(5):
            await other.publish(ONE, token(n))
            assert (await hasty.get("event"))["body"] == token(n)
        assert len(await patient.barrier()) == 1


async def test_never_beats_it(peer, other):
    """`coalesce: never` on the same stream: each event alone, at once."""
    await peer.subscribe(ONE, rollupMs=LONG)
    await peer.subscribe(CHAT + ">", coalesce="never", rollupMs=LONG)
    await other.publish(CHAT + "turnStarted", started())
    await say(other, 0, 5)
    assert [e["topic"] for e in await peer.events(6)][1:] == [ONE] * 5


@pytest.mark.parametrize("wishes", [{}, {"rollupMs": 5}, {"coalesce": "never"}])
async def test_a_replacement_loses_nothing(peer, other, wishes):
    """What waits when a subscription is replaced arrives once."""
    await peer.subscribe(ONE, key="s", rollupMs=LONG)
    await other.publish(CHAT + "turnStarted", started())
    await say(other, 0, 5)
    await peer.subscribe(ONE, key="s", **wishes)
    await say(other, 5, 2)
    expected = 0
    while expected < 7:
        body = (await peer.get("event"))["body"]
        assert body["tokenIndex"] == expected
        expected += body.get("tokenCount", 1)


async def test_after_an_unsubscribe_nothing_follows(peer, other):
    """Not even what waited already."""
    await peer.subscribe(ONE, rollupMs=LONG)
    await other.publish(CHAT + "turnStarted", started())
    await say(other, 0, 5)
    assert (await peer.get("event"))["body"] == token(0, "0,")
    await peer.get("unsubscribed", id=await peer.ask("unsubscribe", topic=ONE))
    await say(other, 5, 5)
    assert not await peer.barrier()
    await peer.subscribe(ONE, rollupMs=LONG - 1)
    await say(other, 10, 1)
    assert (await peer.get("event"))["body"] == token(10, "10,")


@pytest.mark.parametrize("wrong", [-1, 10_001, 1.5, "40", None])
async def test_bad_lengths(peer, wrong):
    """It is a number of milliseconds, at most ten seconds."""
    id = await peer.ask("subscribe", topic=ONE, rollupMs=wrong)
    assert (await peer.get("error", id=id))["code"] == "bad_message"


async def test_who_leaves_in_a_window(site, other):
    """A connection that ends with something waiting costs the other readers nothing."""
    async with connect(site.ws) as reader:
        async with connect(site.ws) as leaving:
            for one in (reader, leaving):
                await one.subscribe(ONE, rollupMs=30)
            await other.publish(CHAT + "turnStarted", started())
            await say(other, 0, 5)
        expected = 0
        while expected < 5:
            body = (await reader.get("event"))["body"]
            assert body["tokenIndex"] == expected
            expected += body.get("tokenCount", 1)
