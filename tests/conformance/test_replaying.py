"""Snapshots: what a late subscriber is told, where live begins, and nothing twice."""

from .agent import CHAT, status
from .client import connect
from .engines import both_engines

pytestmark = both_engines


def publish(topic, body, **fields):
    return {"op": "publish", "topic": topic, "body": body, **fields}


def ops(messages):
    """The messages but for acks, as (op, body)."""
    return [(m["op"], m.get("body")) for m in messages if m["op"] != "ack"]


async def test_a_snapshot_of_a_namespace_without_a_schema(site, codec):
    """The last event of each topic and key, with `sub` and no cursor, then `replayed`."""
    async with connect(site.server("bas"), codec) as peer:
        for n, (topic, key) in enumerate(
            [("a", "k"), ("b", "k"), ("a", "k"), ("a", "other"), ("a", None), ("a", None)]
        ):
            fields = {} if key is None else {"key": key}
            await peer.publish(f"workflow.{topic}", n, **fields)
        events, end = await peer.replay("workflow.>")
        assert sorted(e["body"] for e in events) == [1, 2, 3, 5]
        assert all("cursor" not in e and e["time"] > 0 for e in events)
        assert {e["body"]: e.get("key") for e in events} == {1: "k", 2: "k", 3: "other", 5: None}
        assert "cursor" not in end


async def test_a_snapshot_of_one_stream_ends_with_a_cursor(site, codec):
    """With a key, `replayed` says where to resume, also where nothing was there."""
    async with connect(site.server("bas"), codec) as peer:
        await peer.publish("workflow.a", 1, key="k")
        events, end = await peer.replay("workflow.a", key="k")
        assert [e["body"] for e in events] == [1]
        assert isinstance(end["cursor"], str)
        events, end = await peer.replay("workflow.a", key="never")
        assert (events, isinstance(end["cursor"], str)) == ([], True)


async def test_a_snapshot_keeps_to_its_pattern(open_peer):
    """Only what the subscription itself matches is replayed."""
    await open_peer.publish("workflow.a", 1)
    await open_peer.publish("workflow.b", 2)
    await open_peer.publish("workflow.b.c", 3)
    events, _ = await open_peer.replay("workflow.*")
    assert [e["body"] for e in events] == [1, 2]


async def test_every_replay_ends_and_in_order(open_peer):
    """Several replays of one connection each end with their own `replayed`."""
    await open_peer.publish("workflow.a", 1)
    first, second, third = (open_peer.id() for _ in range(3))
    await open_peer.send(
        {"op": "subscribe", "id": first, "topic": "workflow.>", "replay": "snapshot"},
        {"op": "subscribe", "id": second, "topic": "workflow.none", "replay": "snapshot"},
        {"op": "subscribe", "id": third, "topic": "workflow.a", "replay": "snapshot"},
    )
    told = []
    while ("replayed", third) not in [(m["op"], m.get("id")) for m in told]:
        told.append(await open_peer.next())
    told = [m for m in told if m["op"] in ("event", "replayed")]
    assert [(m["op"], m.get("sub", m.get("id"))) for m in told] == [
        ("event", first), ("replayed", first), ("replayed", second), ("event", third),
        ("replayed", third),
    ]  # fmt: skip


async def test_subscribing_again_replays_again(open_peer):
    """Replacing a subscription gives it its snapshot anew, under the new id."""
    await open_peer.publish("workflow.a", 1)
    for _ in range(3):
        events, _ = await open_peer.replay("workflow.a")
        assert [e["body"] for e in events] == [1]
    await open_peer.publish("workflow.a", 2)
    assert ops(await open_peer.barrier()) == [("event", 2)]


async def test_a_replay_is_for_its_subscription_alone(site):
    """Another subscription, and another connection, get nothing of it."""
    async with connect(site.server("bas")) as peer, connect(site.server("bas")) as neighbour:
        await neighbour.subscribe("workflow.>")
        await peer.subscribe("workflow.>")
        await neighbour.publish("workflow.a", 1)
        assert (await peer.get("event"))["body"] == 1
        id = (await peer.subscribe("workflow.a", replay="snapshot"))["id"]
        told = [m for m in await peer.barrier() if m["op"] == "event"]
        assert [m["sub"] for m in told] == [id]
        assert ops(await neighbour.barrier()) == [("event", 1)]


async def test_live_waits_until_replayed(site, codec):
    """Before `replayed`, only events of the replay; behind it, only live ones, none twice."""
    async with connect(site.server("bas"), codec) as peer:
        await peer.publish("workflow.a", "old")
        id = peer.id()
        await peer.send(
            {"op": "subscribe", "id": id, "topic": "workflow.>", "replay": "snapshot"},
            publish("workflow.a", "first"),
            publish("workflow.b", "second"),
        )
        await peer.publish("workflow.c", "third")
        told = [m for m in await peer.barrier() if m["op"] in ("event", "replayed")]
        end = [m["op"] for m in told].index("replayed")
        assert all(m["sub"] == id for m in told[:end])
        assert all("sub" not in m for m in told[end + 1 :])
        bodies = [m["body"] for m in told if m["op"] == "event"]
        assert len(bodies) == len(set(bodies))
        assert {"first", "second", "third"} <= set(bodies)


async def test_what_was_queued_comes_before_its_replay_or_not_at_all(site, codec):
    """A publish just before the subscribe reaches it once: replayed, or live behind it."""
    async with connect(site.server("bas"), codec) as peer:
        for n in range(20):
            id = peer.id()
            await peer.send(
                publish("workflow.a", n),
                {"op": "subscribe", "id": id, "topic": "workflow.a", "replay": "snapshot"},
            )
            await peer.get("replayed", id=id)
            await peer.get("event", body=n)
            assert [m for m in await peer.barrier() if m.get("body") == n] == []
            await peer.get("unsubscribed", id=await peer.ask("unsubscribe", topic="workflow.a"))


