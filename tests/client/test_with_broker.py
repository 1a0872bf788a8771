"""The client at a real broker: nothing lost, nothing twice, whatever is cut."""

from typing import Any

import pytest

from broker.client import CannotConnect, Client, connect

from .stub import until
from .test_publish import no_wait

TOTAL = 3000


def cut(client: Client) -> None:
    """Cut the client's TCP connection."""
    link = client._upkeep._link
    if link is not None:
        link.abort()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_publisher_is_cut_again_and_again(site: Any, codec: Any) -> None:
    """With `dedupe`, each message arrives exactly once and in order."""
    url = site.server("bas")
    async with (
        connect(url, random=no_wait, codec=codec, max_in_flight=50) as publisher,
        connect(url) as reader,
        reader.subscribe("workflow.step", "k") as events,
    ):
        for n in range(TOTAL):
            await publisher.publish("workflow.step", {"n": n}, key="k", dedupe=str(n))
            if n % 500 == 499:
                cut(publisher)
        assert [(await anext(events)).body["n"] for _ in range(TOTAL)] == list(range(TOTAL))


async def test_a_slow_reader_gets_everything(site: Any) -> None:
    """A consumer behind a small buffer slows its own connection only, and misses nothing."""
    url = site.server("bas")
    text = "x" * 1000
    async with (
        connect(url) as publisher,
        connect(url) as reader,
        reader.subscribe("workflow.step", "k", buffer=8) as events,
    ):
        for n in range(TOTAL):
            await publisher.publish("workflow.step", {"n": n, "text": text}, key="k")
        await publisher.flush()
        assert len(events._buffer) < TOTAL
        received = [(await anext(events)).body["n"] for _ in range(TOTAL)]
    assert received == list(range(TOTAL))


async def test_closing_while_nothing_is_read(site: Any) -> None:
    """A client with a full buffer closes in good order all the same."""
    url = site.server("bas")
    async with connect(url) as publisher, connect(url) as reader:
        reader.subscribe("workflow.step", "k", buffer=1)
        for n in range(100):
            await publisher.publish("workflow.step", {"n": n}, key="k")
            await publisher.flush()
        await until(lambda: reader._gate.is_shut)


async def test_a_second_process_of_the_same_client(site: Any) -> None:
    """It takes the place of the first, which is told not to come back."""
    url = site.server("bas")
    async with connect(url, client="0123456789abcdef") as first:
        await first.flush()
        async with connect(url, client="0123456789abcdef") as second:
            await until(lambda: first._upkeep.failure is not None)
            await (await second.publish("workflow.step", {}, key="k"))
    assert "4010" in str(first._upkeep.failure)


@pytest.mark.parametrize("wrong", [{"topic": "a\ud800"}, {"key": "k\ud800"}, {"dedupe": "\ud800"}])
async def test_what_cannot_be_encoded_is_refused_at_once(site: Any, wrong: dict[str, str]) -> None:
    """Its author hears of it; what is published beside it arrives, and nothing else is acked."""
    url = site.server("bas")
    async with connect(url) as reader, reader.subscribe("workflow.>") as events:
        await events.ready()
        async with connect(url) as client:
            first = await client.publish("workflow.a", 1)
            with pytest.raises(UnicodeEncodeError):
                await client.publish(**({"topic": "workflow.a", "body": 2} | wrong))
            last = await client.publish("workflow.a", 3)
            await first
            await last
        assert [(await anext(events)).body for _ in range(2)] == [1, 3]


async def test_over_tls(start: Any, identity: Any) -> None:
    """With a context that trusts the broker: all arrives, also after a cut."""
    site = await start(listen=identity.listen)
    url, tls = site.server("bas"), identity.trust
    async with (
        connect(url, random=no_wait, tls=tls) as publisher,
        connect(url, tls=tls) as reader,
        reader.subscribe("workflow.step", "k", buffer=1) as events,
    ):
        for n in range(TOTAL):
            body = {"n": n, "pad": "x" * 2000}
            await publisher.publish("workflow.step", body, key="k", dedupe=str(n))
            if n == TOTAL // 2:
                cut(publisher)
        assert [(await anext(events)).body["n"] for _ in range(TOTAL)] == list(range(TOTAL))


async def test_a_broker_that_cannot_be_trusted(start: Any, identity: Any) -> None:
    """A certificate of an unknown authority is no connection, and said so."""
    site = await start(listen=identity.listen)
    with pytest.raises(CannotConnect, match="certificate"):
        async with connect(site.ws):
            pass
