"""A chat turn over HTTP: what every dialect shares, through real sockets."""

import asyncio

import httpx
import pytest

from plugins.agent.dialects import DIALECTS

from .agent import CHAT, completed, failed, started, token
from .chat import ASK, SOON, asking, options, settled, working
from .sse import parse, until


@pytest.fixture
async def agent(site):
    async with working(site) as it:
        yield it


@pytest.fixture
async def http(site):
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        yield client


# ----------------------------------------------------------------- a turn


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_turn_streams_from_question_to_end(site, agent, dialect, monkeypatch):
    """Each event is one write, as it comes; then the response is complete."""
    monkeypatch.setattr(DIALECTS["guide"].__class__, "lingers", SOON)
    async with asking(site, dialect) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["connection"] == "keep-alive"
        assert response.headers["x-accel-buffering"] == "no"
        message = await agent.start()
        assert (message["sessionId"], message["text"]) == ("s", "Hi")
        before = len(response.chunks)
        await agent.tokens("Hello|, \n|you")
        while b"you" not in b"".join(response.chunks):
            assert await response.chunk()
        assert len(response.chunks) - before >= 3
        await agent.say("turnCompleted", completed(text="Hello, \nyou"))
        while await response.chunk():
            pass
        text = b"".join(response.chunks).decode()
        assert "id:" not in text
        assert all(each.data for each in parse(text))
    await settled(site, 1)


async def test_other_turns_of_the_session_are_not_in_it(site, agent):
    """Neither those that are open, nor those that come."""
    await agent.say("turnStarted", started("other"))
    async with asking(site, "strakly") as response:
        await agent.start()
        await agent.tokens("no", turn="other")
        await agent.tokens("yes")
        await agent.say("error", failed("other"))
        await agent.say("turnCompleted", completed(text="yes"))
        data = [event.data for event in await response.rest()]
        assert data == ['{"conversation_id":"s"}', '{"token":"yes"}', "[DONE]"]


async def test_one_json_answer(site, agent, http):
    """Where the dialect says so: the whole answer at once, or why there is none."""
    path, body = ASK["strakly"]
    asked = asyncio.create_task(http.post(path, json=body))
    await agent.start()
    await agent.tokens("Hello")
    await agent.say("turnCompleted", completed(text="Hello"))
    answer = await asked
    assert (answer.status_code, answer.json()["response"]) == (200, "Hello")
    asked = asyncio.create_task(http.post(path, json=body))
    await agent.start("t2")
    await agent.say("error", failed("t2"))
    answer = await asked
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "api")
    await settled(site, 1)


@pytest.mark.parametrize(
    ("stream", "accept", "kind"),
    [
        ({}, "text/event-stream", "application/json"),
        ({"stream": False}, "text/event-stream, application/json;q=0.1", "application/json"),
        ({"stream": True}, "application/json", "text/event-stream"),
    ],
)
async def test_the_guide_is_answered_as_stream_says(site, agent, http, stream, accept, kind):
    """Or as its absence does: whatever `Accept` prefers, if it takes one of both."""
    path, body = ASK["guide"]
    content = {**body, **stream}
    asked = asyncio.create_task(
        http.post(path.partition("?")[0], json=content, headers={"Accept": accept})
    )
    await agent.start()
    await agent.say("turnCompleted", completed(text="Hello"))
    answer = await asked
    assert answer.headers["content-type"] == kind
    assert "Hello" in answer.text


async def test_a_failed_turn_ends_the_stream_in_the_dialect_s_own_way(site, agent):
    """Once its head is out, only the stream can tell."""
    async with asking(site, "opshub") as response:
        await agent.start()
        await agent.tokens("Hel")
        await agent.say("error", failed())
        *_, last = await response.rest()
        assert last.json == {"type": "error", "message": "no"}


async def test_a_message_that_nobody_takes_up_ends_too(start):
    """The broker's own error for a message, of which there never was a turn."""
    site = await start(**options(start_limit=SOON))
    async with working(site) as agent, asking(site, "opshub") as response:
        await agent.given()
        [last] = await response.rest()
        assert last.json["type"] == "error"


