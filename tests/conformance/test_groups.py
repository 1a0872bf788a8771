"""Work queues in a namespace without a schema: each event goes to one live member."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from .client import connect
from .rawsocket import shake_hands, text

SECRET = "0123456789abcdef"


async def bodies(peer, **fields):
    """The bodies of the events that came until now."""
    return [
        m["body"]
        for m in await peer.barrier()
        if m["op"] == "event" and fields.items() <= m.items()
    ]


@pytest.fixture
def url(site):
    return site.server("bas")


async def test_each_event_goes_to_one_member(url, codec):
    """And they have about as many; the delivery names its group, and has the event's cursor."""
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(connect(url, codec)) for _ in range(3)]
        reader = await stack.enter_async_context(connect(url))
        await reader.subscribe("workflow.>")
        for member in members:
            answer = await member.subscribe("workflow.job", group="g")
            assert answer.keys() == {"op", "id"}
        for n in range(30):
            await reader.publish("workflow.job", n, key="k")
        whole = {e["body"]: e for e in await reader.events(30)}
        shares = [[m for m in await member.barrier() if m["op"] == "event"] for member in members]
        assert [len(share) for share in shares] == [10, 10, 10]
        got = [event for share in shares for event in share]
        assert sorted(e["body"] for e in got) == list(range(30))
        for event in got:
            assert event.pop("group") == "g"
            assert event == whole[event["body"]]


async def test_events_of_one_member_come_in_order(url, codec):
    """Also when many come at once."""
    async with connect(url, codec) as member, connect(url) as publisher:
        await member.subscribe("workflow.>", group="g")
        for first in range(0, 3000, 500):
            await publisher.send(
                *[{"op": "publish", "topic": f"workflow.{n % 3}", "key": str(n % 7), "body": n}
                  for n in range(first, first + 500)]
            )  # fmt: skip
        assert [e["body"] for e in await member.events(3000)] == list(range(3000))


async def test_a_group_is_apart_from_ordinary_subscriptions(url, codec):
    """Those of the same connection as well: it has the event twice, once for each."""
    async with connect(url, codec) as both, connect(url) as publisher:
        await both.subscribe("workflow.job")
        await both.subscribe("workflow.job", group="g")
        await publisher.publish("workflow.job", 1)
        groups = [m.get("group") for m in await both.barrier() if m["op"] == "event"]
        assert sorted(groups, key=str) == [None, "g"]
        await both.get("unsubscribed", id=await both.ask("unsubscribe", topic="workflow.job"))
        await publisher.publish("workflow.job", 2)
        assert [m["group"] for m in await both.barrier() if m["op"] == "event"] == ["g"]


async def test_each_group_has_its_copy(url):
    """Groups of different names know nothing of each other."""
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(connect(url)) for _ in range(4)]
        for index, member in enumerate(members):
            await member.subscribe("workflow.job", group="even" if index % 2 else "odd")
        for n in range(10):
            await members[0].publish("workflow.job", n)
        got = [await bodies(member) for member in members]
        assert sorted(got[0] + got[2]) == sorted(got[1] + got[3]) == list(range(10))


async def test_members_have_what_they_asked_for(url, codec):
    """By pattern and by key: what only one of them wants is that one's."""
    async with (
        connect(url, codec) as keyed,
        connect(url, codec) as wild,
        connect(url) as publisher,
    ):
        assert (await keyed.subscribe("workflow.job", key="k", group="g"))["cursor"]
        await wild.subscribe("workflow.*.b", group="g")
        for topic, key in (("job", "k"), ("job", "x"), ("a.b", "k"), ("a.b", "x")):
            await publisher.publish(f"workflow.{topic}", [topic, key], key=key)
        assert await bodies(keyed) == [["job", "k"]]
        assert await bodies(wild) == [["a.b", "k"], ["a.b", "x"]]


async def test_a_pattern_of_several_namespaces(site):
    """It is a member in each of them."""
    everywhere = site.server(None)
    async with connect(everywhere) as member, connect(everywhere) as publisher:
        await member.subscribe(">", group="g")
        await publisher.publish("workflow.a", 1)
        await publisher.publish("agent.status", {"agentId": "a", "status": "online"})
        await publisher.publish("agent.chat.turnStarted", {
            "sessionId": "s", "turnId": "t", "agentId": "a",
        })  # fmt: skip
        assert len(await bodies(member, group="g")) == 3


