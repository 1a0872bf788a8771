"""The connection: coming in, staying, coming back, and not coming back."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from broker.client import CannotConnect, ClientClosed, ConnectionRefusedByBroker, connect
from broker.messages import Error, Goodbye, Hello, Ping, Publish, Welcome

from .conftest import Time
from .stub import HEARTBEAT_MS, Peer, Stub, event, until
from .test_publish import no_wait

TICK = HEARTBEAT_MS / 2000


async def test_a_client_says_who_it_is_and_stays_it(stub: Stub, time: Time) -> None:
    """A secret of its own, in no URL, and the same after a reconnect."""
    async with connect(stub.url, token="t", sleep=time.sleep, random=no_wait) as client:
        first = await stub.peers[0].next(Hello)
        stub.peers[0].cut()
        again = await (await stub.peer(1)).next(Hello)
        await client.flush()
    assert isinstance(first.client, str)
    assert len(first.client) >= 16
    assert again.client == first.client
    request = stub.peers[0].connection.request
    assert request is not None
    assert request.path == "/ws"
    assert request.headers["Authorization"] == "Bearer t"


async def test_what_comes_with_the_welcome_is_heard(stub: Stub) -> None:
    """A broker that owes something to this client says it in the same message."""

    async def instead(peer: Peer) -> bool:
        await peer.send(Welcome("stub", [], HEARTBEAT_MS, stub.limits), event("open.a", 1))
        await peer.connection.wait_closed()
        return True

    stub.instead = instead
    heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    client = connect(stub.url)
    client.watch("open.a", heard.set_result)
    async with client:
        assert await heard == {"n": 1}


async def test_a_given_secret_is_used(stub: Stub) -> None:
    """A process that is started again can be the one it was."""
    async with connect(stub.url, client="0123456789abcdef"):
        assert (await stub.peers[0].next(Hello)).client == "0123456789abcdef"


async def test_nobody_there_is_told_at_once(unused_tcp_port: int) -> None:
    """The first attempt to connect is not repeated, unless asked for."""
    with pytest.raises(CannotConnect, match="cannot connect"):
        async with connect(f"ws://127.0.0.1:{unused_tcp_port}/ws"):
            pass


async def test_waiting_for_a_broker(stub: Stub, time: Time) -> None:
    """With wait=True the first connection is tried again and again, ever more slowly."""
    failures = 3

    async def instead(peer: Peer) -> bool:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            peer.cut()
        return failures >= 0

    stub.instead = instead
    client = connect(stub.url, wait=True, sleep=time.sleep, random=lambda: 1.0)
    opening = asyncio.create_task(client.__aenter__())
    for delay in (0.25, 0.5, 1.0):
        await time.pass_by(delay)
    await opening
    await client.close()


async def test_a_url_that_is_none_is_told(stub: Stub) -> None:
    """A wrong address is an error of the same kind, not one of a library below."""
    with pytest.raises(CannotConnect):
        async with connect("localhost:8080"):
            pass


async def test_a_server_of_another_protocol_is_told() -> None:
    """A WebSocket server that does not choose our subprotocol is not a broker."""

    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CannotConnect, match="protocol"):
            async with connect(f"ws://127.0.0.1:{port}/ws"):
                pass


@pytest.mark.parametrize("code", [4001, 4003, 4010, 1009])
async def test_a_refusal_is_final(stub: Stub, time: Time, code: int) -> None:
    """After 4000–4099 (or what cannot be better next time) everyone is told, for good."""
    stub.held = True
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        receipt = await client.publish("open.a", {"n": 1})
        await stub.peers[0].next(Publish)
        await stub.peers[0].connection.close(code, "go away")
        with pytest.raises(ConnectionRefusedByBroker, match="go away") as caught:
            await receipt
        assert caught.value.code == code
        with pytest.raises(ConnectionRefusedByBroker):
            await client.publish("open.a", {"n": 2})
    assert len(stub.peers) == 1


async def test_a_refusal_before_the_welcome(stub: Stub) -> None:
    """A broker that closes instead of welcoming is not tried again."""

    async def instead(peer: Peer) -> bool:
        await peer.connection.close(4003, "forbidden")
        return True

    stub.instead = instead
    with pytest.raises(ConnectionRefusedByBroker) as caught:
        async with connect(stub.url):
            pass
    assert caught.value.code == 4003


async def test_an_error_before_the_welcome(stub: Stub) -> None:
    """Where the broker wants what we do not have, waiting for a welcome is in vain."""

    async def instead(peer: Peer) -> bool:
        await peer.send(Error("not_authenticated", "a token is needed", False))
        await peer.connection.wait_closed()
        return True

    stub.instead = instead
    with pytest.raises(CannotConnect, match="a token is needed"):
        async with connect(stub.url):
            pass


@pytest.mark.parametrize("code", [4100, 4108, 4110, 1001, 1011])
async def test_other_endings_are_not(stub: Stub, time: Time, code: int) -> None:
    """The client comes back, and what was not acknowledged goes out again."""
    stub.held = True
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        receipt = await client.publish("open.a", {"n": 1})
        await stub.peers[0].next(Publish)
        stub.held = False
        await stub.peers[0].connection.close(code)
        await receipt
    assert stub.accepted == [1]


async def test_goodbye_says_how_long_to_stay_away(stub: Stub, time: Time) -> None:
    """retryAfterMs is waited for, and the random spread comes on top."""
    async with connect(stub.url, sleep=time.sleep, random=lambda: 1.0) as client:
        await stub.peers[0].send(Goodbye(4100, "restarting", True, 3000))
        await stub.peers[0].connection.close(4100)
        await time.pass_by(3.25)
        await stub.peer(1)
        await (await client.publish("open.a", {"n": 1}))


async def test_goodbye_for_good(stub: Stub, time: Time) -> None:
    """reconnect: false holds, even if the close code gets lost on the way."""
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        events = client.subscribe("open.a")
        await stub.peers[0].send(Goodbye(4003, "token revoked", False))
        stub.peers[0].hang_up()
        with pytest.raises(ConnectionRefusedByBroker, match="token revoked"):
            await anext(events)


async def test_a_silent_broker_is_left(stub: Stub, time: Time) -> None:
    """Nothing heard for one and a half heartbeats: connect again."""
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        for _ in range(3):
            await time.pass_by(TICK)
        await stub.peer(1)
        await (await client.publish("open.a", {"n": 1}))
    assert stub.accepted == [1]


@pytest.mark.parametrize("sign", ["ping", "control"])
async def test_any_sign_of_life_counts(stub: Stub, time: Time, sign: str) -> None:
    """The broker's ping does, be it a message or a control frame."""
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        peer = stub.peers[0]
        for _ in range(6):
            await time.pass_by(TICK)
            heard = link_heard(client)
            if sign == "ping":
                await peer.send(Ping())
            else:
                await peer.connection.ping()
            await until(lambda before=heard: link_heard(client) > before)
        await (await client.publish("open.a", {"n": 1}))
    assert len(stub.peers) == 1