async def test_what_is_told_behind_the_end_is_waited_for(site, agent):
    """The guide tells that the answer was saved, if it is soon."""
    async with asking(site, "guide") as response:
        await agent.start()
        await agent.say("turnCompleted", completed(text="Hello"))
        await agent.say("messageSaved", {"sessionId": "s", "turnId": "t", "messageId": "m"})
        kinds = [event.json["type"] for event in await response.rest()]
        assert kinds[-3:] == ["agent_response", "message_saved", "stream_end"]


async def test_what_is_said_of_a_message_late_does_not_end_its_turn(site, agent):
    """An error that names no turn, and what was heard: the turn goes on."""
    async with asking(site, "guide") as response:
        message = await agent.start()
        of = {"sessionId": "s", "messageId": message["messageId"]}
        await agent.say("error", {**of, "code": "late", "message": "no", "retryable": False})
        await agent.say("transcription", {**of, "text": "Hi"})
        await agent.tokens("Hello")
        await agent.say("turnCompleted", completed(text="Hello"))
        await agent.say("messageSaved", {"sessionId": "s", "turnId": "t", "messageId": "m"})
        kinds = [event.json["type"] for event in await response.rest()]
        assert kinds == ["stream_start", "token", "agent_response", "message_saved", "stream_end"]


# ----------------------------------------------------------------- without a worker


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_without_a_worker_there_is_no_stream(start, dialect):
    """503, and a JSON body that says so."""
    site = await start(**options(worker_wait=SOON))
    path, body = ASK[dialect]
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        answer = await http.post(path, json=body, headers={"Accept": "text/event-stream"})
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert (error["code"], error["retryable"]) == ("no_worker", True)
    await settled(site, 0)


async def test_the_head_waits_for_a_worker(site, http):
    """One that comes within `worker_wait` is early enough."""
    path, body = ASK["strakly"]
    asked = asyncio.create_task(http.post(path, json=body))
    await until(lambda: site.broker.shared.router.namespaces[0].waiting)
    async with working(site) as agent:
        await agent.start()
        await agent.say("turnCompleted", completed(text="late"))
        assert (await asked).json()["response"] == "late"


# ----------------------------------------------------------------- the same again


async def test_a_repeated_question_attaches_to_its_open_turn(site, agent):
    """It is told the turn from its beginning; nobody is asked anew."""
    async with asking(site, "octopus") as first:
        await agent.start()
        await agent.tokens("Hel|lo")
        while b"lo" not in b"".join(first.chunks):
            await first.chunk()
        async with asking(site, "octopus") as again, asking(site, "strakly") as other:
            await agent.tokens("!", first=2)
            await agent.say("turnCompleted", completed(text="Hello!"))
            for response in (first, again):
                await response.rest()
                events = parse(b"".join(response.chunks).decode())
                assert [event.event for event in events] == [
                    "turn_start", "token", "token", "token", "turn_end",
                ]  # fmt: skip
                words = [event.json.get("text", "") for event in events]
                assert "".join(words) == "Hello!"
            assert '{"token":"!"}' in [event.data for event in await other.rest()]
    assert not [m for m in await agent.peer.barrier() if m["op"] == "event"]


async def test_one_that_nobody_has_taken_up_is_attached_to_as_well(site, agent):
    """Between the message and its turn."""
    async with asking(site, "opshub") as first, asking(site, "opshub") as again:
        await agent.start()
        await agent.say("turnCompleted", completed(text="Hello"))
        for response in (first, again):
            [text, done] = await response.rest()
            assert (text.json["content"], done.json["finalMessage"]) == ("Hello", "Hello")
    assert not [m for m in await agent.peer.barrier() if m["op"] == "event"]


