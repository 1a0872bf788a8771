"""Cursors: from where a reader was, to where things are, without a gap or a repeat."""

import random

import pytest

from .agent import CHAT, completed, failed, started, token
from .client import Peer, connect
from .engines import both_engines

pytestmark = both_engines

TOKEN = CHAT + "token"


async def replayed(peer: Peer, topic, **fields):
    """Subscribe; what was answered, the replayed events, and what ended them."""
    answer = await peer.subscribe(topic, **fields)
    end = await peer.get("replayed", id=answer["id"])
    events = [m for m in peer.inbox if m.get("sub") == answer["id"]]
    peer.inbox = [m for m in peer.inbox if m.get("sub") != answer["id"]]
    return answer, events, end


async def test_after_a_cursor_comes_all_that_followed(peer):
    """Each event after it, once, with a cursor to go on from; then live."""
    first = await peer.subscribe(CHAT + ">", key="s")
    await peer.publish(CHAT + "turnStarted", started())
    for index in range(6):
        await peer.publish(TOKEN, token(index, str(index)))
    events = await peer.events(7)
    assert first["cursor"] not in [e["cursor"] for e in events]
    for index in (0, 3, 6):
        answer, told, end = await replayed(peer, CHAT + ">", key="s", after=events[index]["cursor"])
        assert answer["recovered"] is True
        assert "cursor" not in answer
        assert [e["body"] for e in told] == [e["body"] for e in events[index + 1 :]]
        assert [e["cursor"] for e in told] == [e["cursor"] for e in events[index + 1 :]]
        assert end["cursor"] == events[-1]["cursor"]
    _, told, _ = await replayed(peer, CHAT + ">", key="s", after=first["cursor"])
    assert len(told) == 7
    await peer.publish(TOKEN, token(6, "6"))
    assert [(e["body"]["tokenIndex"], "sub" in e) for e in await peer.events(1)] == [(6, False)]


async def test_after_a_snapshot_and_a_replay_one_goes_on(open_peer):
    """The cursor of `replayed`, of a snapshot or a history, is as good as an event's."""
    await open_peer.publish("workflow.a", 1, key="k")
    for how in ("snapshot", "history"):
        _, _, end = await replayed(open_peer, "workflow.>", key="k", replay=how)
        await open_peer.publish("workflow.a", how, key="k")
        answer, told, _ = await replayed(
            open_peer, "workflow.>", key="k", after=end["cursor"], replay="history"
        )
        assert answer["recovered"] is True
        assert [e["body"] for e in told] == [how]


async def test_history_is_every_retained_event(open_peer):
    """Of one stream or of all, in the order of each stream; a pattern chooses among them."""
    for n in range(30):
        await open_peer.publish(f"workflow.{'ab'[n % 2]}", n, key=f"k{n % 3}")
    answer, told, end = await replayed(open_peer, "workflow.>", replay="history")
    assert "cursor" not in answer
    assert "recovered" not in answer
    assert "cursor" not in end
    for key in range(3):
        mine = [e["body"] for e in told if e["key"] == f"k{key}"]
        assert mine == list(range(key, 30, 3))
    _, told, end = await replayed(open_peer, "workflow.a", key="k0", replay="history")
    assert [e["body"] for e in told] == list(range(0, 30, 6))
    assert isinstance(end["cursor"], str)
    _, told, _ = await replayed(open_peer, "workflow.a", key="never", replay="history")
    assert told == []


async def test_a_cursor_that_is_too_old_gets_what_it_comes_to(start, codec):
    """Where events are gone: `recovered: false`, then what ended since, and what is open."""
    site = await start(namespaces={"agent.chat": {"history": {"events": 8}}})
    async with connect(site.ws, codec) as peer:
        first = await peer.subscribe(CHAT + ">", key="s")
        for turn in ("t1", "t2"):
            await peer.publish(CHAT + "turnStarted", started(turn))
            for index in range(9):
                await peer.publish(TOKEN, token(index, f"{index} ", turn))
            await peer.barrier()
            if turn == "t1":
                await peer.publish(CHAT + "turnCompleted", completed(turn, text="all of it"))
        answer, told, end = await replayed(peer, CHAT + ">", key="s", after=first["cursor"])
        assert answer["recovered"] is False
        assert all("cursor" not in e for e in told)
        assert [e["topic"].rpartition(".")[2] for e in told] == [
            "turnStarted", "turnCompleted", "turnStarted", "token",
        ]  # fmt: skip
        assert told[3]["body"]["token"] == "".join(f"{n} " for n in range(9))
        await peer.publish(CHAT + "error", failed("t2"))
        answer, told, _ = await replayed(peer, CHAT + ">", key="s", after=end["cursor"])
        assert answer["recovered"] is True
        assert [e["topic"] for e in told] == [CHAT + "error"]


