"""`GET /events`: the same events as over WebSocket, framed as server-sent ones."""

import asyncio

import httpx
import pytest
from unit.timer import Timer

from broker.framing import frame
from broker.server import STREAM_BEAT
from broker.transports.heartbeat import Heartbeat
from broker.transports.sse import Place, Places
from broker.transports.told import Told

from .agent import CHAT, completed, started, token
from .chat import asking, flood, working
from .client import connect
from .sse import events, parse, query, stream, until

PAGE = "Origin: https://chat.example"


@pytest.fixture
async def publisher(site):
    async with connect(site.server(None)) as peer:
        yield peer


@pytest.fixture
async def http(site):
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        yield client


async def test_events_are_those_of_a_websocket(site, publisher):
    """The data is the same object; the id is its cursor; the first says where live begins."""
    await publisher.subscribe("workflow.>", key="k")
    async with events(site, topic="workflow.>", key="k") as reader:
        assert reader.headers["content-type"] == "text/event-stream"
        assert reader.headers["cache-control"] == "no-cache"
        assert reader.headers["x-accel-buffering"] == "no"
        subscribed = await reader.next()
        assert (subscribed.event, subscribed.json["op"]) == ("subscribed", "subscribed")
        assert subscribed.id == subscribed.json["cursor"]
        assert reader.chunks[0].startswith(b"retry: ")
        await publisher.publish("workflow.step", {"text": "one\ntwo"}, key="k")
        event = await reader.get()
        assert event.json == await publisher.get("event")
        assert event.id == event.json["cursor"]
        assert b"\r" not in b"".join(reader.chunks)


async def test_a_body_with_line_breaks_is_framed(site, publisher):
    """Between its parts, JSON may have line breaks: each line is a `data:` of its own."""
    async with events(site, topic="workflow.x", key="k") as reader:
        raw = '{"op":"publish","id":9,"topic":"workflow.x","key":"k","body":{\n"a":\r\n[1,\r2]}}'
        await publisher.send_bytes(raw.encode())
        assert await reader.bodies(1) == [{"a": [1, 2]}]


async def test_one_turn_of_the_loop_is_one_chunk(site, publisher):
    """What is ready together is written together, and no event is cut."""
    async with events(site, topic="workflow.x", key="k") as reader:
        await reader.get("subscribed")
        await publisher.send(
            *[{"op": "publish", "topic": "workflow.x", "key": "k", "body": i} for i in range(50)]
        )
        assert await reader.bodies(50) == list(range(50))
        assert len(reader.chunks) < 25


async def test_resuming_from_the_last_event(site, publisher):
    """`Last-Event-ID` goes on behind the event; it wins over `after` in the address."""
    async with events(site, topic="workflow.x", key="k") as reader:
        begin = (await reader.get("subscribed")).id
        for index in range(3):
            await publisher.publish("workflow.x", index, key="k")
        first = await reader.get()
    for header, after, wanted in (
        (f"Last-Event-ID: {first.id}", begin, [1, 2]),
        ("X-Other: 1", begin, [0, 1, 2]),
        (f"Last-Event-ID: {first.id}", "", [1, 2]),
    ):
        async with events(site, header, topic="workflow.x", key="k", after=after) as reader:
            assert (await reader.get("subscribed")).json["recovered"] is True
            assert await reader.bodies(len(wanted)) == wanted
            replayed = await reader.get("replayed")
            assert replayed.id == replayed.json["cursor"]


async def test_a_cursor_that_is_unknown_recovers_nothing(site, publisher):
    """The snapshot comes instead, and says so."""
    await publisher.publish("workflow.x", 1, key="k")
    async with events(site, "Last-Event-ID: zz.9", topic="workflow.x", key="k") as reader:
        assert (await reader.get("subscribed")).json["recovered"] is False
        assert await reader.bodies(1) == [1]


async def test_resuming_several_streams(site, publisher):
    """The id is made of all cursors; each subscription goes on from its own."""
    wanted = {"topic": ["workflow.x", "agent.chat.>"], "key": ["k", "l"]}
    async with events(site, **wanted) as reader:
        for _ in range(4):
            await reader.get("subscribed")
        await publisher.publish("workflow.x", 1, key="k")
        await publisher.publish("workflow.x", 2, key="l")
        await publisher.publish(CHAT + "turnStarted", started(session="l"))
        last = [await reader.get() for _ in range(3)][1].id
    await publisher.publish("workflow.x", 3, key="k")
    async with events(site, f"Last-Event-ID: {last}", **wanted) as reader:
        first = [await reader.next() for _ in range(4 + 2 + 4)]
        told = [event.json for event in first]
        assert [m["recovered"] for m in told if m["op"] == "subscribed"] == [True] * 4
        got = [(m["topic"], m["body"]) for m in told if m["op"] == "event"]
        assert sorted(got, key=str) == [
            ("agent.chat.turnStarted", started(session="l")),
            ("workflow.x", 3),
        ]
        await publisher.publish("workflow.x", 4, key="l")
        assert await reader.bodies(1) == [4]
    async with events(site, f"Last-Event-ID: {last}", topic="workflow.x", key="k") as reader:
        assert (await reader.get("subscribed")).json["recovered"] is False  # others were asked for