async def test_two_that_wait_for_a_worker_are_one(site, http):
    """The front end's retry comes while the broker still waits."""
    path, body = ASK["strakly"]
    waiting = site.broker.shared.router.namespaces[0].waiting
    asked = []
    for _ in range(2):
        asked.append(asyncio.create_task(http.post(path, json=body)))
        await until(lambda: len(waiting) == len(asked))
    async with working(site) as agent:
        await agent.start()
        await agent.say("turnCompleted", completed(text="once"))
        for each in asked:
            assert (await each).json()["response"] == "once"
        assert not [m for m in await agent.peer.barrier() if m["op"] == "event"]


async def test_the_same_words_later_or_elsewhere_are_another_question(site, agent):
    """When the turn has ended; from another session; or other words."""
    ids = set()
    for number, changed in enumerate([{}, {}, {"message": "Ho"}, {"sessionId": "s2"}]):
        async with asking(site, "opshub", body=changed) as response:
            message = await agent.given()
            ids.add(message["messageId"])
            session = message["sessionId"]
            begun = started(f"t{number}", session, messageId=message["messageId"])
            await agent.say("turnStarted", begun)
            await agent.say("turnCompleted", completed(f"t{number}", session, text="x"))
            await response.rest()
    assert len(ids) == 4


async def test_one_whose_turn_was_told_to_stop_is_asked_anew(site, agent):
    """Though that turn has not ended yet: what it says is not an answer any more."""
    async with asking(site, "octopus") as first:
        await agent.start("old")
        await agent.say("cancel", {"sessionId": "s", "turnId": "old"})
        async with asking(site, "octopus") as again, asking(site, "octopus") as third:
            await agent.start("new")
            await agent.say("turnCompleted", completed("old", finishReason="cancelled"))
            assert [event.event for event in await first.rest()][-1] == "turn_end"
            await agent.tokens("Hello", turn="new")
            await agent.say("turnCompleted", completed("new", text="Hello"))
            for response in (again, third):
                begun, text, end = await response.rest()
                assert (begun.json["turn_id"], end.json["turn_id"]) == ("new", "new")
                assert text.json["text"] == "Hello"
    assert not [m for m in await agent.peer.barrier() if m["op"] == "event"]


@pytest.mark.parametrize(
    ("dialect", "one", "other"),
    [
        ("guide", {"chatModelId": "a"}, {"chatModelId": "b"}),
        ("strakly", {"branch_id": "a"}, {}),
        ("opshub", {"userId": "a\nb", "message": "c"}, {"userId": "a", "message": "b\nc"}),
    ],
)
async def test_what_differs_in_anything_is_another_question(site, agent, dialect, one, other):
    """The same words of another branch, to another model, or of another user."""
    async with asking(site, dialect, body=one), asking(site, dialect, body=other):
        ids = {(await agent.given())["messageId"] for _ in range(2)}
        assert len(ids) == 2


# ----------------------------------------------------------------- the reader goes away


async def test_a_reader_that_goes_away_leaves_the_turn_alone(site, agent):
    """Its session ends with it; the turn goes on, and can be attached to."""
    async with asking(site, "octopus") as response:
        await agent.start()
        await agent.tokens("Hel")
        assert await response.get("turn_start")
    await settled(site, 1)
    await agent.tokens("lo", first=1)
    async with asking(site, "octopus") as again:
        await agent.say("turnCompleted", completed(text="Hello"))
        texts = [e.json["text"] for e in await again.rest() if e.event == "token"]
        assert "".join(texts) == "Hello"
    assert not [m for m in await agent.peer.barrier() if m["op"] == "event"]


async def test_where_the_dialect_says_so_it_is_a_cancel(start):
    """OpsHub's Stop button aborts the request: after a grace, the turn's owner is told."""
    site = await start(**options(cancel_grace=SOON))
    async with working(site) as agent:
        async with asking(site, "opshub") as response:
            await agent.start()
            await agent.tokens("Hel")
            assert await response.get()
        assert (await agent.cancelled())["turnId"] == "t"
        await settled(site, 1)


async def test_a_cancel_waits_for_its_turn(start):
    """The reader was gone before a worker began."""
    site = await start(**options(cancel_grace=SOON))
    async with working(site) as agent:
        async with asking(site, "opshub"):
            message = await agent.given()
        await agent.say("turnStarted", started(messageId=message["messageId"]))
        assert (await agent.cancelled())["turnId"] == "t"


