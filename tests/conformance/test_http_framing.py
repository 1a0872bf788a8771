"""HTTP as bytes: old clients, several requests on one connection, and those that never end."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from broker.transports import patience, requests
from plugins.agent.client import connect as connect_agent
from plugins.agent.worker import Worker

from .client import connect
from .rawsocket import dial
from .rawsocket import request as upgrade
from .sse import parse, until

ONE = b'{"topic":"workflow.x","key":"k","body":1}'
EVENTS = "/events?topic=workflow.x&key=k"
ACK = {"op": "ack", "id": 1}


def get(path, *headers, method="GET", version="1.1"):
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


def post(body=ONE, *headers, path="/publish", version="1.1"):
    lines = ["Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return get(path, *lines, method="POST", version=version) + body


def chunked(*parts, path="/publish"):
    """A POST whose body comes in these chunks."""
    head = get(path, "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


@pytest.fixture
async def raw(site):
    async with dial(site.address) as it:
        yield it


def live(site):
    return len(site.broker.shared.sessions.live)


async def accepted(raw):
    status, _, body = await raw.read_answer()
    assert (status, msgspec.json.decode(body)) == (200, ACK)


# ------------------------------------------------------------- HTTP/1.0


async def test_a_stream_over_http_1_0(site, raw):
    """It has no chunks; each event is there when it is published."""
    await raw.send(get(EVENTS, version="1.0"))
    head = (await raw.read_head()).lower()
    assert b"transfer-encoding" not in head
    assert head.count(b"\r\nconnection: close") == head.count(b"\r\nconnection:") == 1
    text = b""
    async with connect(site.server("bas")) as peer:
        for body in range(3):
            await peer.publish("workflow.x", body, key="k")
            while text.count(b"\n\n") < body + 3:  # behind `retry` and `subscribed`
                text += await raw._exactly(1)
    assert text.startswith(b"retry: 1000\n\nid: ")
    assert [event.json.get("body") for event in parse(text.decode())] == [None, 0, 1, 2]


@asynccontextmanager
async def answering(site):
    worker = Worker("echo")

    @worker.on_message
    async def answer(message, turn):
        await turn.token(message.text)

    async with (
        connect_agent(site.ws) as client,
        client.subscribe("agent.status", "echo") as status,
    ):
        task = asyncio.create_task(worker.run(client))
        await anext(status)
        yield
        worker.stop()
        await task


async def test_a_dialects_stream_over_http_1_0_ends_with_its_connection(site, raw):
    """Its end is the connection's, whatever the client would like to keep."""
    body = b'{"message":"Hello","sessionId":"s"}'
    async with answering(site):
        path = "/opshub/api/chat"
        await raw.send(post(body, "Connection: keep-alive", path=path, version="1.0"))
        head = (await raw.read_head()).lower()
        text = (await raw.rest()).decode()
    assert b"transfer-encoding" not in head
    assert [event.json["type"] for event in parse(text)] == ["text_delta", "done"]
    assert text.endswith("\n\n")


async def test_json_over_http_1_0(raw):
    """It has a length, and then the connection ends."""
    await raw.send(post(version="1.0"))
    status, headers, body = await raw.read_answer()
    assert (status, headers["connection"], msgspec.json.decode(body)) == (200, "close", ACK)
    assert await raw.rest() == b""


# ------------------------------------------------------------- one connection, many requests


async def test_head_has_no_body(site, raw):
    """Of anything that can be had; the next answer on the connection is where it belongs."""
    for path in ("/", "/static/chat.js", "/healthz", "/metrics", "/openapi.json", EVENTS):
        await raw.send(get(path, method="HEAD") + post())
        assert (await raw.read_head()).startswith(b"HTTP/1.1 200 ")
        await accepted(raw)
    assert live(site) == 0


async def test_requests_are_answered_in_their_order(site, raw):
    """One after the other, or all at once; refusals between them change nothing."""
    async with connect(site.server("bas")) as reader:
        await reader.subscribe("workflow.>")
        await raw.send(post())
        await accepted(raw)
        await raw.send(post(ONE.replace(b"1}", b"2}")) + post(b"{") + post() + get("/nope"))
        await accepted(raw)
        assert (await raw.read_answer())[0] == 400
        await accepted(raw)
        assert (await raw.read_answer())[0] == 404
        assert [event["body"] for event in await reader.events(3)] == [1, 2, 1]


async def test_chunked_bodies(raw):
    """Cut anywhere, within a letter too, and in writes of single bytes."""
    body = '{"topic":"workflow.x","body":"\N{SNOWMAN}"}'.encode()
    await raw.send(chunked(*(body[i : i + 1] for i in range(len(body))), b""))
    await accepted(raw)
    for byte in chunked(body, b""):
        await raw.send(bytes([byte]))
    await accepted(raw)


async def test_who_asks_before_sending_is_told(raw):
    """`Expect: 100-continue`, as curl has it for a large body."""
    head, _, body = post(ONE, "Expect: 100-continue").partition(b"\r\n\r\n")
    await raw.send(head + b"\r\n\r\n")
    assert await raw.read_head() == b"HTTP/1.1 100 Continue"
    await raw.send(body)
    await accepted(raw)


async def test_who_asks_and_is_refused_need_not_send(site, raw):
    """No body is waited for: whether it comes is not known, so the connection ends."""
    for head in (
        get("/publish", "Expect: 100-continue", "Content-Length: 9999999", method="POST"),
        get("/publish/nope", "Expect: 100-continue", "Content-Length: 9", method="POST"),
    ):
        async with dial(site.address) as raw:
            await raw.send(head)
            assert (await raw.read_answer())[0] in (404, 413)
            assert await raw.rest() == b""