async def test_without_a_key_there_is_nothing_to_resume_from(site, publisher):
    """Every stream comes, and no id; the cursors are in the data."""
    async with events(site, topic="workflow.>") as reader:
        assert (await reader.get("subscribed")).id is None
        await publisher.publish("workflow.x", 1, key="k")
        event = await reader.get()
        assert event.id is None
        assert event.json["cursor"]


async def test_a_snapshot_then_what_comes(site, publisher):
    """An open turn as `replay: snapshot` tells it, then live."""
    await publisher.publish(CHAT + "turnStarted", started())
    for index, text in enumerate("abc"):
        await publisher.publish(CHAT + "token", token(index, text))
    async with events(site, topic=CHAT + ">", key="s", replay="snapshot") as reader:
        start, text = await reader.bodies(2)
        assert (start["turnId"], text["token"], text["tokenCount"]) == ("t", "abc", 3)
        await reader.get("replayed")
        await publisher.publish(CHAT + "turnCompleted", completed(text="abc"))
        assert (await reader.bodies(1))[0]["fullText"] == "abc"


async def test_merging_on_request(site, publisher):
    """`rollupMs` is that of `subscribe`."""
    await publisher.publish(CHAT + "turnStarted", started())
    async with events(site, topic=CHAT + "token", key="s", rollupMs=40) as reader:
        await reader.get("subscribed")
        for index in range(20):
            await publisher.publish(CHAT + "token", token(index))
        count, got = 0, 0
        while count < 20:
            [body] = await reader.bodies(1)
            assert body["tokenIndex"] == count
            count += body.get("tokenCount", 1)
            got += 1
        assert got < 20


async def test_a_slow_reader_gets_all_of_the_text_and_what_is_urgent_first(site, publisher):
    """It reads nothing while 6 MB of tokens come: they are merged; a workflow event overtakes."""
    path = "/events?" + query(topic=[CHAT + "token", "workflow.>"], key="s")
    async with stream(site.address, path, receive_buffer=4096) as reader:
        for _ in range(2):
            await reader.get("subscribed")
        await publisher.publish(CHAT + "turnStarted", started())
        piece = "lorem ipsum " * 40
        for first in range(0, 12_000, 100):
            batch = [
                {"op": "publish", "topic": CHAT + "token", "body": token(i, f"{i} {piece}")}
                for i in range(first, first + 100)
            ]
            await publisher.send(*batch)
        await publisher.publish("workflow.urgent", 1, key="s")
        expected = taken = before_urgent = 0
        while expected < 12_000:
            event = await reader.get()
            if event.json["topic"] == "workflow.urgent":
                before_urgent = sum(map(len, reader.chunks))
                continue
            taken += 1
            body = event.json["body"]
            assert body["tokenIndex"] == expected
            count = body.get("tokenCount", 1)
            assert body["token"] == "".join(
                f"{i} {piece}" for i in range(expected, expected + count)
            )
            expected += count
        assert taken < 6_000
        assert 0 < before_urgent < 512 << 10


async def test_a_reader_that_refuses_merging_is_told_to_come_back(site, publisher):
    """4108, in an event of the protocol's own; then the response ends."""
    path = "/events?" + query(topic=CHAT + "token", key="s", coalesce="never")
    async with stream(site.address, path, receive_buffer=4096) as reader:
        await reader.get("subscribed")
        await publisher.publish(CHAT + "turnStarted", started())
        for first in range(0, 10_000, 100):
            await publisher.send(
                *[
                    {"op": "publish", "topic": CHAT + "token", "body": token(i, "x" * 300)}
                    for i in range(first, first + 100)
                ]
            )
        await publisher.barrier()
        goodbye = (await reader.rest())[-1]
        assert (goodbye.event, goodbye.json["code"]) == ("goodbye", 4108)
        assert reader.ended


async def test_silence_is_filled_with_comments(start):
    """At least one in a heartbeat (and every 15 s): what lies between must not end it."""
    site = await start(heartbeat={"interval": 0.05})
    async with events(site, topic="workflow.x") as reader:
        await reader.get("subscribed")
        assert await reader.chunk() == b": heartbeat\n\n"
        assert await reader.chunk() == b": heartbeat\n\n"


