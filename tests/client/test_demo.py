"""The demo agent: it answers about the question, concurrently, and survives its own bugs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from broker.client import Event, Subscription
from plugins.agent.client import AgentClient, connect
from plugins.agent.demo import agent as demo
from plugins.agent.demo.agent import DemoAgent
from plugins.agent.demo.answers import answer, calculate, tokens
from plugins.agent.demo.wishes import Wishes, wishes

from .test_turn import kinds, until_end


async def at_once(seconds: float) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def agent(url: str, sleep: demo.Sleep = at_once) -> AsyncIterator[asyncio.Task[None]]:
    """A demo agent that is online."""
    async with connect(url) as client, client.subscribe("agent.status", demo.AGENT) as status:
        task = asyncio.create_task(DemoAgent(1000, sleep=sleep).worker.run(client))
        while (await anext(status)).body["status"] != "online":
            pass
        yield task
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def user(site: Any) -> AsyncIterator[AgentClient]:
    async with connect(site.ws) as it:
        yield it


async def ask(user: AgentClient, session: str, text: str) -> None:
    body = {"sessionId": session, "messageId": f"m-{text}", "text": text}
    await (await user.publish("agent.chat.userMessage", body))


async def answered(events: Subscription) -> list[Event]:
    """The turn that answers the next message."""
    events_of_turn = await until_end(events)
    assert kinds(events_of_turn)[:2] == ["userMessage", "turnStarted"]
    return events_of_turn[1:]


async def test_it_answers_as_a_backend_would(site: Any, user: AgentClient) -> None:
    """It takes the message up, thinks, calls a tool, streams the text, and completes."""
    async with agent(site.ws), user.subscribe("agent.chat.*", "s", coalesce="never") as events:
        await ask(user, "s", "What is 6*7?")
        turn = await answered(events)
    assert turn[0].body["messageId"] == "m-What is 6*7?"
    names = list(dict.fromkeys(kinds(turn)))
    assert names == [
        "turnStarted", "thinking", "toolCallStarted", "toolCallCompleted", "token",
        "suggestions", "turnCompleted",
    ]  # fmt: skip
    end = turn[-1].body
    spoken = [event.body["token"] for event in turn if event.topic == "agent.chat.token"]
    assert "42" in end["fullText"]
    assert end["fullText"] == "".join(spoken)
    assert end["outputTokens"] == len(spoken) - 1
    assert end["toolCallsUsed"] == ["calculator"]


async def test_it_shows_everything(site: Any, user: AgentClient) -> None:
    """Asked for everything, a turn has whatever a turn can have, in its order."""
    async with agent(site.ws), user.subscribe("agent.chat.*", "s", coalesce="never") as events:
        await ask(user, "s", "Show me everything about a turn.")
        turn = await answered(events)
    assert list(dict.fromkeys(kinds(turn))) == [
        "turnStarted", "thinking", "progress", "toolCallStarted", "toolCallCompleted", "token",
        "action", "suggestions", "messageSaved", "turnCompleted",
    ]  # fmt: skip
    bodies = {kind: event.body for kind, event in zip(kinds(turn), turn, strict=True)}
    assert bodies["progress"]["percent"] == 100
    assert bodies["action"]["action"] == {"type": "change_theme", "value": "dark"}
    assert bodies["turnCompleted"]["toolCallsUsed"] == ["count_words", "glossary"]


async def test_it_fails_when_asked_to(site: Any, user: AgentClient) -> None:
    """In the middle of its answer, with an error that says why."""
    async with agent(site.ws), user.subscribe("agent.chat.*", "s") as events:
        await ask(user, "s", "Please fail.")
        turn = await answered(events)
    assert "token" in kinds(turn)
    assert turn[-1].body["code"] == "asked_to_fail"
    assert turn[-1].body["retryable"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is a turn?", Wishes(False, False, "", False, False)),
        ("A light theme, please, no dark one", Wishes(False, False, "light", False, False)),
        ("Progress and tools", Wishes(True, True, "", False, False)),
        ("save it, and fail", Wishes(False, False, "", True, True)),
        ("EVERYTHING!", Wishes(True, True, "dark", True, False)),
        ("Everything in light", Wishes(True, True, "light", True, False)),
        ("darkness progresses, failing", Wishes(False, False, "", False, False)),
    ],
)
def test_what_is_wished_for(question: str, expected: Wishes) -> None:
    """Whole words, in any case."""
    assert wishes(question) == expected


async def test_it_answers_several_at_once(site: Any, user: AgentClient) -> None:
    """A long answer in one session does not keep another waiting."""
    stuck = asyncio.Event()
    first = True

    async def sleep(seconds: float) -> None:
        nonlocal first
        if first:
            first = False
            await stuck.wait()

    async with (
        agent(site.ws, sleep),
        user.subscribe("agent.chat.*", "a") as slow,
        user.subscribe("agent.chat.*", "b") as quick,
    ):
        await ask(user, "a", "What is a topic?")
        assert kinds([await anext(slow) for _ in range(3)])[-1] == "thinking"
        await ask(user, "b", "What is a cursor?")
        assert "place in a stream" in (await answered(quick))[-1].body["fullText"]
        stuck.set()
        while kinds([await anext(slow)]) != ["turnCompleted"]:
            pass


async def test_a_bug_in_one_answer_ends_that_turn_only(
    site: Any, user: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user gets an error for it, and the next message its answer."""

    def buggy(question: str) -> Any:
        if question == "bug":
            raise RuntimeError("a bug")
        return answer(question)

    monkeypatch.setattr(demo, "answer", buggy)
    async with agent(site.ws), user.subscribe("agent.chat.*", "s") as events:
        await ask(user, "s", "bug")
        failed = await answered(events)
        assert kinds(failed) == ["turnStarted", "error"]
        assert failed[-1].body["code"] == "agent_failed"
        await ask(user, "s", "What time is it?")
        assert (await answered(events))[-1].body["toolCallsUsed"] == ["clock"]


