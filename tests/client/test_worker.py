"""Workers: each message is answered once, whoever is lost, busy, broken or about to leave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from broker.client import OperationRejected, Subscription
from broker.messages import (
    Ack,
    EventMessage,
    Publish,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from plugins.agent.client import AgentClient, Turn, TurnFailed, connect
from plugins.agent.worker import Answer, Message, Worker

from .stub import Peer, Stub, until
from .test_publish import no_wait
from .test_turn import kinds, until_end
from .test_with_broker import cut

Start = Callable[..., Awaitable[tuple[Worker, AgentClient]]]


@pytest.fixture
async def user(site: Any) -> AsyncIterator[AgentClient]:
    async with connect(site.ws) as it:
        yield it


@asynccontextmanager
async def working(url: str, answer: Answer, **options: Any) -> AsyncIterator[Any]:
    """A worker that has joined, its client, and the task that runs it."""
    worker = Worker("helper", **options)
    worker.on_message(answer)
    async with (
        connect(url, random=no_wait) as client,
        connect(url) as watcher,
        watcher.subscribe("agent.status", "helper") as status,
    ):
        task = asyncio.create_task(worker.run(client))
        while (await anext(status)).body["status"] != "online":
            pass
        yield worker, client, task
        worker.stop()
        await asyncio.wait([task])


async def ask(user: AgentClient, id: str = "m", session: str = "s", **more: Any) -> None:
    body = {"sessionId": session, "messageId": id, "text": "hi", **more}
    await (await user.publish("agent.chat.userMessage", body))


async def echo(message: Message, turn: Turn) -> None:
    await turn.token(message.text)


async def ended(events: Subscription) -> Any:
    """The body of what ends the next turn."""
    return (await until_end(events))[-1].body


async def test_a_message_is_answered(site: Any, user: AgentClient) -> None:
    """The turn is open when the function is called, and ends with it; nothing is lost of
    what the user said."""
    seen = []

    async def answer(message: Message, turn: Turn) -> None:
        seen.append(message)
        await echo(message, turn)

    async with working(site.ws, answer), user.subscribe("agent.chat.*", "s") as events:
        await ask(user, userId="u", agentId="a", metadata={"k": 1}, colour="red")
        turn = await until_end(events)
        assert kinds(turn)[:3] == ["userMessage", "turnStarted", "token"]
        assert turn[1].body["messageId"] == "m"
        assert (turn[-1].body["fullText"], turn[-1].body["agentId"]) == ("hi", "helper")
        await ask(user, "m2")
        await until_end(events)
    first, second = seen
    assert (first.session_id, first.message_id, first.text) == ("s", "m", "hi")
    assert (first.user_id, first.agent_id, first.metadata) == ("u", "a", {"k": 1})
    assert first.body["colour"] == "red"
    assert (second.user_id, second.agent_id, second.metadata) == (None, None, None)


async def test_what_a_function_raises_ends_its_turn_alone(site: Any, user: AgentClient) -> None:
    """As an error; the next message is answered."""

    async def answer(message: Message, turn: Turn) -> None:
        if message.message_id == "bug":
            raise RuntimeError("a secret")
        if message.message_id == "quota":
            raise TurnFailed("quota", "No more today.")
        await echo(message, turn)

    with capture_logs() as logs:
        async with working(site.ws, answer), user.subscribe("agent.chat.*", "s") as events:
            for id, code in (("bug", "agent_failed"), ("quota", "quota"), ("m", None)):
                await ask(user, id)
                assert (await ended(events)).get("code") == code
    failures = [e["message"] for e in logs if e["log_level"] == "error"]
    assert failures == ["bug"]


async def test_a_turn_that_the_broker_refuses(site: Any, user: AgentClient) -> None:
    """Somebody else has ended it: that is no reason to end the worker."""

    async def answer(message: Message, turn: Turn) -> None:
        if message.message_id == "m2":
            return
        body = {
            "sessionId": "s", "turnId": turn.turn_id, "agentId": "helper", "fullText": "",
            "toolCallsUsed": [], "inputTokens": 0, "outputTokens": 0, "durationMs": 0,
        }  # fmt: skip
        await turn.accepted()
        await (await turn.delivery._client.publish("agent.chat.turnCompleted", body))
        while True:
            await turn.token("too late")

    async with working(site.ws, answer), user.subscribe("agent.chat.*", "s") as events:
        for id, reason in (("m", None), ("m2", "stop")):
            await ask(user, id)
            assert (await ended(events)).get("finishReason") == reason


async def test_somebody_asks_to_stop(site: Any, user: AgentClient) -> None:
    """The model's stream ends, and the turn as cancelled."""

    async def model() -> AsyncIterator[str]:
        while True:
            yield "word "
            await asyncio.sleep(0)

    async def answer(message: Message, turn: Turn) -> None:
        async for text in turn.until_cancelled(model()):
            await turn.token(text)

    async with working(site.ws, answer), user.subscribe("agent.chat.*", "s") as events:
        await ask(user)
        started = [await anext(events) for _ in range(3)][1].body
        body = {"sessionId": "s", "turnId": started["turnId"]}
        await user.publish("agent.chat.cancel", body)
        assert (await ended(events))["finishReason"] == "cancelled"


