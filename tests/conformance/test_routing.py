"""Who gets what: topics, patterns, keys, and several subscriptions on one connection."""

import pytest

from .agent import status
from .client import connect


async def received(peer):
    """The events that have come, by body, once everything is through."""
    return [m["body"] for m in await peer.barrier() if m["op"] == "event"]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("workflow", ["workflow"], ["workflow.a"]),
        ("workflow.a", ["workflow.a"], ["workflow", "workflow.A", "workflow.a.b", "workflow.ab"]),
        ("workflow.*", ["workflow.a", "workflow.b-_1"], ["workflow", "workflow.a.b"]),
        ("workflow.>", ["workflow.a", "workflow.a.b.c.d"], ["workflow"]),
        ("workflow.*.done", ["workflow.a.done"], ["workflow.done", "workflow.a.b.done"]),
        ("workflow.*.*", ["workflow.a.b"], ["workflow.a", "workflow.a.b.c"]),
        ("workflow.*.>", ["workflow.a.b", "workflow.a.b.c"], ["workflow", "workflow.a"]),
        ("*.a", ["workflow.a"], ["workflow.b", "workflow.a.a"]),
        ("*", ["workflow"], ["workflow.a"]),
        (">", ["workflow", "workflow.a", "workflow.a.b"], []),
        ("*.>", ["workflow.a", "workflow.a.b"], ["workflow"]),
        ("workflow." + ".".join("*" * 15), ["workflow" + ".x" * 15], ["workflow" + ".x" * 14]),
    ],
)
async def test_a_pattern_delivers_what_it_matches(site, pattern, matching, others):
    """`*` is exactly one level, a final `>` one or more; case matters."""
    async with connect(site.server("bas")) as peer, connect(site.server("bas")) as publisher:
        await peer.subscribe(pattern)
        for topic in [*others, *matching]:
            await publisher.publish(topic, topic)
        assert await received(peer) == matching


async def test_bad_patterns(peer):
    """What is neither topic nor pattern is `bad_pattern`."""
    for pattern in (
        "", ".", "a..b", ".a", "a.", "a.>.b", "a.b>", "a.*b", "a b", "ä", "agent/chat", "a.>>",
        "agent.chat.token\n", "x" * 256, ".".join("x" * 17), ".".join("*" * 17), "\x00",
    ):  # fmt: skip
        id = await peer.ask("subscribe", topic=pattern)
        error = await peer.get("error", id=id)
        assert error["code"] == "bad_pattern", pattern
    assert not await peer.barrier()


async def test_bad_topics(open_peer):
    """A publish needs a topic: a pattern is none."""
    for topic in (
        "", ".", "workflow.", "workflow..a", "workflow.*", "workflow.>", "workflow.ä", "workflow a",
        "workflow.a\n", "workflow" + ".a" * 16, "workflow." + "x" * 250, "\x00",
    ):  # fmt: skip
        error = await open_peer.refused(topic, {})
        assert error["code"] == "bad_topic", topic
    await open_peer.publish("workflow" + ".a" * 15, {})
    await open_peer.publish("workflow." + "x" * 246, {})


async def test_unknown_topics(peer):
    """A well-formed topic that nobody owns, or that its owner does not know."""
    for topic in ("nope", "nope.x", "agent", "agent.other", "agent.chatter", "agent.chat",
                  "agent.chat.nope", "agent.chat.token.x", "agent.status.x"):  # fmt: skip
        error = await peer.refused(topic, {})
        assert (error["code"], error["topic"]) == ("unknown_topic", topic)
        id = await peer.ask("subscribe", topic=topic)
        assert (await peer.get("error", id=id))["code"] == "unknown_topic"
    id = await peer.ask("subscribe", topic="nope.>")
    assert (await peer.get("error", id=id))["code"] == "unknown_topic"


