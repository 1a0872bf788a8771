"""Who a publisher is over several requests: `client`, as a WebSocket has it."""

import asyncio

import httpx
import pytest

from .agent import CHAT, started, token
from .client import connect
from .sse import events

ME = "0123456789abcdef-me"
OTHER = "0123456789abcdef-other"


def asking(site):
    return httpx.AsyncClient(base_url=site.url, trust_env=False)


@pytest.fixture
async def http(site):
    async with asking(site) as client:
        yield client


async def say(http, topic, body, client=None, path="/publish"):
    """Publish one message of the chat; its answer."""
    query = {} if client is None else {"client": client}
    answer = await http.post(path, params=query, json={"topic": CHAT + topic, "body": body})
    return answer.json()


async def test_a_turn_belongs_to_its_client(http):
    """Over requests, and connections; another one of the same principal has no part in it."""
    assert (await say(http, "turnStarted", started(), ME))["op"] == "ack"
    assert (await say(http, "token", token(0), OTHER))["code"] == "turn_owned"
    assert (await say(http, "token", token(0)))["code"] == "turn_owned"
    assert (await say(http, "token", token(0), ME))["op"] == "ack"
    assert (await say(http, "token", token(0), ME, "/publish/chat"))["op"] == "ack"
    assert (await say(http, "turnStarted", started(), ME))["op"] == "ack"
    gap = await say(http, "token", token(9), ME)
    assert (gap["code"], gap["detail"]) == ("token_gap", {"expected": 1})


async def test_requests_of_one_client_stand_beside_each_other(site, http):
    """Its stream, its WebSocket, and many requests at a time: none ends another."""
    async with (
        events(site, topic="workflow.x", key="k", client=ME) as stream,
        connect(f"{site.server(None)}?client={ME}") as socket,
    ):
        await stream.get("subscribed")
        one = {"topic": "workflow.x", "key": "k", "body": 1}
        answers = [http.post("/publish", params={"client": ME}, json=one) for _ in range(20)]
        for answer in await asyncio.gather(*answers):
            assert answer.json()["op"] == "ack"
        assert await stream.bodies(20) == [1] * 20
        assert not await socket.barrier()


async def test_an_open_stream_keeps_a_turn(start):
    """Whose publisher says nothing for longer than its grace period, and is told of a cancel."""
    site = await start(namespaces={"agent.chat": {"options": {"grace": 0.1}}})
    async with (
        asking(site) as http,
        connect(site.ws) as user,
        events(site, topic=CHAT + "cancel", key="s", client=ME) as stream,
    ):
        await user.subscribe(CHAT + "error")
        await say(http, "turnStarted", started(), ME)
        await say(http, "turnStarted", started(session="lost"))  # it has no stream
        lost = await user.get("event")
        assert (lost["key"], lost["body"]["code"]) == ("lost", "publisher_lost")
        assert (await say(http, "token", token(0), ME))["op"] == "ack"
        await user.publish(CHAT + "cancel", {"sessionId": "s", "turnId": "t"})
        assert (await stream.get()).json["topic"] == CHAT + "cancel"


async def test_what_is_addressed_goes_to_the_websocket(site, http):
    """A request of the same client, which is not read, does not catch its cancel; and a stream's
    place is its own, whatever its client is told."""
    async with (
        connect(f"{site.ws}?client={ME}") as owner,
        connect(site.ws) as user,
        events(site, topic="workflow.x", key="k", client=ME) as stream,
    ):
        await owner.publish(CHAT + "turnStarted", started())
        await user.publish(CHAT + "cancel", {"sessionId": "s", "turnId": "t"})
        assert (await owner.get("event"))["topic"] == CHAT + "cancel"
        await http.post("/publish", json={"topic": "workflow.x", "key": "k", "body": 1})
        event = await stream.get()
        assert (event.json["body"], event.id) == (1, event.json["cursor"])


async def test_a_secret_that_is_none(start):
    """It is named; and dialects leave a `client` of their front end's own alone."""
    site = await start(namespaces={"agent.chat": {"options": {"worker_wait": 0.05}}})
    async with asking(site) as http:
        await refuse(http)


async def refuse(http):
    for path in ("/publish", "/events?topic=workflow.x&key=k"):
        method = "GET" if "?" in path else "POST"
        for client in ("", "short"):
            url = path + ("&" if "?" in path else "?") + f"client={client}"
            answer = await http.request(method, url, json={"topic": "workflow.x", "body": 1})
            assert (answer.status_code, answer.json()["code"]) == (422, "bad_message")
            assert answer.json()["detail"] == {"field": "client"}
    asked = {"message": "Hi", "sessionId": "s"}
    answer = await http.post("/opshub/api/chat?client=web", json=asked)
    assert answer.status_code == 503  # nobody is there, and nothing else is wrong
