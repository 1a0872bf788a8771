"""A chat turn over HTTP: what every dialect shares, through real sockets."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from broker.plugin import ConfigError
from plugins.agent.chat import ChatPlugin
from plugins.agent.dialects import DIALECTS
from plugins.agent.messages import PREFIX
from plugins.agent.options import ChatOptions, DialectOptions

from .agent import CHAT, completed, failed, started, token
from .client import connect
from .sse import parse, stream, until

JSON = "Content-Type: application/json"
SOON = 0.05
"""A limit that a test means to reach."""

ASK = {
    "octopus": ("/octopus/api/chat/s/send", {"message": "Hi"}),
    "guide": (
        "/guide/api/chat?stream=true&includeTokens=true",
        {"message": "Hi", "chatInstanceId": "s", "chatModelId": "m"},
    ),
    "opshub": ("/opshub/api/chat", {"message": "Hi", "sessionId": "s"}),
    "strakly": ("/strakly/chat", {"message": "Hi", "conversation_id": "s"}),
}
"""What each front end posts: a question of the session `s`."""


def options(**chosen):
    return {"namespaces": {"agent.chat": {"options": chosen}}}


@asynccontextmanager
async def asking(site, dialect, *headers, **more):
    """A question whose response's head has come."""
    path, body = ASK[dialect]
    headers = (JSON, "Accept: text/event-stream", *headers)
    content = msgspec.json.encode({**body, **more.pop("body", {})})
    async with stream(
        site.address, path, *headers, method="POST", body=content, **more
    ) as response:
        yield response


class Agent:
    """A worker by hand."""

    def __init__(self, peer):
        self.peer = peer

    async def given(self):
        """The next message that it is to answer."""
        while "group" not in (event := await self.peer.get("event")):
            pass
        return event["body"]

    async def say(self, name, body):
        await self.peer.publish(CHAT + name, body)

    async def start(self, turn="t"):
        """Take the next message up. Returns it."""
        message = await self.given()
        await self.say("turnStarted", started(turn, messageId=message["messageId"]))
        return message

    async def tokens(self, words, first=0, turn="t"):
        for index, word in enumerate(words.split("|"), first):
            await self.say("token", token(index, word, turn))

    async def cancelled(self):
        """The next cancel that it gets."""
        while (event := await self.peer.get("event"))["topic"] != CHAT + "cancel":
            pass
        return event["body"]


@asynccontextmanager
async def working(site):
    async with connect(site.ws) as peer:
        await peer.subscribe(CHAT + "userMessage", group="workers")
        yield Agent(peer)


@pytest.fixture
async def agent(site):
    async with working(site) as it:
        yield it


@pytest.fixture
async def http(site):
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        yield client


async def settled(site, count):
    """Wait until so many connections are left."""
    await until(lambda: len(site.broker.shared.sessions.live) == count)


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


def keeping(events, **chosen):
    """A broker that retains so few events of a session."""
    return {"namespaces": {"agent.chat": {"history": {"events": events}, "options": chosen}}}


async def flood(agent, count, first=0, turn="t"):
    """So many tokens, of half a KB each; returns their text when they are accepted."""
    texts = [f"{turn}{index} {'lorem ipsum ' * 40}" for index in range(first, first + count)]
    for at in range(0, count, 100):
        bodies = [token(first + at + i, text, turn) for i, text in enumerate(texts[at : at + 100])]
        await agent.peer.send(
            *[{"op": "publish", "topic": CHAT + "token", "body": body} for body in bodies]
        )
    await agent.peer.barrier()
    return "".join(texts)