def link_heard(client: Any) -> int:
    heard: int = client._upkeep._link.heard
    return heard


async def test_a_client_that_does_not_read_shows_that_it_lives(stub: Stub, time: Time) -> None:
    """With a full buffer, it sends unasked pongs, and does not call the broker silent."""
    async with (
        connect(stub.url, sleep=time.sleep, random=no_wait) as client,
        client.subscribe("open.a", buffer=1) as events,
    ):
        peer = stub.peers[0]
        await peer.send(event("open.a", 1))
        await until(lambda: client._gate.is_shut)
        frames: list[Any] = []
        process = peer.connection.process_event
        peer.connection.process_event = (  # type: ignore[method-assign]
            lambda frame: (frames.append(frame), process(frame))[1]
        )
        for _ in range(5):
            await time.pass_by(TICK)
        await until(lambda: len(frames) >= 5)
        assert {frame.opcode.name for frame in frames} == {"PONG"}
        await anext(events)
    assert len(stub.peers) == 1


async def test_what_is_not_the_protocol_ends_the_connection(stub: Stub, time: Time) -> None:
    """Garbage is no reason to give up for good: the next connection may be better."""
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        await stub.peers[0].connection.send(b"\xc1")
        await stub.peer(1)
        await (await client.publish("open.a", {"n": 1}))


async def test_an_unknown_op_is_ignored(stub: Stub) -> None:
    """A newer broker may say more than this client understands."""
    async with connect(stub.url, codec="json") as client:
        await stub.peers[0].connection.send('[{"op": "news", "x": 1}, {"op": "pong"}]')
        await (await client.publish("open.a", {"n": 1}))


async def test_cancelling_the_first_connection(stub: Stub) -> None:
    """Giving up while connecting leaves nothing behind."""

    async def instead(peer: Peer) -> bool:
        await peer.connection.wait_closed()
        return True

    stub.instead = instead
    client = connect(stub.url)
    opening = asyncio.create_task(client.__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    with pytest.raises(ClientClosed):
        await client.publish("open.a", {})