async def test_what_is_refused_early_is_read_to_its_end(raw):
    """So that its sender reads why; then the connection is as good as before."""
    await raw.send(post(b" " * 3_000_000) + post())
    assert (await raw.read_answer())[0] == 413
    await accepted(raw)


async def test_framing_that_can_be_read_in_two_ways(site):
    """Is refused, and ends the connection: what follows is nobody's request."""
    heads = [
        ["Content-Length: 5"],
        ["Transfer-Encoding: chunked"],
        ["Content-Length: -1"],
        ["Content-Length: 99999999999999999999999"],
        ["Content-Length: 1e3"],
    ]
    for extra in heads:
        async with dial(site.address) as raw:
            await raw.send(post(ONE, *extra) + post())
            assert (await raw.read_answer())[0] == 400, extra
            assert await raw.rest() == b"", extra
    async with dial(site.address) as raw:
        await raw.send(post(ONE, "Content-Type: text/plain"))
        assert (await raw.read_answer())[0] == 415


async def test_many_upgrades_to_something_else(raw):
    """All in one read: each is declined."""
    wish = "Connection: Upgrade", "Upgrade: h2c"
    await raw.send(get("/nope", *wish) * 1_000)
    for _ in range(1_000):
        assert (await raw.read_answer())[0] == 404
    await raw.send(get("/healthz", "Connection: Upgrade, close", "Upgrade: h2c"))
    assert (await raw.read_answer())[0] == 200


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_upgrade_to_something_else(raw, at_once):
    """Is declined, as HTTP has it: Java's client asks for HTTP/2 with every request. The body is
    the request's, whatever it looks like, and the connection goes on."""
    wish = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]
    for body, status in ((ONE, 200), (get("/healthz"), 400)):
        head, _, _ = post(body, *wish).rpartition(body)
        await raw.send(head + body if at_once else head)
        if not at_once:
            await raw.send(body)
        assert (await raw.read_answer())[0] == status
        await raw.send(get("/nope", *wish) + post())
        assert (await raw.read_answer())[0] == 404
        await accepted(raw)


async def test_nothing_is_redirected(raw):
    """A path with a slash too many leads nowhere, not to where the request's `Host` says."""
    for path in ("/publish/", "/opshub/api/chat/", "/static"):
        await raw.send(post(path=path).replace(b"Host: x", b"Host: evil.example"))
        assert (await raw.read_answer())[0] == 404


# ------------------------------------------------------------- who never ends


async def test_a_request_that_does_not_come(site, monkeypatch):
    """Nothing, half a head, a byte now and then: each is given up soon."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.2)
    async with dial(site.address) as silent, dial(site.address) as half:
        await half.send(get("/healthz")[:-2])
        assert await silent.rest() == b""
        assert (await half.read_answer())[0] == 408
        assert await half.rest() == b""
    async with dial(site.address) as trickling:
        await trickling.send(post())
        await accepted(trickling)
        ended = asyncio.create_task(trickling.rest())
        while not ended.done():
            trickling.send_now(b"\r\n")
            await asyncio.wait([ended], timeout=0.01)


async def test_a_body_that_does_not_come(site, monkeypatch):
    """It is told so; what it has left of it is not waited for."""
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.1)
    for path in ("/publish", "/octopus/api/chat/s/send"):
        async with dial(site.address) as raw:
            await raw.send(post(path=path)[:-1])
            assert (await raw.read_answer())[0] == 408
            assert await raw.rest() == b""
    await until(lambda: live(site) == 0)


async def test_heads_and_trailers_without_an_end(site):
    """They are not kept: past a bound the connection ends, and others do not notice."""
    endless = b"a" * 400_000
    for start, status in (
        (b"GET /healthz HTTP/1.1\r\nX: ", 431),
        (b"GET /", 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * 60_000, 431),
        (chunked(ONE) + b"0\r\nX: ", None),
        (chunked(ONE) + b"1;", None),
    ):
        async with dial(site.address) as raw:
            try:
                for _ in range(10):
                    await raw.send(start + endless)
                    start = b""
            except ConnectionError:
                pass
            else:
                await until(lambda: live(site) == 0)
            told = await raw.rest()
            assert status is None or told.startswith(b"HTTP/1.1 %d " % status) or not told
    async with dial(site.address) as raw:
        await raw.send(post())
        await accepted(raw)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_an_answer_that_nobody_reads(site, monkeypatch, version):
    """It is given up once its reader takes nothing of it any more."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.2)
    nobody = b"[" + b",".join([b'{"topic":"nobody","body":1}'] * 30_000) + b"]"
    connections = site.broker._http.server_state.connections
    async with dial(site.address, receive_buffer=4096) as raw:
        await raw.send(post(nobody, version=version))
        await until(lambda: connections)
        await until(lambda: not connections)


async def test_who_asks_behind_a_stream(site):
    """It would never be answered: the connection is cut, and nothing stays behind."""
    for pause in (False, True):
        async with dial(site.address) as raw:
            await raw.send(get(EVENTS))
            if pause:
                await raw.read_head()
            await raw.send(post())
            await raw.rest()
        await until(lambda: live(site) == 0)
    async with dial(site.address) as raw:
        await raw.send(get(EVENTS) + post())
        assert b"ack" not in await raw.rest()
    await until(lambda: live(site) == 0)


async def test_an_upgrade_behind_a_stream(site):
    """Two would write to one socket: it is cut, and nothing stays behind."""
    async with dial(site.address) as raw:
        await raw.send(get(EVENTS))
        await raw.read_head()
        await raw.send(upgrade("/ws/chat"))
        await raw.rest()
        await until(lambda: live(site) == 0)
