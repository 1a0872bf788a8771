"""How a connection begins: which server, which encoding, and what the broker says first."""

import re

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidStatus

from .client import connect

PLAIN = {"proxy": None, "compression": None, "ping_interval": None}


async def test_welcome_comes_first_and_says_what_there_is(site, codec):
    """The first message is a welcome with every field of the contract."""
    async with connect(site.ws, codec) as peer:
        welcome = peer.welcome
        assert welcome["op"] == "welcome"
        assert welcome["server"] == "chat"
        assert sorted(welcome["namespaces"]) == ["agent.chat", "agent.status"]
        assert welcome["heartbeatMs"] > 0
        assert welcome["limits"]["maxMessageBytes"] > 0
        assert len(welcome["connection"]) >= 8


async def test_all_namespaces_without_a_server(site, codec):
    """`/ws` reaches every namespace, and its welcome names no server."""
    async with connect(site.server(None), codec) as peer:
        assert "server" not in peer.welcome
        assert sorted(peer.welcome["namespaces"]) == ["agent.chat", "agent.status", "workflow"]


async def test_connections_have_names_of_their_own(site):
    """Two connections never share a connection id."""
    async with connect(site.ws) as one, connect(site.ws) as two:
        assert one.welcome["connection"] != two.welcome["connection"]


async def test_no_subprotocol_means_json(site):
    """A client that offers no subprotocol speaks JSON in text frames."""
    async with open_websocket(site.ws, **PLAIN) as socket:
        assert socket.subprotocol is None
        welcome = await socket.recv()
        assert isinstance(welcome, str)
        assert msgspec.json.decode(welcome)["op"] == "welcome"


async def test_the_known_one_of_several_offers_is_chosen(site):
    """Unknown subprotocols beside a known one do no harm."""
    for name, kind in (("edgestream.v1.json", str), ("edgestream.v1.msgpack", bytes)):
        offers = ["edgestream.v9.json", name, "other"]
        async with open_websocket(site.ws, subprotocols=offers, **PLAIN) as socket:
            assert socket.subprotocol == name
            assert isinstance(await socket.recv(), kind)


async def test_only_unknown_subprotocols_are_http_400(site):
    """An offered list with no known entry gets HTTP 400."""
    for offers in (["other"], ["edgestream.v2.json", "edgestream.v1"]):
        with pytest.raises(InvalidStatus) as refusal:
            async with open_websocket(site.ws, subprotocols=offers, **PLAIN):
                pass
        assert refusal.value.response.status_code == 400


async def test_an_unknown_server_closes_4004(site, codec):
    """An unknown server is told by close code, after the upgrade, without a welcome."""
    for name in ("nope", "Chat", "chat/extra", "chat%2F", "agent.chat"):
        async with connect(site.server(name), codec, welcomed=False) as peer:
            assert await peer.close_code() == 4004
            assert not [m for m in peer.inbox if m["op"] == "welcome"]
            told = f"unknown server {name!r}; there are: bas, chat"
            assert peer.socket.close_reason == told


async def test_a_strange_path_is_no_websocket(site):
    """An upgrade on another path than /ws is an HTTP error, not a connection."""
    for path in ("/wsx", "/", "/healthz", "/static/x"):
        with pytest.raises(InvalidStatus) as refusal:
            async with open_websocket(site.ws.replace("/ws/chat", path), **PLAIN):
                pass
        assert 400 <= refusal.value.response.status_code < 500


async def test_a_page_from_elsewhere_is_refused(site):
    """A browser page of an origin that is not allowed does not get a connection."""
    with pytest.raises(InvalidStatus) as refusal:
        async with open_websocket(site.ws, origin="https://evil.example", **PLAIN):
            pass
    assert refusal.value.response.status_code == 403


async def test_without_an_upgrade_426(site):
    """A plain GET of a WebSocket address says which protocol it needs."""
    async with httpx.AsyncClient() as http:
        for path in ("/ws", "/ws/chat", "/ws/nope"):
            answer = await http.get(site.url + path)
            assert answer.status_code == 426
            assert answer.headers["upgrade"].lower() == "websocket"


async def test_compression_is_off_unless_it_is_asked_for(site, start):
    """permessage-deflate is a setting of each server, and works in both encodings."""
    async with connect(site.ws, compression="deflate") as peer:
        assert not peer.socket.protocol.extensions
    deflating = await start(servers={"bas": {"compression": True}})
    for codec in ("json", "msgpack"):
        async with connect(deflating.server("bas"), codec, compression="deflate") as peer:
            assert peer.socket.protocol.extensions
            await peer.subscribe("workflow.>")
            body = {"text": "again and " * 5000}
            await peer.publish("workflow.a", body)
            assert (await peer.get("event"))["body"] == body
    async with connect(deflating.ws, compression="deflate") as peer:
        assert not peer.socket.protocol.extensions


async def test_ping_is_answered_by_pong(peer):
    """`op: ping` gets a pong with its id; without an id, one without."""
    await peer.send({"op": "ping", "id": 3})
    assert await peer.next() == {"op": "pong", "id": 3}
    await peer.send({"op": "ping"})
    assert await peer.next() == {"op": "pong"}


async def test_control_pings_are_answered(peer):
    """A WebSocket ping gets its pong, with the same payload."""
    assert await (await peer.socket.ping(b"1234")) >= 0


async def test_refresh_is_answered(peer):
    """A refresh gets its `refreshed`, also where no token is required."""
    id = await peer.ask("refresh", token="whatever")
    assert (await peer.next())["op"] == "refreshed"
    assert not await peer.barrier()
    assert id == 1


async def test_an_orderly_close_is_answered(peer):
    """A client that closes with 1000 gets 1000 back."""
    await peer.socket.close(1000, "done")
    assert peer.socket.close_code == 1000


async def test_connection_ids_are_no_secrets_of_ours(peer):
    """A connection's id is printable, so that it can be told to an operator."""
    assert re.fullmatch(r"[A-Za-z0-9_-]+", peer.welcome["connection"])
