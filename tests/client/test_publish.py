"""Publishing: batches, the window, rejections, and what happens when the connection is cut."""

import asyncio
from typing import Any

import pytest
from msgspec import UNSET
from structlog.testing import CapturingLogger

from broker.client import (
    Client,
    ClientClosed,
    OperationRejected,
    Receipt,
    Unacknowledged,
    connect,
    sender,
)
from broker.messages import Ack, Error, Limits, Publish

from .conftest import Time
from .stub import Peer, Stub

Waiting = asyncio.Task[Receipt]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """What the sender logs."""
    logger = CapturingLogger()
    monkeypatch.setattr(sender, "log", logger)
    return logger


def no_wait() -> float:
    return 0.0


def bad(publish: Publish, body: Any) -> Error | None:
    """Refuses every odd number."""
    return Error("bad_body", "odd", False, detail={"path": "$.n"}) if body["n"] % 2 else None


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_one_turn_of_the_loop_is_one_message(stub: Stub, codec: Any) -> None:
    """What is published without a pause leaves as one array, with ids that grow."""
    async with connect(stub.url, codec=codec) as client:
        receipts = [await client.publish("open.a", {"n": n}, key="k") for n in range(5)]
        await receipts[-1]
    batch = stub.peers[0].batches[1]
    assert [message.id for message in batch] == [1, 2, 3, 4, 5]
    assert stub.accepted == [0, 1, 2, 3, 4]


async def test_a_batch_stays_below_the_brokers_limit(stub: Stub) -> None:
    """However much is ready, no WebSocket message comes near limits.maxMessageBytes."""
    stub.limits = Limits(4096, 100, {})
    async with connect(stub.url, codec="json") as client:
        for n in range(100):
            await client.publish("open.a", {"n": n, "text": "x" * 200})
        await client.flush()
    sizes = [sum(len(message.body) for message in batch) for batch in stub.peers[0].batches[1:]]
    assert stub.accepted == list(range(100))
    assert max(sizes) < 2048


async def test_what_is_too_large_to_send_is_rejected_here(stub: Stub) -> None:
    """It would make the broker close the connection, after each reconnect again."""
    stub.limits = Limits(4096, 100, {})
    async with connect(stub.url) as client:
        with pytest.raises(OperationRejected) as caught:
            await (await client.publish("open.a", {"n": 1, "text": "x" * 5000}))
        await (await client.publish("open.a", {"n": 2}))
    assert caught.value.code == "too_large"
    assert stub.accepted == [2]


async def test_a_full_window_makes_publishers_wait(stub: Stub) -> None:
    """With the window full, publish waits until an acknowledgement makes room."""
    stub.held = True
    async with connect(stub.url, max_in_flight=3) as client:
        for n in range(3):
            await client.publish("open.a", {"n": n})
        waiting = asyncio.create_task(client.publish("open.a", {"n": 3}))
        peer = await stub.peer()
        for _ in range(3):
            await peer.next(Publish)
        assert not waiting.done()
        await peer.send(Ack(1))
        receipt = await waiting
        await peer.send(Ack(4))
        await receipt


async def test_the_window_is_also_one_of_bytes(stub: Stub) -> None:
    """A few large bodies fill the window as many small ones do."""
    stub.held = True
    async with connect(stub.url, max_in_flight_bytes=1000) as client:
        await client.publish("open.a", {"n": 0, "text": "x" * 1000})
        waiting = asyncio.create_task(client.publish("open.a", {"n": 1}))
        peer = await stub.peer()
        await peer.next(Publish)
        assert not waiting.done()
        await peer.send(Ack(1))
        await waiting
        await peer.send(Ack(2))


async def crowd(client: Client, stub: Stub) -> tuple[Peer, Waiting, Waiting]:
    """The broker's end, once it has the one publish that may be under way, and two that wait."""
    await client.publish("open.a", {"n": 0})
    first = asyncio.create_task(client.publish("open.a", {"n": 1}))
    second = asyncio.create_task(client.publish("open.a", {"n": 2}))
    peer = await stub.peer()
    await peer.next(Publish)
    return peer, first, second