async def test_a_replay_in_a_stream_of_events(site, codec):
    """While others publish without a pause: the snapshot, then every later event, in order."""
    async with connect(site.server("bas")) as publisher, connect(site.server("bas"), codec) as peer:
        await publisher.publish("workflow.a", -1)
        for start in range(0, 3000, 100):
            await publisher.send(*[publish("workflow.a", n) for n in range(start, start + 100)])
            if start == 1000:
                await peer.ask("subscribe", topic="workflow.a", replay="snapshot")
        told = [await peer.next()]
        while told[-1]["op"] != "replayed":
            told.append(await peer.next())
        assert [m["op"] for m in told] == ["subscribed", "event", "replayed"]
        await publisher.publish("workflow.a", "end")
        live = [(await peer.next())["body"]]
        while live[-1] != "end":
            live.append((await peer.next())["body"])
        assert live == [*range(told[1]["body"] + 1, 3000), "end"]


async def test_agent_status_is_retained(site, codec):
    """The last status of each agent comes without asking for a replay."""
    async with connect(site.ws) as publisher, connect(site.ws, codec) as peer:
        await publisher.publish("agent.status", status("a", "online"))
        await publisher.publish("agent.status", status("b", "offline", detail={"why": "x"}))
        await publisher.publish("agent.status", status("a", "busy", activeTurns=2))
        for fields in ({}, {"replay": "none"}, {"replay": "snapshot"}):
            answer = await peer.subscribe("agent.status", **fields)
            assert "cursor" not in answer
            told = [m for m in await peer.barrier() if m["op"] in ("event", "replayed")]
            assert [(m["op"], m.get("sub", m.get("id"))) for m in told] == [
                ("event", answer["id"]), ("event", answer["id"]), ("replayed", answer["id"]),
            ]  # fmt: skip
            bodies = {m["body"]["agentId"]: m["body"] for m in told if m["op"] == "event"}
            assert bodies["a"] == status("a", "busy", activeTurns=2)
            assert bodies["b"] == status("b", "offline", detail={"why": "x"})
            assert "cursor" not in told[-1]
        one, end = await peer.replay("agent.status", key="b", replay="none")
        assert [m["body"]["agentId"] for m in one] == ["b"]
        assert end["cursor"]
        await publisher.publish("agent.status", status("b", "online"))
        live = [m for m in await peer.barrier() if m["op"] == "event"]
        assert [(m["body"]["status"], m["key"]) for m in live] == [("online", "b")]


async def test_a_pattern_over_both_agent_namespaces(site, codec):
    """`agent.>` replays what is retained, and ends once, with both namespaces live."""
    async with connect(site.ws, codec) as peer:
        await peer.publish("agent.status", status("a"))
        answer = await peer.subscribe("agent.>")
        told = await peer.barrier()
        assert ops(told) == [("event", status("a")), ("replayed", None)]
        await peer.publish("agent.status", status("a", "busy"))
        await peer.publish(CHAT + "turnStarted", {"sessionId": "s", "turnId": "t", "agentId": "a"})
        live = [m for m in await peer.barrier() if m["op"] == "event"]
        assert {m["topic"] for m in live} == {"agent.status", CHAT + "turnStarted"}
        assert all("sub" not in m for m in live)
        assert answer["id"] == told[0].get("sub", told[1].get("sub"))


async def test_unsubscribing_ends_a_replay(site, codec):
    """Behind `unsubscribed` neither events of the replay nor its end follow."""
    async with connect(site.server("bas"), codec) as peer:
        for n in range(300):
            await peer.send(publish(f"workflow.t{n}", "x" * 1000))
        await peer.publish("workflow.end", 1)
        sub, end = peer.id(), peer.id()
        await peer.send(
            {"op": "subscribe", "id": sub, "topic": "workflow.>", "replay": "snapshot"},
            {"op": "unsubscribe", "id": end, "topic": "workflow.>"},
        )
        told = [m for m in await peer.barrier() if m["op"] != "ack"]
        told = told[[m["op"] for m in told].index("unsubscribed") + 1 :]
        assert not told


async def test_time_is_acceptance_in_ms(open_peer):
    """A replayed event has the time of its acceptance, not of the replay."""
    await open_peer.subscribe("workflow.b")
    await open_peer.publish("workflow.b", 1)
    live = await open_peer.get("event")
    [replayed], _ = await open_peer.replay("workflow.b")
    assert replayed["time"] == live["time"] > 1_500_000_000_000


async def test_live_events_wait_until_every_namespace_is_replayed(site, codec):
    """Of a pattern that spans namespaces, a quiet one's replay is through long before a large
    one's: what comes meanwhile comes behind `replayed`, when the subscription is live."""
    async with connect(site.server(None), codec) as publisher:
        for n in range(100):
            await publisher.publish("workflow.a", {"n": n, "pad": "x" * 20_000}, key="k")
        await publisher.publish("agent.status", status("a"))
        async with connect(site.server(None), codec) as reader:
            id = await reader.ask("subscribe", topic=">", replay="history")
            first = await reader.get("event")
            assert first["sub"] == id
            await publisher.publish("agent.status", status("a", "busy"))
            await reader.get("replayed", id=id)
            assert [m for m in reader.inbox if m["op"] == "event" and "sub" not in m] == []
            live = await reader.get("event", topic="agent.status", body=status("a", "busy"))
            assert "sub" not in live