async def test_stopping_it_ends_its_turns_and_says_so(site: Any, user: AgentClient) -> None:
    """Cancelled in the middle of an answer, it completes the turn and goes offline."""
    speaking = asyncio.Event()

    async def sleep(seconds: float) -> None:
        speaking.set()
        await asyncio.Event().wait()

    async with (
        user.subscribe("agent.status", demo.AGENT) as status,
        user.subscribe("agent.chat.*", "s") as events,
        agent(site.ws, sleep) as task,
    ):
        await ask(user, "s", "hello")
        await speaking.wait()
        task.cancel()
        assert (await answered(events))[-1].body["finishReason"] == "cancelled"
        assert [(await anext(status)).body["status"] for _ in range(2)] == ["online", "offline"]


@pytest.mark.parametrize(
    ("question", "tool", "part"),
    [
        ("What is 2 + 3 * 4?", "calculator", "makes 14."),
        ("and (2^10)/4 ?", "calculator", "makes 256.0."),
        ("1/0", "calculator", "divided by zero"),
        ("9**9**9", "calculator", "too large"),
        ("What are turns?", "glossary", "always ends"),
        ("Which day is it?", "clock", "Saturday, 21 November 2026"),
        ("My dog barks at 3 neighbours.", "inspect_text", "a statement of 6 words"),
        ("call 123-456 on 2026-11-21", "calculator", "123-456"),
        ("", "inspect_text", "nothing that I could read"),
        ("(((((" * 1000, "inspect_text", "You wrote"),
        ("…🙂", "inspect_text", "…🙂"),
    ],
)
def test_answers_are_about_the_question(question: str, tool: str, part: str) -> None:
    """Sums, words of the glossary, the time; anything else is read closely."""
    made = answer(question, lambda: datetime(2026, 11, 21, 7, 30))
    assert made.tool == tool
    assert part in made.text
    assert made.text.count(". ") >= 2
    assert "".join(tokens(made.text)) == made.text


@pytest.mark.parametrize(
    "expression",
    ["__import__('os')", "a", "1 if 1 else 2", "(-8)**0.5", "'a'*9", "1e308*10", "2**65", "1//0"],
)
def test_the_calculator_does_sums_only(expression: str) -> None:
    """Nothing but numbers and plain arithmetic is evaluated, and nothing huge."""
    with pytest.raises(ValueError, match=r"sum|large|zero"):
        calculate(expression)


def test_tokens_are_pieces_of_words_with_leading_spaces() -> None:
    """As a model's are."""
    assert list(tokens("Tokenizers split, often.")) == [
        "Token",
        "izers",
        " split",
        ",",
        " often",
        ".",
    ]
