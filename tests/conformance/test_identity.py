"""Hello, and who a client is across reconnects."""

from contextlib import AsyncExitStack, suppress

from websockets.exceptions import ConnectionClosed

from .client import connect

SECRET = "0123456789abcdef"


async def test_hello_needs_no_answer(peer):
    """A good hello is silent: what follows it works."""
    await peer.send({"op": "hello", "client": SECRET})
    assert not await peer.barrier()


async def test_an_empty_hello_is_good(peer):
    """Both of hello's fields are optional."""
    await peer.send({"op": "hello"})
    assert not await peer.barrier()


async def test_a_second_hello_is_bad(peer):
    """Only one hello is allowed; the connection goes on."""
    await peer.send({"op": "hello"}, {"op": "hello", "client": SECRET})
    assert (await peer.next())["code"] == "bad_message"
    assert not await peer.barrier()


async def test_hello_comes_before_everything_else(site, codec):
    """A hello behind another operation is refused, and changes nothing."""
    for first in (
        {"op": "ping"},
        {"op": "subscribe", "id": 1, "topic": "agent.chat.>"},
        {"op": "publish", "topic": "agent.status", "body": {"agentId": "a", "status": "online"}},
        {"op": "unsubscribe", "id": 1, "topic": "agent.chat.>"},
    ):
        async with connect(site.ws, codec) as peer:
            await peer.send(first, {"op": "hello", "client": SECRET})
            await peer.get("error", code="bad_message")


async def test_a_short_client_is_bad(site, codec):
    """In hello, a client of fewer than 16 characters is `bad_message`; nothing closes."""
    for client in ("", "short", "x" * 15):
        async with connect(site.ws, codec) as peer:
            await peer.send({"op": "hello", "client": client})
            error = await peer.next()
            assert (error["code"], error["retryable"]) == ("bad_message", False)
            assert not await peer.barrier()


async def test_a_short_client_in_the_query_closes_4009(site, codec):
    """In the query there is nobody to answer yet: 4009."""
    for client in ("", "short", "x" * 15):
        async with connect(f"{site.ws}?client={client}", codec, welcomed=False) as peer:
            assert await peer.close_code() == 4009


async def test_a_newer_connection_supersedes_with_4010(site, codec):
    """The same client again on the same server ends the older connection, with a goodbye."""
    async with connect(site.ws, codec) as older:
        await older.send({"op": "hello", "client": SECRET})
        assert not await older.barrier()
        async with connect(f"{site.ws}?client={SECRET}", codec) as newer:
            assert await older.close_code() == 4010
            goodbye = await older.get("goodbye")
            assert (goodbye["code"], goodbye["reconnect"]) == (4010, False)
            assert not await newer.barrier()


async def test_the_query_supersedes_the_query(site):
    """It makes no difference how the client came in."""
    async with (
        connect(f"{site.ws}?client={SECRET}") as older,
        connect(f"{site.ws}?client={SECRET}") as newer,
    ):
        assert await older.close_code() == 4010
        assert not await newer.barrier()


async def test_a_chain_of_reconnects_leaves_one(site):
    """Each newer connection ends the one before it, and only that."""
    async with AsyncExitStack() as stack:
        chain = []
        for _ in range(4):
            chain.append(await stack.enter_async_context(connect(f"{site.ws}?client={SECRET}")))
            for older in chain[-2:-1]:
                assert await older.close_code() == 4010
        assert not await chain[-1].barrier()


async def test_other_servers_and_other_clients_are_left_alone(site):
    """Identity is per server, and by the whole secret."""
    async with (
        connect(f"{site.ws}?client={SECRET}") as chat,
        connect(f"{site.server('bas')}?client={SECRET}") as bas,
        connect(f"{site.server(None)}?client={SECRET}") as everything,
        connect(f"{site.ws}?client={SECRET}x") as another,
    ):
        for peer in (chat, bas, everything, another):
            assert not await peer.barrier()


async def test_a_superseded_connection_publishes_nothing_more(site, codec):
    """What an old connection sends behind its end is not accepted."""
    async with connect(site.ws) as watcher:
        await watcher.subscribe("agent.status")
        async with connect(f"{site.ws}?client={SECRET}", codec) as older:
            async with connect(f"{site.ws}?client={SECRET}", codec) as newer:
                late = {"agentId": "late", "status": "online"}
                with suppress(ConnectionClosed):
                    await older.ask("publish", topic="agent.status", body=late)
                assert await older.close_code() == 4010
                await newer.publish("agent.status", {"agentId": "new", "status": "online"})
            event = await watcher.get("event")
            assert event["body"]["agentId"] == "new"


async def test_the_secret_is_never_told(site, codec):
    """Neither welcome nor events contain the client secret."""
    async with connect(f"{site.ws}?client={SECRET}", codec) as peer:
        await peer.subscribe("agent.status")
        await peer.publish("agent.status", {"agentId": "a", "status": "online"})
        assert SECRET not in repr([peer.welcome, *await peer.barrier()])