async def test_a_publisher_that_gives_up_leaves_its_room_to_the_next(stub: Stub) -> None:
    """Cancelling a publish that waits for room loses no wake-up for the others."""
    stub.held = True
    async with connect(stub.url, max_in_flight=1) as client:
        peer, first, second = await crowd(client, stub)
        first.cancel()
        await peer.send(Ack(1))
        await second
        await peer.send(Ack(2))
        assert first.cancelled()


async def test_giving_up_in_the_moment_of_an_ack_leaves_the_room_as_well(stub: Stub) -> None:
    """Whoever gives up may be let in before it can say so: then the next one is."""
    stub.held = True
    async with connect(stub.url, max_in_flight=1) as client:
        peer, first, second = await crowd(client, stub)
        first.cancel()
        client._sender.acknowledged(1)
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        await peer.send(Ack(2))


async def test_an_awaited_receipt_raises_the_rejection(stub: Stub) -> None:
    """The error has all that the broker said, and others are acknowledged all the same."""
    stub.refuse = bad
    async with connect(stub.url) as client:
        first, second = [await client.publish("open.a", {"n": n}) for n in (1, 2)]
        with pytest.raises(OperationRejected) as caught:
            await first
        await second
        await client.flush()  # it has been raised already
    error = caught.value
    assert (error.code, error.message, error.topic) == ("bad_body", "odd", "open.a")
    assert (dict(error.detail), error.retryable) == ({"path": "$.n"}, False)


async def test_flush_raises_what_nobody_awaited(stub: Stub, logged: CapturingLogger) -> None:
    """An unclaimed rejection is logged, and raised once, by the next flush."""
    stub.refuse = bad
    async with connect(stub.url) as client:
        for n in range(4):
            await client.publish("open.a", {"n": n})
        with pytest.raises(OperationRejected):
            await client.flush()
        await client.flush()
    assert [(call.args, call.kwargs["code"]) for call in logged.calls] == [
        (("publish_rejected",), "bad_body")
    ] * 2


async def test_leaving_the_block_raises_what_nobody_awaited(stub: Stub) -> None:
    """A client that only publishes learns of a rejection at the latest when it ends."""
    stub.refuse = bad
    with pytest.raises(OperationRejected):
        async with connect(stub.url) as client:
            await client.publish("open.a", {"n": 1})


async def test_a_handler_takes_rejections(stub: Stub) -> None:
    """The message's own handler goes before the client's; flush has nothing to add."""
    stub.refuse = bad
    mine: list[str] = []
    all_others: list[str] = []

    def handle(receipt: Receipt, error: OperationRejected) -> None:
        mine.append(f"{receipt.topic} {error.code}")

    def handle_others(receipt: Receipt, error: OperationRejected) -> None:
        all_others.append(receipt.topic)

    async with connect(stub.url, on_rejected=handle_others) as client:
        await client.publish("open.a", {"n": 1}, on_rejected=handle)
        await client.publish("open.b", {"n": 3})
        await client.flush()
    assert mine == ["open.a bad_body"]
    assert all_others == ["open.b"]


async def test_a_failing_handler_is_logged(stub: Stub, logged: CapturingLogger) -> None:
    """A bug in a handler is told, and the client goes on."""
    stub.refuse = bad

    def fail(receipt: Receipt, error: OperationRejected) -> None:
        raise RuntimeError("a bug")

    async with connect(stub.url, on_rejected=fail) as client:
        await client.publish("open.a", {"n": 1})
        await (await client.publish("open.a", {"n": 2}))
    assert [call.args for call in logged.calls] == [("on_rejected_failed",)]


async def test_a_body_that_cannot_be_encoded_is_the_callers_error(stub: Stub) -> None:
    """publish raises at once, and sends nothing."""
    async with connect(stub.url) as client:
        with pytest.raises(TypeError):
            await client.publish("open.a", {"n": object()})
        await (await client.publish("open.a", {"n": 1}))