async def test_a_server_reaches_its_own_namespaces_only(site, codec):
    """What another server has is `namespace_not_here`, for publishing and subscribing."""
    async with connect(site.ws, codec) as chat, connect(site.server("bas"), codec) as bas:
        for peer, topic, pattern in (
            (chat, "workflow.a", "workflow.>"), (bas, "agent.status", "agent.>"),
        ):  # fmt: skip
            error = await peer.refused(topic, {})
            assert (error["code"], error["retryable"]) == ("namespace_not_here", False)
            for wanted in (topic, pattern):
                id = await peer.ask("subscribe", topic=wanted)
                assert (await peer.get("error", id=id))["code"] == "namespace_not_here"


async def test_a_wide_pattern_stays_on_its_server(site):
    """`>` on /ws/chat delivers nothing of another server; on /ws, everything."""
    async with (
        connect(site.ws) as chat,
        connect(site.server(None)) as everything,
        connect(site.server("bas")) as publisher,
    ):
        await chat.subscribe(">")
        await everything.subscribe(">")
        await publisher.publish("workflow.a", "w")
        await everything.publish("agent.status", status())
        assert await received(chat) == [status()]
        assert sorted(map(str, await received(everything))) == sorted(map(str, ["w", status()]))


async def test_a_key_selects_one_stream(site, codec):
    """With a key: that stream alone. Without: every stream, and events without a key."""
    async with connect(site.server("bas"), codec) as keyed, connect(site.server("bas")) as all_:
        await keyed.subscribe("workflow.>", key="k")
        await all_.subscribe("workflow.>")
        for key in ("k", "K", "k ", None, "other", "k"):
            await all_.publish("workflow.a", key, **({} if key is None else {"key": key}))
        assert await received(keyed) == ["k", "k"]
        assert await received(all_) == ["k", "K", "k ", None, "other", "k"]


async def test_a_key_selects_in_each_namespace(site):
    """On a pattern that spans namespaces, a key is that key in each of them."""
    async with connect(site.server(None)) as peer, connect(site.server(None)) as publisher:
        answer = await peer.subscribe(">", key="x")
        assert "cursor" not in answer
        await publisher.publish("agent.status", status("x"))
        await publisher.publish("agent.status", status("y"))
        await publisher.publish("workflow.a", 1, key="x")
        await publisher.publish("workflow.a", 2, key="y")
        assert await received(peer) == [status("x"), 1]


async def test_many_subscriptions_deliver_once(open_peer):
    """However many subscriptions of a connection match, a live event comes once."""
    for pattern in ("workflow.a", "workflow.*", "workflow.>", ">", "*.a", "*.*"):
        await open_peer.subscribe(pattern)
        await open_peer.subscribe(pattern, key="k")
    await open_peer.publish("workflow.a", 1, key="k")
    await open_peer.publish("workflow.a", 2)
    events = [m for m in await open_peer.barrier() if m["op"] == "event"]
    assert [e["body"] for e in events] == [1, 2]
    assert all("sub" not in e and "group" not in e for e in events)


async def test_nothing_follows_unsubscribed(site, codec):
    """Not even what was published before, and waited: `unsubscribed` is the end of it."""
    async with connect(site.server("bas"), codec) as peer:
        await peer.subscribe("workflow.a")
        batch = [{"op": "publish", "topic": "workflow.a", "body": i} for i in range(300)]
        await peer.send(*batch, {"op": "unsubscribe", "id": 500, "topic": "workflow.a"}, *batch)
        await peer.get("unsubscribed", id=500)
        before = len(peer.inbox)
        await peer.publish("workflow.a", "late")
        assert not [m for m in peer.inbox[before:] if m["op"] == "event"]
        assert not [m for m in (await peer.barrier())[before:] if m["op"] == "event"]