async def test_who_comes_back_in_time_cancels_nothing(start):
    """A retry within the grace period attaches, and reads on to the end."""
    site = await start(**options(cancel_grace=SOON))
    async with working(site) as agent:
        async with asking(site, "opshub") as response:
            await agent.start()
            await agent.tokens("Hel")
            assert await response.get()
        async with asking(site, "opshub") as again:
            assert await again.get()
            await settled(site, 2)  # the first one's grace is over
            await agent.tokens("lo", first=1)
            await agent.say("turnCompleted", completed(text="Hello"))
            *_, last = await again.rest()
            assert last.json == {"type": "done", "finalMessage": "Hello"}
        assert not [m for m in await agent.peer.barrier() if m["op"] == "event"]


async def test_the_grace_begins_when_the_last_reader_has_left(start):
    """Whoever leaves before, or is followed by another, holds nothing."""
    site = await start(**options(cancel_grace=600))
    async with working(site) as agent:
        async with asking(site, "opshub"):
            await agent.start()
            async with asking(site, "opshub"):
                pass
            await settled(site, 2)  # the one that has left is forgotten
        await settled(site, 2)  # of the last one, its grace
        async with asking(site, "opshub") as again:
            await settled(site, 2)  # which is over
            await agent.say("turnCompleted", completed(text="Hello"))
            assert (await again.rest())[-1].json["type"] == "done"
        await settled(site, 1)
        assert not [m for m in await agent.peer.barrier() if m["op"] == "event"]


async def test_a_reader_of_json_that_goes_away(start):
    """It is as one of a stream: here the turn is stopped, since it is configured so."""
    chosen = {"strakly": {"cancel": True}}
    site = await start(**options(cancel_grace=SOON, dialects=chosen))
    path, body = ASK["strakly"]
    async with working(site) as agent:
        async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
            asked = asyncio.create_task(http.post(path, json=body))
            await agent.start()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        assert (await agent.cancelled())["turnId"] == "t"
        await settled(site, 1)


# ----------------------------------------------------------------- slow, silent, stopped


async def test_a_slow_reader_gets_all_of_the_text_in_fewer_events(site, agent):
    """It reads nothing while 6 MB come; what waits is merged."""
    count, piece = 12_000, "lorem ipsum " * 40
    async with asking(site, "strakly", receive_buffer=4096) as response:
        await agent.start()
        for first in range(0, count, 100):
            batch = [
                {"op": "publish", "topic": CHAT + "token", "body": token(i, f"{i} {piece}")}
                for i in range(first, first + 100)
            ]
            await agent.peer.send(*batch)
        await agent.say("turnCompleted", completed(text="".join(f"{i} {piece}" for i in range(3))))
        events = await response.rest()
        said = [event.json["token"] for event in events[1:-1]]
        assert "".join(said) == "".join(f"{i} {piece}" for i in range(count))
        assert len(said) < count / 2
        assert events[-1].data == "[DONE]"


async def test_silence_is_filled_with_comments(start):
    """While the agent thinks."""
    site = await start(heartbeat={"interval": SOON})
    async with working(site) as agent, asking(site, "opshub") as response:
        assert await response.chunk() == b": heartbeat\n\n"
        await agent.start()
        assert await response.chunk() == b": heartbeat\n\n"
        await agent.say("turnCompleted", completed())
        assert (await response.rest())[-1].json["type"] == "done"


async def test_a_broker_that_stops_ends_streams_in_the_dialect_s_own_way(start):
    """And answers that are not complete."""
    site = await start()
    path, body = ASK["strakly"]
    async with (
        working(site) as agent,
        asking(site, "opshub") as response,
        httpx.AsyncClient(base_url=site.url, trust_env=False) as http,
    ):
        await agent.start()
        asked = asyncio.create_task(http.post(path, json={**body, "message": "Ho"}))
        await agent.start("t2")
        await site.broker.stop()
        assert (await response.rest())[-1].json["type"] == "error"
        answer = await asked
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