class Gated:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.open = asyncio.Event()
        self.ids: list[str] = []

    async def __call__(self, message: Message, turn: Turn) -> None:
        self.ids.append(message.message_id)
        self.begun.put_nowait(message.message_id)
        await self.open.wait()
        await echo(message, turn)


async def test_only_so_many_at_the_same_time(site: Any, user: AgentClient) -> None:
    """Others wait for their turn, and are not begun meanwhile."""
    answer = Gated()
    async with (
        working(site.ws, answer, concurrency=2) as (worker, _, _),
        user.subscribe("agent.chat.turnStarted") as starts,
        user.subscribe("agent.chat.turnCompleted") as ends,
    ):
        for n in range(5):
            await ask(user, f"m{n}", f"s{n}")
        assert sorted([await answer.begun.get() for _ in range(2)]) == ["m0", "m1"]
        await until(lambda: len(worker._tasks) == 5)
        assert answer.begun.empty()
        answer.open.set()
        for subscription in (starts, ends):
            sessions = [(await anext(subscription)).key for _ in range(5)]
            assert sorted(sessions) == [f"s{n}" for n in range(5)]


async def test_a_message_that_has_waited_too_long_is_let_go(
    site: Any, user: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker gives it to another meanwhile: two must not answer."""
    answer, over = Gated(), []
    begin = Worker._begin

    async def noted(self: Worker, client: AgentClient, message: Message, name: Any) -> None:
        await begin(self, client, message, name)
        over.append(message.message_id)

    monkeypatch.setattr(Worker, "_begin", noted)
    async with (
        working(site.ws, answer, concurrency=1, patience=0.01),
        user.subscribe("agent.chat.turnCompleted") as ends,
    ):
        await ask(user, "m0", "s0")
        await answer.begun.get()
        await ask(user, "m1", "s1")
        await until(lambda: over == ["m1"])
        answer.open.set()
        assert (await anext(ends)).key == "s0"
        assert answer.ids == ["m0"]


async def test_a_worker_that_stops_ends_what_it_began(site: Any, user: AgentClient) -> None:
    """What it has not begun goes to another at once, and so does what comes then."""
    first, second = Gated(), Gated()
    second.open.set()
    async with (
        user.subscribe("agent.status", "helper") as status,
        user.subscribe("agent.chat.turnCompleted") as ends,
        AsyncExitStack() as stack,
    ):
        worker, _, task = await stack.enter_async_context(working(site.ws, first, concurrency=1))
        for n in range(3):
            await ask(user, f"m{n}", f"s{n}")
        assert await first.begun.get() == "m0"
        await until(lambda: len(worker._tasks) == 3)
        await stack.enter_async_context(working(site.ws, second))
        worker.stop()
        assert sorted([(await anext(ends)).key for _ in range(2)]) == ["s1", "s2"]
        await ask(user, "m3", "s0")
        assert (await anext(ends)).body["sessionId"] == "s0"
        assert not task.done()
        first.open.set()
        assert (await anext(ends)).body["fullText"] == "hi"
        await task
        assert first.ids == ["m0"]
        assert sorted(second.ids) == ["m1", "m2", "m3"]
        words = [(await anext(status)).body["status"] for _ in range(2)]
        assert words == ["online", "online"]  # `offline` of one of two is not said


async def test_a_worker_leaves_once_its_turns_are_known(stub: Stub) -> None:
    """Or the broker would give their messages to another as well."""
    topics: list[str] = []
    unknown: list[int] = []

    async def before(peer: Peer, batch: list[Any]) -> bool:
        for message in batch:
            if isinstance(message, Subscribe):
                body = {"sessionId": "s", "messageId": "m", "text": "hi"}
                event = EventMessage("agent.chat.userMessage", 0, body, "s", group="workers")
                await peer.send(Subscribed(message.id), event)
            elif isinstance(message, Unsubscribe):
                topics.append("left")
                await peer.send(Unsubscribed(message.id))
            elif isinstance(message, Publish):
                topics.append(message.topic)
                unknown.append(int(message.id or 0))
        if "agent.chat.token" not in topics or release.is_set():
            await peer.send(Ack(unknown[-1])) if unknown else None
        return True

    release = asyncio.Event()
    stub.before = before
    worker = Worker("helper")

    @worker.on_message
    async def answer(message: Message, turn: Turn) -> None:
        await turn.token("hi")
        worker.stop()
        await release.wait()

    async with connect(stub.url) as client:
        task = asyncio.create_task(worker.run(client))
        await until(lambda: "agent.chat.token" in topics)
        for _ in range(10):
            await asyncio.sleep(0)
        assert "left" not in topics
        release.set()
        await stub.peers[0].send(Ack(unknown[-1]))
        await task
    assert topics.index("agent.chat.turnStarted") < topics.index("left")


async def test_a_drain_has_an_end(site: Any, user: AgentClient) -> None:
    """Then what is still open is cancelled."""
    async with (
        working(site.ws, Gated(), drain=0.01) as (worker, _, task),
        user.subscribe("agent.chat.*", "s") as events,
        user.subscribe("agent.status", "helper") as status,
    ):
        await ask(user)
        assert kinds([await anext(events) for _ in range(2)])[-1] == "turnStarted"
        worker.stop()
        assert (await ended(events))["finishReason"] == "cancelled"
        await task
        while (await anext(status)).body["status"] != "offline":
            pass


async def test_a_worker_that_is_cancelled_ends_its_turns(site: Any, user: AgentClient) -> None:
    """At once, as cancelled."""
    async with (
        working(site.ws, Gated()) as (_, _, task),
        user.subscribe("agent.chat.*", "s") as events,
    ):
        await ask(user)
        assert kinds([await anext(events) for _ in range(2)])[-1] == "turnStarted"
        task.cancel()
        assert (await ended(events))["finishReason"] == "cancelled"
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_message_that_comes_again_is_answered_once(site: Any, user: AgentClient) -> None:
    """After a lost connection the worker is given again what it has not begun."""
    answer = Gated()
    async with (
        working(site.ws, answer, concurrency=1) as (worker, client, _),
        user.subscribe("agent.chat.turnCompleted") as ends,
    ):
        await ask(user, "m0", "s0")
        await answer.begun.get()
        for n in range(1, 4):
            await ask(user, f"m{n}", f"s{n}")
            await until(lambda n=n: len(worker._tasks) == n + 1)
            cut(client)
        await ask(user, "m4", "s4")
        await until(lambda: len(worker._tasks) == 5)
        answer.open.set()
        assert [(await anext(ends)).key for _ in range(5)] == [f"s{n}" for n in range(5)]
        assert answer.ids == [f"m{n}" for n in range(5)]


async def test_a_worker_that_is_cut_off_as_it_begins(site: Any, user: AgentClient) -> None:
    """Whatever has left of its turn, the turn is told in whole, and it is the only one."""
    answer = Gated()
    async with (
        working(site.ws, answer) as (_, client, _),
        user.subscribe("agent.chat.>", "s") as events,
    ):
        for n in range(20):
            answer.open.clear()
            await ask(user, f"m{n}")
            assert await answer.begun.get() == f"m{n}"
            cut(client)
            answer.open.set()
            turn = await until_end(events)
            assert kinds(turn)[:2] == ["userMessage", "turnStarted"]
            assert turn[-1].body["fullText"] == "hi"
        assert answer.ids == [f"m{n}" for n in range(20)]


async def test_two_workers_share_the_messages(site: Any, user: AgentClient) -> None:
    """Each is answered by one of them."""
    answers = Gated(), Gated()
    async with (
        working(site.ws, answers[0]),
        working(site.ws, answers[1]),
        user.subscribe("agent.chat.turnCompleted") as ends,
    ):
        for n in range(10):
            await ask(user, f"m{n}", f"s{n}")
        for answer in answers:
            answer.open.set()
        assert sorted([(await anext(ends)).key for _ in range(10)]) == [f"s{n}" for n in range(10)]
        assert [len(answer.ids) for answer in answers] == [5, 5]


async def test_a_worker_needs_something_to_do(site: Any) -> None:
    """Without a function it does not begin; and a refusal ends it."""
    async with connect(site.ws) as client:
        with pytest.raises(RuntimeError, match="on_message"):
            await Worker("helper").run(client)
    async with connect(site.server("bas")) as client:
        worker = Worker("helper")
        worker.on_message(echo)
        with pytest.raises(OperationRejected, match="namespace_not_here"):
            await worker.run(client)


async def test_a_worker_whose_client_ends(site: Any) -> None:
    """It is told: there is nothing more to wait for."""
    worker = Worker("helper")
    worker.on_message(echo)
    async with connect(site.ws, client="0123456789abcdef") as client:
        task = asyncio.create_task(worker.run(client))
        await until(lambda: site.broker.shared.router.namespaces[0].groups.members)
        async with connect(site.ws, client="0123456789abcdef"):
            await asyncio.wait([task])
    assert "4010" in str(task.exception())