async def test_a_reader_that_takes_nothing_is_cut_off(start):
    """For two heartbeats; one that has nothing to take is not."""
    site = await start(heartbeat={"interval": 0.05})
    path = "/events?" + query(topic="workflow.x")
    live = site.broker.shared.sessions.live
    async with connect(site.server("bas")) as publisher, events(site, topic="workflow.y") as idle:
        async with stream(site.address, path, receive_buffer=4096):
            for _ in range(60):
                await publisher.publish("workflow.x", "x" * 100_000)
            await until(lambda: len(live) == 2)
        await publisher.publish("workflow.y", 1)
        assert await idle.bodies(1) == [1]


@pytest.mark.parametrize("asks", [False, True])
async def test_who_reads_nothing_for_ever(site, asks):
    """Whatever comes meanwhile, it holds a place and what its socket took; and is cut off when
    it has taken nothing for 20 s, and before 25. A stream of the broker's, and of a question's."""
    timer = Timer()
    beats = site.broker.shared.beats = Heartbeat(STREAM_BEAT, timer.call_later)
    beats.start()
    live = site.broker.shared.sessions.live
    path = "/events?" + query(topic=CHAT + ">")
    async with working(site) as agent:
        others = set(live)
        if asks:
            opened = asking(site, "octopus", receive_buffer=4096)
        else:
            opened = stream(site.address, path, receive_buffer=4096)
        async with opened:
            if asks:
                await agent.start()
            else:
                await agent.say("turnStarted", started())
            await flood(agent, 6000)
            [stalled] = live - others
            assert [queue.depth for queue in stalled.reader.queues.values()] == [1]
            connection = stalled.outbox.wire._connection
            assert connection.transport.get_write_buffer_size() < 64 << 10
            timer.advance(19)
            assert not connection.transport.is_closing()
            timer.advance(6)
            assert connection.transport.is_closing()
            await until(lambda: live == others)


async def test_under_tls(start, identity):
    """More than any buffer holds, to the end: what is under way does not stall."""
    site = await start(listen=identity.listen)
    async with (
        connect(site.server("bas"), ssl=identity.trust) as publisher,
        httpx.AsyncClient(base_url=site.url, verify=identity.trust, trust_env=False) as http,
        http.stream("GET", "/events?topic=workflow.x&key=k") as response,
    ):
        lines = response.aiter_lines()
        while "subscribed" not in await anext(lines):
            pass
        for number in range(100):
            body = f"{number} " + "x" * 100_000
            await publisher.publish("workflow.x", body, key="k")
        got = 0
        async for line in lines:
            if line.startswith("data: ") and '"op":"event"' in line:
                assert f'"body":"{got} ' in line
                got += 1
                if got == 100:
                    break


async def test_a_broker_that_stops_says_goodbye(start):
    """What is queued is delivered, then a `goodbye` with 4100; the response is complete."""
    site = await start()
    async with connect(site.server(None)) as publisher, events(site, topic="workflow.x") as reader:
        await reader.get("subscribed")
        await publisher.publish("workflow.x", 1)
        stopping = asyncio.create_task(site.broker.stop())
        assert await reader.bodies(1) == [1]
        [goodbye] = await reader.rest()
        assert (goodbye.event, goodbye.json["code"]) == ("goodbye", 4100)
        await stopping


async def test_a_reader_that_leaves_leaves_nothing_behind(site, publisher):
    """Its subscriptions and its session go with its connection."""
    async with events(site, topic="workflow.x"):
        assert len(site.broker.shared.sessions.live) == 2
    await until(lambda: len(site.broker.shared.sessions.live) == 1)