@pytest.mark.parametrize("cursor", ["", "x", "0.1", "1.", "....", "00000000.99999999999999999999"])
async def test_an_unknown_cursor_is_not_recovered(peer, cursor):
    """It counts as before the first retained event: everything that ended, and what is open."""
    await peer.publish(CHAT + "turnStarted", started("t1"))
    await peer.publish(CHAT + "turnCompleted", completed("t1"))
    await peer.publish(CHAT + "turnStarted", started("t2"))
    answer, told, end = await replayed(peer, CHAT + ">", key="s", after=cursor)
    assert answer["recovered"] is False
    assert [e["body"]["turnId"] for e in told] == ["t1", "t1", "t2"]
    assert isinstance(end["cursor"], str)


async def test_a_cursor_of_the_future_is_not_recovered(open_peer):
    """Nobody can have got what was not published."""
    answer = await open_peer.subscribe("workflow.a", key="k")
    epoch = answer["cursor"].rpartition(".")[0]
    answer, _, _ = await replayed(open_peer, "workflow.a", key="k", after=f"{epoch}.12345")
    assert answer["recovered"] is False


@pytest.mark.parametrize(
    ("server", "topic", "fields"),
    [
        ("chat", CHAT + ">", {}),
        (None, ">", {"key": "s"}),
        ("chat", "agent.>", {"key": "s"}),
    ],
)
async def test_a_cursor_needs_one_stream(site, codec, server, topic, fields):
    """A key and one namespace, else `bad_cursor`, and there is no subscription."""
    async with connect(site.server(server), codec) as peer:
        id = await peer.ask("subscribe", topic=topic, after="x.1", **fields)
        error = await peer.get("error")
        assert (error["code"], error["id"]) == ("bad_cursor", id)
        await peer.publish(CHAT + "turnStarted", started())
        assert [m["op"] for m in await peer.barrier() if m["op"] != "ack"] == []


async def test_two_subscriptions_of_one_stream_resume_apart(peer):
    """Each gets its own replay, under its own id; what follows comes once."""
    await peer.subscribe(CHAT + ">", key="s")
    await peer.publish(CHAT + "turnStarted", started())
    await peer.publish(TOKEN, token(0))
    [begin, _] = await peer.events(2)
    one, two = peer.id(), peer.id()
    await peer.send(
        {"op": "subscribe", "id": one, "topic": TOKEN, "key": "s", "after": begin["cursor"]},
        {"op": "subscribe", "id": two, "topic": CHAT + "*", "key": "s", "after": begin["cursor"]},
    )
    await peer.publish(TOKEN, token(1))
    await peer.get("replayed", id=two)
    told = [m for m in await peer.barrier() if m["op"] == "event"]
    by_sub = {sub: [e["body"]["tokenIndex"] for e in told if e.get("sub") == sub]
              for sub in (one, two, None)}  # fmt: skip
    live = by_sub.pop(None)
    for got in by_sub.values():
        assert (got + live).count(0) <= 1
        assert sorted({*got, *live}) == [0, 1]


async def test_cut_again_and_again_nothing_is_lost_or_repeated(site, codec):
    """A reader that loses its connection at random in a flood ends up with all of the text."""
    chance = random.Random(7)
    total = 3000
    text, expected, cursor = [], 0, None
    async with connect(site.ws, codec) as publisher:
        await publisher.publish(CHAT + "turnStarted", started())
        sent = 0
        while expected < total:
            async with connect(site.ws, codec) as reader:
                fields = {"replay": "history"} if cursor is None else {"after": cursor}
                id = await reader.ask("subscribe", topic=TOKEN, key="s", **fields)
                for _ in range(chance.randrange(1, 40)):
                    if sent < total:
                        count = min(total - sent, chance.randrange(1, 30))
                        await publisher.send(*[
                            {"op": "publish", "topic": TOKEN, "body": token(i, f"{i} ")}
                            for i in range(sent, sent + count)
                        ])  # fmt: skip
                        sent += count
                    if expected == total:
                        break
                    event = await reader.get("event")
                    assert event.get("sub", id) == id
                    body = event["body"]
                    assert body["tokenIndex"] == expected
                    expected += body.get("tokenCount", 1)
                    text.append(body["token"])
                    cursor = event["cursor"]
                answers = [m for m in reader.inbox if m["op"] == "subscribed"]
                assert all(a.get("recovered", True) for a in answers)
    assert "".join(text) == "".join(f"{i} " for i in range(total))
