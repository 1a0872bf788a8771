"""A reader of chat over HTTP that falls behind all that is kept of its turn."""

import pytest

from plugins.agent.dialects import DIALECTS

from .agent import completed, started
from .chat import SOON, asking, flood, settled, working
from .engines import both_engines
from .sse import parse


def keeping(events, **chosen):
    """A broker that retains so few events of a session."""
    return {"namespaces": {"agent.chat": {"history": {"events": events}, "options": chosen}}}


def said(events):
    """All text of what a front end was told, whatever its dialect."""
    names = "token", "text", "content"
    data = [event.json for event in events if event.data != "[DONE]"]
    kinds = {"agent_response", "thinking", "done"}
    return "".join(
        next((each[name] for name in names if name in each), "")
        for each in data
        if each.get("type") not in kinds
    )


@both_engines
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("ended", [False, True])
async def test_a_reader_beyond_what_is_kept_gets_all_of_the_text(
    start, engine, dialect, ended, monkeypatch
):
    """It reads nothing until most tokens were let go: then the turn is told from its state,
    and of that only what the front end has not had; whether the turn has ended or not."""
    monkeypatch.setattr(DIALECTS["guide"].__class__, "lingers", SOON)
    site = await start(**keeping(100))
    async with working(site) as agent, asking(site, dialect, receive_buffer=4096) as response:
        await agent.start()
        text = await flood(agent, 1500)
        if not ended:
            while len(b"".join(response.chunks)) < len(text):
                await response.chunk()
            text += await flood(agent, 10, 1500)
        await agent.say("turnCompleted", completed(text=text))
        await response.rest()
        events = parse(b"".join(response.chunks).decode())
        assert said(events) == text
        begun = [e for e in events if e.event == "turn_start" or '"stream_start"' in e.data]
        assert len(begun) == (dialect in ("octopus", "guide"))
        assert "slow_consumer" not in events[-1].data
    await settled(site, 0)


async def test_a_tool_call_whose_end_was_let_go_is_done(start):
    """Its front end would show it for ever; one that is still open is not told twice."""
    site = await start(**keeping(100))
    call = {"sessionId": "s", "turnId": "t", "arguments": {}}
    async with working(site) as agent, asking(site, "octopus", receive_buffer=4096) as response:
        await agent.start()
        for id in "ab":
            await agent.say("toolCallStarted", {**call, "toolCallId": id, "toolName": "look"})
        await response.get("tool_call")
        await response.get("tool_call")
        done = {"sessionId": "s", "turnId": "t", "toolCallId": "a"}
        await flood(agent, 2000)
        await agent.say("toolCallCompleted", done)
        text = await flood(agent, 2000, 2000)
        while text[-50:].encode() not in b"".join(response.chunks):
            await response.chunk()
        await agent.say("toolCallCompleted", {**done, "toolCallId": "b"})
        await agent.say("turnCompleted", completed())
        await response.rest()
        events = parse(b"".join(response.chunks).decode())
        told = [(e.event, e.json["tool_call_id"]) for e in events if e.event.startswith("tool_")]
        assert told == [
            ("tool_call", "a"), ("tool_call", "b"), ("tool_result", "a"), ("tool_result", "b"),
        ]  # fmt: skip


async def test_a_turn_of_which_nothing_is_kept_fails(start):
    """So many others have ended since that nobody can say what became of it."""
    site = await start(**keeping(32))
    async with working(site) as agent, asking(site, "opshub", receive_buffer=4096) as response:
        await agent.start()
        await flood(agent, 4000)
        await agent.say("turnCompleted", completed())
        for number in range(50):
            await agent.say("turnStarted", started(f"o{number}"))
            await agent.say("turnCompleted", completed(f"o{number}"))
        await agent.peer.barrier()
        assert (await response.rest())[-1].json["type"] == "error"
    await settled(site, 0)


@both_engines
@pytest.mark.parametrize("given_up", [False, True])
async def test_a_question_that_waits_while_others_say_more_than_is_kept(start, engine, given_up):
    """It has its answer all the same; or an end, if why it has none was let go as well."""
    site = await start(**keeping(32))
    async with working(site) as agent, asking(site, "opshub") as response:
        message = await agent.given()
        await agent.say("turnStarted", started("other"))
        await flood(agent, 2000, turn="other")
        if given_up:
            why = {"code": "busy", "message": "no", "retryable": True}
            of = {"sessionId": "s", "messageId": message["messageId"]}
            await agent.say("error", {**of, **why})
        await flood(agent, 2000, 2000, turn="other")
        if not given_up:
            await agent.say("turnStarted", started(messageId=message["messageId"]))
            await agent.say("turnCompleted", completed(text="Hello"))
        kinds = [event.json["type"] for event in await response.rest()]
        assert kinds == (["error"] if given_up else ["text_delta", "done"])