# ----------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("path", "status", "code", "field"),
    [
        ("/events", 422, "bad_message", "topic"),
        ("/events?topic=workflow.x&rollupMs=x", 422, "bad_message", "rollupMs"),
        ("/events?topic=workflow.x&rollupMs=10001", 422, "bad_message", "rollupMs"),
        ("/events?topic=workflow.x&replay=all", 422, "bad_message", "replay"),
        ("/events?topic=workflow.x&coalesce=maybe", 422, "bad_message", "coalesce"),
        ("/events?topic=workflow.x&group=g", 422, "bad_message", "group"),
        ("/events?topic=workflow.x&" + query(key=list(range(33))), 422, "bad_message", "topic"),
        ("/events?topic=a..b", 422, "bad_pattern", "topic"),
        ("/events?topic=workflow.x&key=", 422, "bad_message", "key"),
        ("/events?topic=workflow.x&after=a.1", 422, "bad_cursor", "after"),
        ("/events?topic=nobody.x", 404, "unknown_topic", None),
        ("/events/chat?topic=workflow.x", 404, "namespace_not_here", None),
        ("/events/nope?topic=workflow.x", 404, "unknown_server", None),
    ],
)
async def test_what_cannot_be_asked_for(http, path, status, code, field):
    """An HTTP status, and the protocol's `error` with the field."""
    answer = await http.get(path)
    assert answer.status_code == status
    error = answer.json()
    assert (error["op"], error["code"]) == ("error", code)
    assert error.get("detail", {}).get("field") == field


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/events?topic=w&replay=all", "replay: 'all' is none of 'history', 'none', 'snapshot'"),
        ("/events?topic=w&coalesce=maybe", "coalesce: 'maybe' is none of 'auto', 'never'"),
        ("/events/nope?topic=w", "unknown server 'nope'; there are: bas, chat"),
    ],
)
async def test_what_could_be_asked_for(http, path, message):
    """What is none of several is answered with them."""
    assert (await http.get(path)).json()["message"] == message


async def test_other_methods_and_types(http):
    """405 for another method, 406 for another type."""
    answer = await http.post("/events?topic=workflow.x")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    answer = await http.get("/events?topic=workflow.x", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    for accept in ("text/*;q=0.1", "*/*", "image/png, text/event-stream"):
        head = await http.head("/events?topic=workflow.x", headers={"Accept": accept})
        assert head.status_code == 200


async def test_pages_that_may_not_connect_are_refused(site, http, start):
    """The rules of WebSockets; who may also reads the answer (CORS)."""
    origin = {"Origin": "https://chat.example"}
    path = "/events?topic=workflow.x"
    refused = await http.head(path, headers=origin)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    assert (await http.options("/publish", headers=asked)).status_code == 403
    listed = await start(auth={"origins": ["https://chat.example"]})
    async with stream(listed.address, path, PAGE) as reader:
        assert reader.headers["access-control-allow-origin"] == "https://chat.example"
        assert reader.headers["vary"] == "Origin"
    async with httpx.AsyncClient(base_url=listed.url, trust_env=False) as client:
        asked["Access-Control-Request-Headers"] = "authorization, content-type"
        granted = await client.options("/publish", headers=asked)
        assert granted.status_code == 204
        assert granted.headers["access-control-allow-headers"] == "authorization, content-type"
        assert "POST" in granted.headers["access-control-allow-methods"]


# ----------------------------------------------------------------- pure parts


def test_a_frame_reads_as_it_was_written():
    """Any line break is one; what is not there has no line."""
    whole = frame(b"a\nb\r\nc\rd", "name", "e.1")
    assert whole == b"id: e.1\nevent: name\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
    [event] = parse(whole.decode())
    assert (event.data, event.event, event.id) == ("a\nb\nc\nd", "name", "e.1")
    assert frame(b"x") == b"data: x\n\n"


def test_places_as_text():
    """Each subscription has its own; what is replayed to one moves no other's."""
    one, two = Place("a.>", "k"), Place("a.x", "k")
    places = Places([one, two])
    assert str(places) == ""
    places.began(Told("subscribed", id=1, cursor="e.5"))
    assert places.passed(Told("event", topic="a.x", key="k", cursor="e.6")) == str(places)
    assert two.cursor == ""  # its replay is still due
    assert places.passed(Told("event", topic="a.x", key="k", cursor="e.2", sub=2))
    assert not places.passed(Told("event", topic="a.x", key="k", sub=2))
    text = str(places)
    places.began(Told("replayed", id=2, cursor="e.6"))
    assert not places.passed(Told("event", topic="a.x", key="other", cursor="e.7"))
    again = Places([Place("a.>", "k"), Place("a.x", "k")])
    again.resume(text)
    assert str(again) == text
    other = Place("b.x", "k"), Place("b.y", "k")
    Places(other).resume(text)
    assert [place.cursor for place in other] == ["-", "-"]


@pytest.mark.parametrize(
    "text",
    [
        "\n\ndata: not ours\n\n",
        "a\rdata: x",
        "\0",
        "\x85",
        "\N{SNOWMAN}",
        "9" * 9_000,
        "a:b,c,d",
        " ",
    ],
)
async def test_a_cursor_that_is_none_is_not_repeated(site, text):
    """It is unknown, as any other, and comes back in no `id`: it could be a line of its own."""
    for keys in (["k"], ["k", "l"]):
        async with events(site, topic="workflow.x", key=keys, after=text) as stream:
            for _ in keys:
                told = await stream.get("subscribed")
                assert told.json["recovered"] is False
                assert told.id is None or len(told.id) < 100, "it is repeated"
                assert "not ours" not in (told.id or "")
