"""Turns: they always end, and survive what a broker may lose of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from broker.client import Event, OperationRejected, Subscription
from broker.codec import JSON
from broker.messages import Error, Publish
from broker.plugin import Duplicate, Rejected
from broker.plugin import Event as Stored
from plugins.agent import sessions, turns
from plugins.agent.client import AgentClient, TurnFailed, connect
from plugins.agent.messages import CHAT, TurnCompleted

from .conftest import Time
from .stub import Peer, Stub
from .test_publish import no_wait

CHAT_TOPICS = "agent.chat.*"


def kinds(events: list[Event]) -> list[str]:
    return [event.topic.removeprefix("agent.chat.") for event in events]


async def until_end(subscription: Subscription) -> list[Event]:
    """The events of one turn."""
    events = []
    while not events or kinds(events)[-1] not in ("turnCompleted", "error"):
        events.append(await anext(subscription))
    return events


@pytest.fixture
async def client(site: Any) -> AsyncIterator[AgentClient]:
    """An agent's client at a real broker."""
    async with connect(site.ws) as it:
        yield it


@pytest.fixture
async def watched(site: Any) -> AsyncIterator[Subscription]:
    """What a user sees of the session `s`."""
    async with connect(site.ws) as it, it.subscribe(CHAT_TOPICS, "s", coalesce="never") as events:
        yield events


async def test_a_turn_tells_all_that_happens(client: AgentClient, watched: Subscription) -> None:
    """Each call becomes its event, in order; the end has the text, the tools and the counts."""
    seconds = iter([10.0, 11.0, 11.5, 12.25])
    async with client.turn(
        "s", "a", turn_id="t", message_id="m", clock=lambda: next(seconds)
    ) as turn:
        await turn.thinking("hm")
        await turn.progress(50, "half")
        async with turn.tool("search", {"q": "x"}, call_id="c") as call:
            call.result({"hits": 1})
        for text in ("Hel", "", "lo"):
            await turn.token(text)
        await turn.action({"type": "change_theme", "value": "dark"})
        await turn.suggestions(["More?"])
        turn.usage(input_tokens=7)
    events = await until_end(watched)
    assert kinds(events) == [
        "turnStarted", "thinking", "progress", "toolCallStarted", "toolCallCompleted",
        "token", "token", "action", "suggestions", "token", "turnCompleted",
    ]  # fmt: skip
    bodies = [event.body for event in events]
    turn_of = {"sessionId": "s", "turnId": "t"}
    agent = {**turn_of, "agentId": "a"}
    assert bodies[0] == {**agent, "messageId": "m"}
    assert bodies[3] == {
        **turn_of, "toolName": "search", "toolCallId": "c", "arguments": {"q": "x"}
    }  # fmt: skip
    assert bodies[4] == {
        **turn_of, "toolName": "search", "toolCallId": "c", "result": {"hits": 1}, "durationMs": 500
    }  # fmt: skip
    assert bodies[6] == {**agent, "token": "lo", "tokenIndex": 1, "isLast": False}
    assert bodies[9] == {**agent, "token": "", "tokenIndex": 2, "isLast": True}
    assert bodies[10] == {
        **agent, "fullText": "Hello", "toolCallsUsed": ["search"], "inputTokens": 7,
        "outputTokens": 2, "durationMs": 2250, "finishReason": "stop",
    }  # fmt: skip


async def test_an_exception_ends_the_turn_with_an_error(
    client: AgentClient, watched: Subscription
) -> None:
    """The user is told that it failed, and nothing of why; the caller gets the exception."""

    async def fail() -> None:
        async with client.turn("s", "a", turn_id="t", message_id="m") as turn:
            await turn.token("Hel")
            async with turn.tool("search", call_id="c"):
                raise RuntimeError("a secret")

    with pytest.raises(RuntimeError, match="secret"):
        await fail()
    *_, tool, last = await until_end(watched)
    assert tool.body["error"] == "search failed"
    assert last.body == {
        "sessionId": "s", "turnId": "t", "messageId": "m", "agentId": "a",
        "code": "agent_failed", "message": "The agent failed to answer.", "retryable": True,
    }  # fmt: skip


async def test_a_failure_can_say_why(client: AgentClient, watched: Subscription) -> None:
    """TurnFailed is for what the user may know."""
    with pytest.raises(TurnFailed):
        async with client.turn("s", "a"):
            raise TurnFailed("quota", "No more answers today.")
    body = (await until_end(watched))[-1].body
    assert (body["code"], body["message"], body["retryable"]) == (
        "quota", "No more answers today.", False
    )  # fmt: skip