async def test_a_body_is_what_it_was_when_it_was_published(stub: Stub) -> None:
    """Changing it afterwards changes nothing."""
    body = {"n": 1}
    async with connect(stub.url) as client:
        receipt = await client.publish("open.a", body)
        body["n"] = 2
        await receipt
    assert stub.accepted == [1]


@pytest.mark.parametrize("step", range(0, 60, 7))
@pytest.mark.parametrize("when", ["before", "accepted", "acknowledged"])
async def test_a_cut_loses_nothing(stub: Stub, time: Time, step: int, when: str) -> None:
    """Wherever the connection is cut, everything arrives, once and in order.

    The stub cuts at the first batch that has the message `step`, again at the next one that
    goes beyond it, and so on: before it has accepted it, before it has acknowledged
    it, or right after.
    """
    cut_at = [step, step + 1, step + 20]

    def number(peer: Peer, message: Publish) -> int:
        n: int = peer.codec.decode_any(message.body)["n"]
        return n

    async def before(peer: Peer, batch: list[Any]) -> bool:
        publishes = [message for message in batch if isinstance(message, Publish)]
        if not cut_at or not publishes or number(peer, publishes[-1]) < cut_at[0]:
            return False
        reached = cut_at.pop(0)
        arrived = [message for message in publishes if number(peer, message) <= reached]
        for message in arrived if when != "before" else []:
            stub.accept(peer, message)  # the rest of the batch is lost on the way
        if when == "acknowledged" and arrived:
            await peer.send(Ack(arrived[-1].id))
            peer.hang_up()
        else:
            peer.cut()
        return True

    stub.before = before
    async with connect(stub.url, max_in_flight=10, sleep=time.sleep, random=no_wait) as client:
        for n in range(80):
            await client.publish("open.a", {"n": n})
            if n % 3 == 0:
                await asyncio.sleep(0)  # so that batches differ
        await client.flush()
    assert stub.accepted == list(range(80))
    assert len(stub.peers) == 4 - len(cut_at)


async def test_what_was_rejected_is_not_repeated(stub: Stub, time: Time) -> None:
    """After a reconnect only what has no answer goes out again, under ids from 1."""
    stub.held = True
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        receipts = [await client.publish("open.a", {"n": n}) for n in range(3)]
        peer = await stub.peer()
        await peer.next(Publish)
        await peer.send(Error("bad_body", "no", False, id=2))
        with pytest.raises(OperationRejected):
            await receipts[1]
        peer.cut()
        stub.held = False
        await receipts[2]
    assert stub.accepted == [0, 2]
    assert [message.id for message in stub.peers[1].batches[1]] == [1, 2]


async def test_closing_tells_those_who_wait(stub: Stub) -> None:
    """No waiter is left behind: not for a receipt, not for room, not in flush."""
    stub.held = True
    client = connect(stub.url, max_in_flight=1)
    await client.__aenter__()
    receipt = await client.publish("open.a", {"n": 0})

    async def wait() -> None:
        await receipt

    waiting = [
        asyncio.create_task(wait()),
        asyncio.create_task(client.publish("open.a", {"n": 1})),
        asyncio.create_task(client.flush()),
    ]
    await (await stub.peer()).next(Publish)
    await client.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ClientClosed] * 3
    with pytest.raises(ClientClosed):
        await client.publish("open.a", {"n": 2})


async def test_a_close_waits_for_acknowledgements_only_so_long(stub: Stub) -> None:
    """Messages that may be lost are no silent matter."""
    stub.held = True
    with pytest.raises(Unacknowledged) as caught:
        async with connect(stub.url, close_timeout=0.01) as client:
            await client.publish("open.a", {"n": 0})
    assert caught.value.count == 1


async def test_key_and_dedupe_travel(stub: Stub) -> None:
    """They are sent where they are given, and left out where not."""
    async with connect(stub.url) as client:
        await client.publish("open.a", {"n": 1}, key="k", dedupe="d")
        await (await client.publish("open.a", {"n": 2}))
    first, second = stub.peers[0].batches[1]
    assert (first.key, first.dedupe) == ("k", "d")
    assert (second.key, second.dedupe) == (UNSET, UNSET)