async def test_a_member_that_leaves_has_nothing_more(url, codec):
    """The others have it; and once all have left, nobody."""
    async with connect(url, codec) as one, connect(url, codec) as two, connect(url) as publisher:
        for member in (one, two):
            await member.subscribe("workflow.job", group="g")
        id = await one.ask("unsubscribe", topic="workflow.job", group="g")
        await one.get("unsubscribed", id=id)
        for n in range(4):
            await publisher.publish("workflow.job", n)
        assert await bodies(one) == []
        assert await bodies(two) == [0, 1, 2, 3]
        await two.ask("unsubscribe", topic="workflow.job", group="g")
        await two.get("unsubscribed")
        await publisher.publish("workflow.job", 4)
        await two.subscribe("workflow.job", group="g")
        assert await bodies(two) == []


async def test_what_was_never_subscribed(peer):
    """`not_subscribed`: a group's subscription is another one than that without."""
    await peer.subscribe("agent.chat.token", group="g")
    for wrong in ({}, {"group": "h"}, {"group": "g", "key": "k"}):
        id = await peer.ask("unsubscribe", topic="agent.chat.token", **wrong)
        assert (await peer.get("error", id=id))["code"] == "not_subscribed"
    await peer.ask("unsubscribe", topic="agent.chat.token", group="g")
    await peer.get("unsubscribed")


async def test_the_same_again_changes_nothing(url):
    """It is answered, and each event still comes once."""
    async with connect(url) as member:
        for _ in range(3):
            await member.subscribe("workflow.job", group="g")
        await member.publish("workflow.job", 1)
        assert await bodies(member) == [1]
        await member.ask("unsubscribe", topic="workflow.job", group="g")
        await member.get("unsubscribed")
        await member.publish("workflow.job", 2)
        assert await bodies(member) == []


@pytest.mark.parametrize(
    "wrong",
    [{"replay": "snapshot"}, {"replay": "history"}, {"after": "x.1", "key": "k"}, {"group": ""}],
    ids=str,
)
async def test_a_group_has_no_past(peer, wrong):
    """`group` with `replay` or `after` is `bad_message`, and so is one without a name."""
    id = await peer.ask("subscribe", topic="agent.chat.token", **{"group": "g", **wrong})
    assert (await peer.get("error", id=id))["code"] == "bad_message"
    id = await peer.ask("unsubscribe", topic="agent.chat.token", group="g")
    assert (await peer.get("error", id=id))["code"] == "not_subscribed"


async def test_a_place_in_a_group_counts_as_a_subscription(start):
    """Of those that a connection may have."""
    site = await start(limits={"max_subscriptions": 2})
    async with connect(site.server("bas")) as peer:
        await peer.subscribe("workflow.a", group="g")
        await peer.subscribe("workflow.a", group="h")
        await peer.subscribe("workflow.a", group="h")
        for wrong in ({"group": "i"}, {}):
            id = await peer.ask("subscribe", topic="workflow.a", **wrong)
            assert (await peer.get("error", id=id))["code"] == "too_many_subscriptions"


async def test_who_may_not_subscribe_may_not_join(site, peer, monkeypatch):
    """Permission is asked as for any subscription, and nothing is joined."""
    principal = type(next(iter(site.broker.shared.sessions.live)).principal)
    monkeypatch.setattr(principal, "may", lambda self, operation, topic, key: key == "mine")
    id = await peer.ask("subscribe", topic="agent.chat.token", group="g")
    assert (await peer.get("error", id=id))["code"] == "forbidden"
    await peer.subscribe("agent.chat.token", key="mine", group="g")
    chat = next(n for n in site.broker.shared.router.namespaces if n.name == "agent.chat")
    assert chat.groups.members == 1