async def test_a_cancelled_turn_is_completed(client: AgentClient, watched: Subscription) -> None:
    """Cancelling the task ends the turn as cancelled, with the text so far."""
    speaking = asyncio.Event()

    async def speak() -> None:
        async with client.turn("s", "a") as turn:
            await turn.token("Hel")
            async with turn.tool("search"):
                speaking.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(speak())
    await speaking.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    *_, tool, _, last = await until_end(watched)
    assert tool.body["error"] == "cancelled"
    assert (last.body["finishReason"], last.body["fullText"]) == ("cancelled", "Hel")


async def test_a_turn_that_the_broker_has_ended_is_given_up(
    client: AgentClient, watched: Subscription
) -> None:
    """turn_closed comes out of the block, and nothing more is said of the turn."""

    async def speak_on() -> None:
        async with client.turn("s", "a", turn_id="t") as turn:
            await turn.token("Hel")
            body = {"sessionId": "s", "turnId": "t", "code": "x", "message": "x"}
            await (await client.publish("agent.chat.error", {**body, "retryable": False}))
            await turn.token("lo")
            await client.flush()
            await turn.token("!")

    with pytest.raises(OperationRejected) as caught:
        await speak_on()
    assert caught.value.code == "turn_closed"
    assert kinds(await until_end(watched)) == ["turnStarted", "token", "error"]


async def test_a_turn_outlives_its_broker(start: Any, unused_tcp_port: int) -> None:
    """A broker that forgets everything and comes back gets the whole turn again."""
    first = await start(listen={"port": unused_tcp_port})
    async with connect(first.ws, random=no_wait) as client:
        async with client.turn("s", "a", turn_id="t") as turn:
            await turn.token("Hel")
            call = await turn.tool("search", call_id="c").start()
            await client.flush()
            await first.broker.stop()
            await start(listen={"port": unused_tcp_port})
            for text in ("lo ", "you"):
                await turn.token(text)
            await call.complete({"hits": 1})
        async with client.subscribe(CHAT_TOPICS, "s", replay="snapshot") as events:
            ended = await until_end(events)
    assert ended[-1].body["fullText"] == "Hello you"


class Judge:
    """Makes the stub accept what the broker's own table of turns accepts, and forget at will.

    Attributes:
        seen: how many publishes came.
        forget: what to lose of the turn before which publish.
        completed: the turn's end, as it was accepted last.
    """

    def __init__(self, forget: dict[int, str]) -> None:
        self.session = sessions.Session()
        self.completed: TurnCompleted | None = None
        self.seen = 0
        self.forget = forget

    def __call__(self, publish: Publish, body: Any) -> Error | None:
        loss = self.forget.get(self.seen)
        turn = self.session.turns.get("t")
        if loss == "turn":
            self.session = sessions.Session()  # what was acknowledged to the end needs no repair
        elif loss == "tokens" and turn is not None and self.completed is None:
            turn.next_index //= 2
        self.seen += 1
        event = Stored.of(publish.topic, "s", msgspec.convert(body, CHAT[publish.topic]), 0)
        try:
            turns.validate(self.session, event, lambda sender: False)
        except Duplicate:
            return None
        except Rejected as error:
            return Error(error.code, error.message, False, detail=dict(error.detail or {}))
        turns.apply(self.session, event)
        if isinstance(event.body, TurnCompleted):
            self.completed = event.body
        return None


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("loss", ["turn", "tokens"])
@pytest.mark.parametrize("at", range(0, 34, 3))
async def test_whatever_is_lost_is_repaired(
    stub: Stub, time: Time, at: int, loss: str, cut: bool
) -> None:
    """The broker loses the turn, or its last tokens, once and again, with or without a cut.

    In the end it has the whole turn, with all its text, and the block raises nothing.
    """
    judge = Judge({at: loss, at + 9: loss})
    stub.refuse = judge
    stub.accept = lambda peer, publish: None  # type: ignore[method-assign]

    async def before(peer: Peer, batch: list[Any]) -> bool:
        if cut and at <= judge.seen < at + 5 and len(stub.peers) == 1:
            peer.cut()
            return True
        return False

    stub.before = before
    async with connect(stub.url, max_in_flight=8, sleep=time.sleep, random=no_wait) as client:
        async with client.turn("s", "a", turn_id="t") as turn:
            for n in range(20):
                await turn.token(f"{n} ")
                if n == 10:
                    async with turn.tool("search") as call:
                        call.result(1)
                if n % 4 == 0:
                    await asyncio.sleep(0)
            await turn.thinking("done")
        text = turn.text
    assert text == "".join(f"{n} " for n in range(20))
    assert judge.completed is not None
    assert judge.completed.fullText == text