def said(events):
    """All text of what a front end was told, whatever its dialect."""
    names = "token", "text", "content"
    data = [event.json for event in events if event.data != "[DONE]"]
    kinds = {"agent_response", "thinking", "done"}
    return "".join(
        next((each[name] for name in names if name in each), "")
        for each in data
        if each.get("type") not in kinds
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("ended", [False, True])
async def test_a_reader_beyond_what_is_kept_gets_all_of_the_text(
    start, dialect, ended, monkeypatch
):
    """It reads nothing until most tokens were let go: then the turn is told from its state,
    and of that only what the front end has not had; whether the turn has ended or not."""
    monkeypatch.setattr(DIALECTS["guide"].__class__, "lingers", SOON)
    site = await start(**keeping(100))
    async with working(site) as agent, asking(site, dialect, receive_buffer=4096) as response:
        await agent.start()
        text = await flood(agent, 1500)
        if not ended:
            while len(b"".join(response.chunks)) < len(text):
                await response.chunk()
            text += await flood(agent, 10, 1500)
        await agent.say("turnCompleted", completed(text=text))
        await response.rest()
        events = parse(b"".join(response.chunks).decode())
        assert said(events) == text
        begun = [e for e in events if e.event == "turn_start" or '"stream_start"' in e.data]
        assert len(begun) == (dialect in ("octopus", "guide"))
        assert "slow_consumer" not in events[-1].data
    await settled(site, 0)


async def test_a_tool_call_whose_end_was_let_go_is_done(start):
    """Its front end would show it for ever; one that is still open is not told twice."""
    site = await start(**keeping(100))
    call = {"sessionId": "s", "turnId": "t", "arguments": {}}
    async with working(site) as agent, asking(site, "octopus", receive_buffer=4096) as response:
        await agent.start()
        for id in "ab":
            await agent.say("toolCallStarted", {**call, "toolCallId": id, "toolName": "look"})
        await response.get("tool_call")
        await response.get("tool_call")
        done = {"sessionId": "s", "turnId": "t", "toolCallId": "a"}
        await flood(agent, 2000)
        await agent.say("toolCallCompleted", done)
        text = await flood(agent, 2000, 2000)
        while text[-50:].encode() not in b"".join(response.chunks):
            await response.chunk()
        await agent.say("toolCallCompleted", {**done, "toolCallId": "b"})
        await agent.say("turnCompleted", completed())
        await response.rest()
        events = parse(b"".join(response.chunks).decode())
        told = [(e.event, e.json["tool_call_id"]) for e in events if e.event.startswith("tool_")]
        assert told == [
            ("tool_call", "a"), ("tool_call", "b"), ("tool_result", "a"), ("tool_result", "b"),
        ]  # fmt: skip


async def test_a_turn_of_which_nothing_is_kept_fails(start):
    """So many others have ended since that nobody can say what became of it."""
    site = await start(**keeping(20))
    async with working(site) as agent, asking(site, "opshub", receive_buffer=4096) as response:
        await agent.start()
        await flood(agent, 4000)
        await agent.say("turnCompleted", completed())
        for number in range(50):
            await agent.say("turnStarted", started(f"o{number}"))
            await agent.say("turnCompleted", completed(f"o{number}"))
        await agent.peer.barrier()
        assert (await response.rest())[-1].json["type"] == "error"
    await settled(site, 0)


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_question_that_waits_while_others_say_more_than_is_kept(start, given_up):
    """It has its answer all the same; or an end, if why it has none was let go as well."""
    site = await start(**keeping(20))
    async with working(site) as agent, asking(site, "opshub") as response:
        message = await agent.given()
        await agent.say("turnStarted", started("other"))
        await flood(agent, 2000, turn="other")
        if given_up:
            why = {"code": "busy", "message": "no", "retryable": True}
            of = {"sessionId": "s", "messageId": message["messageId"]}
            await agent.say("error", {**of, **why})
        await flood(agent, 2000, 2000, turn="other")
        if not given_up:
            await agent.say("turnStarted", started(messageId=message["messageId"]))
            await agent.say("turnCompleted", completed(text="Hello"))
        kinds = [event.json["type"] for event in await response.rest()]
        assert kinds == (["error"] if given_up else ["text_delta", "done"])


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


# ----------------------------------------------------------------- what is refused


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_does_not_fit_is_named(http, dialect):
    """422 with the field, in the front end's words; 400, 405, 406, 413, 415."""
    path, body = ASK[dialect]
    lacking = {name: value for name, value in body.items() if name != "message"}
    answer = await http.post(path, json=lacking)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "message")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert answer.json()["error"]["code"] == "method_not_allowed"
    for status, code, sent in (
        (400, "bad_message", {"content": b"{"}),
        (422, "bad_message", {"content": b"[]"}),
        (422, "bad_message", {"content": b"null"}),
        (406, "not_acceptable", {"json": body, "headers": {"Accept": "image/png"}}),
        (413, "too_large", {"json": {**body, "message": "x" * (1 << 20)}}),
        (415, "unsupported_type", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
        (403, "forbidden", {"json": body, "headers": {"Origin": "https://evil.example"}}),
    ):
        answer = await http.post(path, **sent)
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == code
        assert answer.json()["error"].get("field") == ("$" if status == 422 else None)
    for method, gone in ("POST", f"/{dialect}/api/chat//send"), ("GET", f"/{dialect}/nope"):
        answer = await http.request(method, gone)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("dialect", "changed", "accept"),
    [
        ("octopus", {}, "application/json"),
        ("opshub", {}, "text/event-stream;q=0, */*"),
        ("guide", {"stream": True}, "application/json"),
        ("guide", {"stream": False}, "text/event-stream"),
        ("strakly", {}, "text/event-streams"),
    ],
)
async def test_what_it_would_be_answered_with_has_to_be_acceptable(
    http, site, dialect, changed, accept
):
    """A stream or JSON, as this very request would get: 406, and nobody is asked."""
    path, body = ASK[dialect]
    path = path.partition("?")[0]
    answer = await http.post(path, json={**body, **changed}, headers={"Accept": accept})
    assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not_acceptable")
    await settled(site, 0)


async def test_where_they_are_is_configured(start):
    """Prefixes, and which there are."""
    chosen = {"octopus": {"prefix": ""}, "guide": {"enabled": False}}
    site = await start(**options(worker_wait=SOON, dialects=chosen))
    path, body = ASK["octopus"]
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        answer = await http.post(path.removeprefix("/octopus"), json=body)
        assert answer.status_code == 503
        assert (await http.post(path, json=body)).status_code == 404
        assert (await http.post(ASK["guide"][0], json=body)).status_code == 404


@pytest.mark.parametrize(
    ("name", "chosen", "where"),
    [
        ("slack", DialectOptions(), "slack"),
        ("octopus", DialectOptions(prefix="/strakly"), "strakly.prefix"),
        ("octopus", DialectOptions(prefix="octopus"), "octopus.prefix"),
    ],
)
def test_a_configuration_that_cannot_be(name, chosen, where):
    """The setting is named."""
    with pytest.raises(ConfigError) as error:
        ChatPlugin(PREFIX.rstrip("."), ChatOptions(dialects={name: chosen}))
    assert error.value.where == f"namespaces.agent.chat.options.dialects.{where}"
