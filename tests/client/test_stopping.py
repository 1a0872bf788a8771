"""Stopping a turn, at a real broker."""

import asyncio
from contextlib import nullcontext

import pytest

from plugins.agent.client import connect


async def test_a_turn_hears_that_it_is_to_stop(site):
    """Without a subscription; the model's stream ends, and the turn as cancelled."""
    closed = asyncio.Event()

    async def model():
        try:
            for n in range(1_000_000):
                yield f"{n} "
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with (
        connect(site.ws) as agent,
        connect(site.ws) as user,
        user.subscribe("agent.chat.>", "s") as events,
    ):
        wrote = 0

        async def answer():
            nonlocal wrote
            async with agent.turn("s", "helper", turn_id="t") as turn:
                async for text in turn.until_cancelled(model()):
                    await turn.token(text)
                    wrote += 1

        task = asyncio.create_task(answer())
        async for event in events:
            if event.topic == "agent.chat.token":
                break
        await user.publish("agent.chat.cancel", {"sessionId": "s", "turnId": "t"})
        await task
        assert closed.is_set()
        async for event in events:
            if event.topic == "agent.chat.turnCompleted":
                break
        assert event.body["finishReason"] == "cancelled"
        assert event.body["outputTokens"] == wrote
        assert event.body["fullText"] == "".join(f"{n} " for n in range(wrote))


async def test_a_turn_that_nobody_stops_goes_on_to_its_end(site):
    """`until_cancelled` gives all that the model gives, and its failures."""

    async def model(fails):
        yield "a"
        yield "b"
        if fails:
            raise ValueError("no more")

    async with connect(site.ws) as agent:
        for fails in (False, True):
            got = []
            with pytest.raises(ValueError, match="no more") if fails else nullcontext():
                async with agent.turn("s", "helper") as turn:
                    async for text in turn.until_cancelled(model(fails)):
                        got += [text]
            assert got == ["a", "b"]
            assert not agent._running


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_a_turn_whose_task_is_cancelled_says_so(site, how):
    """While it waits for its model: `until_cancelled` lets that be heard, and closes the model."""
    waiting, closed = asyncio.Event(), asyncio.Event()

    async def model():
        try:
            yield "a"
            waiting.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def answer(agent):
        async with agent.turn("s", "helper") as turn:
            async for text in turn.until_cancelled(model()):
                await turn.token(text)

    async def late(answering):
        async with asyncio.timeout(None) as deadline:
            waited = asyncio.create_task(waiting.wait())
            waited.add_done_callback(lambda _: deadline.reschedule(0))
            await answering

    async with (
        connect(site.ws) as agent,
        connect(site.ws) as user,
        user.subscribe("agent.chat.>", "s") as events,
    ):
        if how == "late":
            with pytest.raises(TimeoutError):
                await late(answer(agent))
        else:
            task = asyncio.create_task(answer(agent))
            await waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert closed.is_set()
        async for event in events:
            if event.topic in ("agent.chat.turnCompleted", "agent.chat.error"):
                break
        assert event.body.get("finishReason", "") == "cancelled"