async def test_unsubscribing_one_leaves_the_others(open_peer):
    """Subscriptions are named by topic and key; the others go on, once each event."""
    await open_peer.subscribe("workflow.a")
    await open_peer.subscribe("workflow.>", key="k")
    await open_peer.subscribe("workflow.>")
    id = await open_peer.ask("unsubscribe", topic="workflow.>")
    assert await open_peer.get("unsubscribed") == {"op": "unsubscribed", "id": id}
    await open_peer.publish("workflow.a", 1)
    await open_peer.publish("workflow.b", 2)
    await open_peer.publish("workflow.b", 3, key="k")
    assert await received(open_peer) == [1, 3]


async def test_unsubscribing_what_is_not_subscribed(open_peer):
    """It is `not_subscribed`: other keys and patterns that match are something else."""
    await open_peer.subscribe("workflow.a", key="k")
    for fields in ({"topic": "workflow.a"}, {"topic": "workflow.*", "key": "k"},
                   {"topic": "workflow.a", "key": "x"}, {"topic": "nope"}):  # fmt: skip
        id = await open_peer.ask("unsubscribe", **fields)
        assert (await open_peer.get("error", id=id))["code"] == "not_subscribed"
    await open_peer.get("unsubscribed", id=await open_peer.ask(
        "unsubscribe", topic="workflow.a", key="k"
    ))  # fmt: skip
    id = await open_peer.ask("unsubscribe", topic="workflow.a", key="k")
    assert (await open_peer.get("error", id=id))["code"] == "not_subscribed"


async def test_subscribing_again_replaces(open_peer):
    """The same topic and key again is one subscription: one unsubscribe ends it."""
    for _ in range(3):
        await open_peer.subscribe("workflow.a")
    await open_peer.publish("workflow.a", 1)
    assert await received(open_peer) == [1]
    await open_peer.get("unsubscribed", id=await open_peer.ask("unsubscribe", topic="workflow.a"))
    await open_peer.publish("workflow.a", 2)
    assert await received(open_peer) == []


async def test_replacing_loses_and_repeats_nothing(open_peer):
    """Whatever comes while a subscription is replaced is delivered once, in order."""
    await open_peer.subscribe("workflow.a")
    batch = []
    for i in range(200):
        batch.append({"op": "publish", "topic": "workflow.a", "body": i})
        if i % 10 == 5:
            again = {"op": "subscribe", "id": open_peer.id(), "topic": "workflow.a"}
            batch.append(again)
    await open_peer.send(*batch)
    assert [e["body"] for e in await open_peer.events(200)] == list(range(200))
    assert await received(open_peer) == []


async def test_too_many_subscriptions(start, codec):
    """Over the limit: an error; replacing and giving back are still possible."""
    site = await start(limits={"max_subscriptions": 2})
    async with connect(site.server("bas"), codec) as peer:
        assert peer.welcome["limits"]["maxSubscriptions"] == 2
        await peer.subscribe("workflow.a")
        await peer.subscribe("workflow.b")
        id = await peer.ask("subscribe", topic="workflow.c")
        assert (await peer.get("error", id=id))["code"] == "too_many_subscriptions"
        await peer.subscribe("workflow.a")
        await peer.get("unsubscribed", id=await peer.ask("unsubscribe", topic="workflow.a"))
        await peer.subscribe("workflow.c")


async def test_a_bad_key_in_subscribe(open_peer):
    """The rules of keys hold for subscribing too."""
    for key in ("", "\n", "x" * 256):
        id = await open_peer.ask("subscribe", topic="workflow.a", key=key)
        assert (await open_peer.get("error", id=id))["code"] == "bad_message", key


async def test_a_live_cursor_where_the_subscription_is_one_stream(open_peer):
    """`subscribed.cursor` says where live begins: with a key, and nothing replayed."""
    assert (await open_peer.subscribe("workflow.a", key="k"))["cursor"]
    assert "cursor" not in await open_peer.subscribe("workflow.a")
    answer = await open_peer.subscribe("workflow.a", key="k", replay="snapshot")
    assert "cursor" not in answer
    assert "recovered" not in answer