async def test_a_slow_member_does_not_hold_up_the_others(site):
    """It has what it was given before its socket was full; the rest goes to who reads."""
    url = site.server("bas")
    pad = "x" * 20_000
    async with (
        shake_hands(site.address, "/ws/bas", receive_buffer=4096) as slow,
        connect(url) as quick,
        connect(url) as publisher,
    ):
        await slow.send(text({"op": "subscribe", "id": 1, "topic": "workflow.>", "group": "g"}))
        await slow.get("subscribed")
        await quick.subscribe("workflow.>", group="g")
        for n in range(1000):
            await publisher.publish("workflow.job", [n, pad])
        shares = [[(await quick.get("event"))["body"][0] for _ in range(900)], []]
        everything = asyncio.Event()

        async def read(member, share):
            while True:
                share.append((await member.get("event"))["body"][0])
                if sum(map(len, shares)) == 1000:
                    everything.set()

        tasks = [
            asyncio.create_task(read(member, share))
            for member, share in zip((quick, slow), shares, strict=True)
        ]
        await everything.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert shares == [sorted(share) for share in shares]
        assert sorted(shares[0] + shares[1]) == list(range(1000))


async def test_what_was_not_written_passes_on(site):
    """When the one who was to have it dies. What nobody was given yet waits for nobody."""
    url = site.server("bas")
    async with AsyncExitStack() as dying, connect(url) as publisher, connect(url) as other:
        slow = await dying.enter_async_context(
            shake_hands(site.address, "/ws/bas", receive_buffer=4096)
        )
        await slow.send(text({"op": "subscribe", "id": 1, "topic": "workflow.>", "group": "g"}))
        await slow.get("subscribed")
        for n in range(200):
            await publisher.publish("workflow.job", [n, "x" * 100_000])
        await other.subscribe("workflow.>", group="g")
        got = [(await other.get("event"))["body"][0]]
        assert got[0] > 64
        while got[-1] != 199:
            got.append((await other.get("event"))["body"][0])
        await dying.aclose()
        passed = [(await other.get("event"))["body"][0]]
        while passed[-1] != got[0] - 1:
            passed.append((await other.get("event"))["body"][0])
        assert len(passed) == 64
        assert passed + got == list(range(passed[0], 200))


async def test_a_queue_of_which_more_waits_than_is_retained_ends_its_members(start):
    """They are told with 4108; nobody else is, and nothing waits for them any more."""
    site = await start(namespaces={"workflow": {"history": {"events": 100}}})
    url = site.server("bas")
    async with (
        shake_hands(site.address, "/ws/bas", receive_buffer=4096) as slow,
        connect(url) as publisher,
    ):
        await slow.send(text({"op": "subscribe", "id": 1, "topic": "workflow.>", "group": "g"}))
        await slow.get("subscribed")
        workflow = next(n for n in site.broker.shared.router.namespaces if n.name == "workflow")
        n = 0
        while workflow.groups.members:
            n += 1
            await publisher.publish("workflow.job", [n, "x" * 100_000])
        assert n > 100
        while (await slow.next())["op"] != "goodbye":
            pass
        async with connect(url) as other:
            await other.subscribe("workflow.>", group="g")
            await publisher.publish("workflow.job", "new")
            assert await bodies(other) == ["new"]


async def test_a_member_that_comes_back_in_time_has_its_place(url, codec):
    """What came meanwhile waits for it; nothing goes to the others that it had."""
    mine = f"{url}?client={SECRET}"
    async with connect(url) as publisher:
        async with connect(mine, codec) as first:
            await first.subscribe("workflow.>", group="g")
            await publisher.publish("workflow.job", 1)
            assert await bodies(first) == [1]
        await publisher.publish("workflow.job", 2)
        async with connect(mine, codec) as second:
            await second.subscribe("workflow.>", group="g")
            await publisher.publish("workflow.job", 3)
            assert await bodies(second) == [2, 3]
            async with connect(mine, codec) as third:
                assert await second.close_code() == 4010
                await publisher.publish("workflow.job", 4)
                await third.subscribe("workflow.>", group="g")
                await publisher.publish("workflow.job", 5)
                assert await bodies(third) == [4, 5]


async def test_a_broker_ends_with_members(start):
    """Whatever they have, they are told to come back."""
    site = await start()
    async with connect(site.server("bas")) as member, connect(site.server("bas")) as publisher:
        await member.subscribe("workflow.>", group="g")
        for n in range(100):
            await publisher.ask("publish", topic="workflow.a", body=n)
        await publisher.acked(100)
        stopping = asyncio.create_task(site.broker.stop())
        assert await member.close_code() == 4100
        assert [m["body"] for m in member.inbox if m["op"] == "event"] == list(range(100))
        await stopping
