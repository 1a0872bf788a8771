"""The same protocol over TLS: large messages, readers and publishers that wait, the end."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from broker.transports.patience import PatientConnection

from .agent import CHAT, started, token
from .client import connect
from .test_backpressure import TOKENS, piece, say

BIG = 8 << 20


@pytest.fixture
async def site(start, identity):
    """A broker that speaks TLS, and takes large messages."""
    return await start(
        listen=identity.listen,
        limits={"max_message_bytes": BIG * 2},
        namespaces={"workflow": {"max_body_bytes": BIG * 2, "queue": {"messages": 10}}},
    )


@pytest.fixture
def tls(identity):
    """What a client needs to trust the broker."""
    return {"ssl": identity.trust}


async def test_http_is_on_the_same_port(site, identity):
    """Health, the page and the rest are https."""
    async with httpx.AsyncClient(base_url=site.url, verify=identity.trust, trust_env=False) as http:
        assert site.url.startswith("https:")
        for path in ("/readyz", "/metrics", "/"):
            assert (await http.get(path)).status_code == 200


async def test_large_messages_both_ways(site, tls, codec):
    """Whole, in order, among small ones."""
    async with (
        connect(site.server("bas"), codec, **tls) as reader,
        connect(site.server("bas"), codec, **tls) as publisher,
    ):
        await reader.subscribe("workflow.>")
        for size in (1, BIG, 2, 70_000, 130, BIG, 3):
            body = "äx" * (size // 3) + "."
            await publisher.publish("workflow.a", body)
            assert (await reader.get("event"))["body"] == body


async def test_a_reader_that_stops_and_goes_on(site, tls):
    """It loses no text, gets it in fewer events, and is then up to date again."""
    async with (
        connect(site.ws, max_queue=1, **tls) as slow,
        connect(site.ws, **tls) as publisher,
    ):
        await slow.subscribe(CHAT + "token", key="s")
        await say(publisher, TOKENS)
        expected, taken, whole = 0, 0, []
        while expected < TOKENS:
            body = (await slow.get("event"))["body"]
            assert body["tokenIndex"] == expected
            expected += body.get("tokenCount", 1)
            whole.append(body["token"])
            taken += 1
        assert "".join(whole) == "".join(map(piece, range(TOKENS)))
        assert taken < TOKENS
        for index in range(TOKENS, TOKENS + 20):
            await publisher.publish(CHAT + "token", token(index))
            assert (await slow.get("event"))["body"] == token(index)


async def test_a_publisher_that_is_held(site, tls, codec):
    """A namespace that is full does not read from it; all of it arrives, in order."""
    async with (
        connect(site.server("bas"), codec, **tls) as reader,
        connect(site.server("bas"), codec, **tls) as publisher,
    ):
        await reader.subscribe("workflow.>")
        for first in range(0, 3000, 500):
            numbers = range(first, first + 500)
            await publisher.send(
                *[{"op": "publish", "topic": "workflow.a", "body": [n, "x" * 900]} for n in numbers]
            )
        await publisher.publish("workflow.a", [3000])
        assert [e["body"][0] for e in await reader.events(3001)] == list(range(3001))


async def test_both_directions_wait_at_once(site, tls):
    """Who publishes without reading its own events is served when it reads."""
    async with connect(site.server("bas"), max_queue=1, **tls) as peer:
        await peer.subscribe("workflow.>")
        for n in range(300):
            await peer.send({"op": "publish", "topic": "workflow.a", "body": [n, "x" * 30_000]})
        assert [e["body"][0] for e in await peer.events(300)] == list(range(300))


async def test_compression_too(start, identity, tls):
    """permessage-deflate under TLS."""
    site = await start(listen=identity.listen, servers={"bas": {"compression": True}})
    async with connect(site.server("bas"), compression="deflate", **tls) as peer:
        assert peer.socket.protocol.extensions
        await peer.subscribe("workflow.>")
        await peer.publish("workflow.a", "x" * 200_000)
        assert (await peer.get("event"))["body"] == "x" * 200_000


async def test_a_client_closes(site, tls):
    """The close is answered, and the connection forgotten."""
    async with connect(site.ws, **tls) as peer:
        await peer.socket.close(1000, "bye")
        assert (peer.socket.close_code, peer.socket.close_reason) == (1000, "bye")
    async with asyncio.timeout(8):
        while site.broker.shared.sessions.live:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_refusal_is_seen(start, identity, tls, codec):
    """The close code arrives, also where the client is still in the middle of sending."""
    site = await start(listen=identity.listen)
    for name, junk, code in ("nope", b"", 4004), ("chat", b"x" * (9 << 20), 1009):
        async with connect(site.server(name), codec, welcomed=False, **tls) as peer:
            if junk:
                await asyncio.gather(peer.send_bytes(junk), return_exceptions=True)
            assert await peer.close_code() == code


async def test_the_broker_stops(start, identity, tls):
    """A reader that is behind is served to the end, and told goodbye."""
    site = await start(listen=identity.listen)
    async with (
        connect(site.server("bas"), max_queue=1, **tls) as slow,
        connect(site.server("bas"), **tls) as publisher,
    ):
        await slow.subscribe("workflow.>")
        for n in range(100):
            await publisher.publish("workflow.a", f"{n} " + "x" * 100_000)
        stopping = asyncio.create_task(site.broker.stop())
        assert await slow.close_code() == 4100
        assert [m["body"].split()[0] for m in slow.inbox[:-1]] == [str(n) for n in range(100)]
        assert slow.inbox[-1]["op"] == "goodbye"
        assert await publisher.close_code() == 4100
        await stopping


async def test_who_speaks_no_tls_gets_nowhere(site, tls):
    """Plain WebSocket at the port is refused; the others do not notice."""
    async with connect(site.ws, **tls) as peer:
        with pytest.raises(Exception, match=r"did not receive a valid HTTP response|reset|closed"):
            async with connect(site.ws.replace("wss:", "ws:")):
                pass
        await peer.publish(CHAT + "turnStarted", started())


async def test_what_is_a_websocket_is_waited_for_no_more(site, tls, monkeypatch):
    """The bounds of HTTP end with the upgrade, also where the answer to it fills the socket."""
    waited = set()
    wait = PatientConnection._wait

    def noted(connection):
        waited.add(connection)
        wait(connection)

    monkeypatch.setattr(PatientConnection, "_wait", noted)
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(connect(site.ws, **tls))
        assert len(waited) == 20
        assert [connection for connection in waited if connection._timer is not None] == []