async def test_a_broker_that_never_takes_the_turn_ends_it(stub: Stub) -> None:
    """Repairs have a limit: a turn that is lost each time is given up, with the error."""
    stub.refuse = lambda publish, body: (
        None
        if publish.topic.endswith("turnStarted")
        else Error("turn_not_started", "unknown turn", False)
    )
    stub.accept = lambda peer, publish: None  # type: ignore[method-assign]
    with pytest.raises(OperationRejected) as caught:
        async with connect(stub.url) as client, client.turn("s", "a") as turn:
            await turn.token("Hel")
    assert caught.value.code == "turn_not_started"


async def test_a_turn_that_may_not_start_is_not_repaired(stub: Stub) -> None:
    """The rejection of turnStarted itself is what comes out, not its consequences."""
    codes = {"agent.chat.turnStarted": "forbidden"}
    stub.refuse = lambda publish, body: Error(
        codes.get(publish.topic, "turn_not_started"), "no", False
    )
    with pytest.raises(OperationRejected) as caught:
        async with connect(stub.url) as client, client.turn("s", "a") as turn:
            await turn.token("Hel")
    assert caught.value.code == "forbidden"
    assert stub.peers[0].batches


async def test_bodies_leave_out_what_is_not_given(stub: Stub) -> None:
    """An optional field is never null, and the status has just what was said."""
    stub.accept = lambda peer, publish: None  # type: ignore[method-assign]
    async with connect(stub.url, codec="json") as client:
        await client.status("a", "busy", active_turns=2)
        async with client.turn("s", "a", turn_id="t"):
            pass
    bodies = [
        JSON.decode_any(message.body) for batch in stub.peers[0].batches[1:] for message in batch
    ]
    assert bodies[0] == {"agentId": "a", "status": "busy", "activeTurns": 2}
    assert bodies[1] == {"sessionId": "s", "turnId": "t", "agentId": "a"}


SMALL = {"agent.chat": {"max_body_bytes": 1000}}


async def test_a_text_longer_than_a_body_is_completed(start: Any) -> None:
    """What was accepted token by token can be said again as a whole."""
    site = await start(namespaces=SMALL)
    async with connect(site.ws) as client, client.subscribe(CHAT_TOPICS, "s") as events:
        async with client.turn("s", "a") as turn:
            for n in range(300):
                await turn.token(f"{n:20}")
        ended = await until_end(events)
    assert ended[-1].body["fullText"] == turn.text


async def test_a_long_text_is_restored_in_pieces(start: Any, unused_tcp_port: int) -> None:
    """A broker that lost the turn gets it again, in bodies that it takes."""
    settings = {"namespaces": SMALL, "listen": {"port": unused_tcp_port}}
    first = await start(**settings)
    async with connect(first.ws, random=no_wait) as client:
        async with client.turn("s", "a") as turn:
            for n in range(300):
                await turn.token(f'"{n:19}')
            await client.flush()
            await first.broker.stop()
            await start(**settings)
            await turn.token("the end")
            await client.flush()
        async with client.subscribe(CHAT_TOPICS, "s", replay="history") as events:
            ended = await until_end(events)
    texts = [event.body for event in ended if kinds([event]) == ["token"]]
    assert len(texts) < 30
    assert "".join(body["token"] for body in texts) == turn.text
    assert ended[-1].body["fullText"] == turn.text


@pytest.mark.parametrize("part", ["token", "end"])
async def test_a_turn_that_is_refused_for_good_ends_at_once(start: Any, part: str) -> None:
    """Its author gets the refusal; its readers have the text so far, and an end."""
    site = await start(namespaces=SMALL, limits={"max_message_bytes": 2000})
    written = []

    async def speak(client: AgentClient) -> None:
        async with client.turn("s", "a") as turn:
            for text in ["x" * 1000] if part == "token" else ["x" * 500] * 5:
                await turn.token(text)
                await client.flush()
                written.append(text)

    async with connect(site.ws) as client, client.subscribe(CHAT_TOPICS, "s") as events:
        with pytest.raises(OperationRejected) as caught:
            await speak(client)
        ended = await until_end(events)
    assert caught.value.code == ended[-1].body["code"] == "too_large"
    assert kinds(ended)[-1] == "error"
    texts = [event.body["token"] for event in ended if kinds([event]) == ["token"]]
    assert "".join(texts) == "".join(written if part == "end" else [])
