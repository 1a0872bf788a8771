"""What a page that opens late is told of a session."""

import json

import pytest

from .agent import CHAT, TURN, completed, failed, started, token
from .client import connect
from .engines import both_engines

pytestmark = both_engines

TOKEN, START, DONE, ERROR = (
    CHAT + name for name in ("token", "turnStarted", "turnCompleted", "error")
)
CALL = {**TURN, "toolName": "search", "toolCallId": "c", "arguments": {"q": 1}}


async def snapshot(site, session="s", codec="json"):
    """The snapshot of one session, as (topic, body), read on a connection of its own."""
    async with connect(site.ws, codec) as reader:
        events, end = await reader.replay(CHAT + ">", key=session)
        assert all("cursor" not in e and e["key"] == session for e in events)
        assert end["cursor"]
        return [(e["topic"].removeprefix(CHAT), e["body"]) for e in events]


async def test_nothing_was_said(site):
    """A session that nobody knows has an empty snapshot."""
    assert await snapshot(site) == []


async def test_an_open_turn(site, codec):
    """turnStarted, all the text so far as one token event, the open tool calls."""
    async with connect(site.ws, codec) as peer:
        await peer.publish(START, started(messageId="m", more=1))
        assert await snapshot(site) == [("turnStarted", started(messageId="m", more=1))]
        for index, text in enumerate(["Hé", "", "llo ", "🙂"]):
            await peer.publish(TOKEN, token(index, text))
        await peer.publish(CHAT + "toolCallStarted", CALL)
        await peer.publish(CHAT + "toolCallStarted", {**CALL, "toolCallId": "d"})
        await peer.publish(CHAT + "toolCallCompleted", {**TURN, "toolCallId": "c"})
        await peer.publish(CHAT + "thinking", {**TURN, "text": "hm"})
        assert await snapshot(site, codec=codec) == [
            ("turnStarted", started(messageId="m", more=1)),
            ("token", token(0, "Héllo 🙂", tokenCount=4)),
            ("toolCallStarted", {**CALL, "toolCallId": "d"}),
        ]


@pytest.mark.parametrize(
    "text", [" word", "schöne ", "漢字", "🙂🙃", 'x = "\\t";\n', "\x01"], ids=ascii
)
async def test_a_snapshot_is_not_much_larger_than_its_text(site, codec, text):
    """At most 1.2 times and 1 KiB, in bytes of the encoding: JSON escapes what it has to, and
    nothing else, however the publisher wrote it."""
    escaped = json.dumps([
        {"op": "publish", "id": 2 + n, "topic": TOKEN, "body": token(n, text)} for n in range(2000)
    ]).encode()  # fmt: skip
    whole = text * 2000
    written = whole if codec == "msgpack" else json.dumps(whole, ensure_ascii=False)
    async with connect(site.ws, "json") as peer, connect(site.ws, codec) as reader:
        await peer.publish(START, started())
        await peer.send_bytes(escaped)
        await peer.acked(2001)
        before = reader.bytes
        events, _ = await reader.replay(CHAT + ">", key="s")
        assert "".join(event["body"].get("token", "") for event in events) == whole
        assert reader.bytes - before <= 1.2 * len(written.encode()) + 1024


async def test_is_last_shows_in_a_snapshot(site):
    """Once the last token came, the text so far says so."""
    async with connect(site.ws) as peer:
        await peer.publish(START, started())
        await peer.publish(TOKEN, token(0, "a"))
        await peer.publish(TOKEN, token(1, "b", last=True))
        assert (await snapshot(site))[1] == ("token", token(0, "ab", last=True, tokenCount=2))


async def test_a_completed_turn(site):
    """Once no turn is open: the last one that ended, as turnStarted and turnCompleted."""
    async with connect(site.ws) as peer:
        for turn in ("one", "two"):
            await peer.publish(START, started(turn))
            await peer.publish(TOKEN, token(0, "abc", turn))
            await peer.publish(DONE, completed(turn, text="abc"))
        assert await snapshot(site) == [
            ("turnStarted", started("two")), ("turnCompleted", completed("two", text="abc")),
        ]  # fmt: skip


async def test_a_completed_turn_has_no_open_tool_calls(site):
    """A tool call that never ended is over with its turn."""
    async with connect(site.ws) as peer:
        await peer.publish(START, started())
        await peer.publish(CHAT + "toolCallStarted", CALL)
        await peer.publish(DONE, completed())
        assert await snapshot(site) == [("turnStarted", started()), ("turnCompleted", completed())]


async def test_a_failed_turn_keeps_its_text(site):
    """turnStarted, its text as one token event, and the error; no open tool calls."""
    async with connect(site.ws) as peer:
        await peer.publish(START, started())
        await peer.publish(TOKEN, token(0, "so "))
        await peer.publish(TOKEN, token(1, "far"))
        await peer.publish(CHAT + "toolCallStarted", CALL)
        await peer.publish(ERROR, failed())
        assert await snapshot(site) == [
            ("turnStarted", started()), ("token", token(0, "so far", tokenCount=2)),
            ("error", failed()),
        ]  # fmt: skip


async def test_open_turns_come_before_ended_ones(site):
    """While any turn is open, the snapshot is of the open ones, in the order of their start."""
    async with connect(site.ws) as peer:
        for turn in ("a", "b", "c"):
            await peer.publish(START, started(turn))
        await peer.publish(DONE, completed("b"))
        await peer.publish(TOKEN, token(0, "x", "c"))
        assert await snapshot(site) == [
            ("turnStarted", started("a")), ("turnStarted", started("c")),
            ("token", token(0, "x", "c", tokenCount=1)),
        ]  # fmt: skip


async def test_an_error_without_a_turn_ends_none(site):
    """It is an event of the session, and its turns go on."""
    async with connect(site.ws) as peer:
        await peer.publish(START, started())
        error = failed()
        del error["turnId"]
        await peer.publish(ERROR, error)
        await peer.publish(TOKEN, token(0))
        assert [topic for topic, _ in await snapshot(site)] == ["turnStarted", "token"]


async def test_the_snapshot_and_live_meet(site, codec):
    """A late reader's text is whole: the snapshot's, and then every token behind it."""
    async with connect(site.ws) as peer, connect(site.ws, codec) as reader:
        await peer.publish(START, started())
        batch = [{"op": "publish", "topic": TOKEN, "body": token(i, f"{i} ")} for i in range(400)]
        for first in range(0, 200, 20):
            await peer.send(*batch[first : first + 20])
        await reader.ask("subscribe", topic=CHAT + "*", key="s", replay="snapshot")
        for first in range(200, 400, 20):
            await peer.send(*batch[first : first + 20])
        expected, text, replayed = 0, "", False
        while expected < 400:
            message = await reader.next()
            replayed = replayed or message["op"] == "replayed"
            if message.get("topic") != TOKEN:
                continue
            assert ("sub" in message) is not replayed
            body = message["body"]
            assert body["tokenIndex"] == expected
            expected += body.get("tokenCount", 1)
            text += body["token"]
        assert text == "".join(f"{i} " for i in range(400))
