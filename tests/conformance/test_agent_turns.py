"""A turn's life over the wire: its checks in their order, its repeats, its snapshot."""

import pytest

from .agent import CHAT, GOOD, TURN, completed, failed, started, token
from .client import connect
from .engines import both_engines

pytestmark = both_engines

TOKEN, START, DONE, ERROR = (
    CHAT + name for name in ("token", "turnStarted", "turnCompleted", "error")
)
CALL = {**TURN, "toolName": "search", "toolCallId": "c", "arguments": {}}


async def code_of(peer, topic, body):
    """The error code of a publish; "" where it is acknowledged."""
    id = await peer.ask("publish", topic=topic, body=body)
    while True:
        message = await peer.next()
        if message["op"] == "error" and message["id"] == id:
            return message["code"]
        if message["op"] == "ack" and message["id"] >= id:
            return ""


OF_A_TURN = [name for name, body in GOOD.items() if "turnId" in body and name != "turnStarted"]


async def test_a_turn_has_to_be_started(peer):
    """Whatever belongs to a turn is `turn_not_started` before it begins."""
    for name in OF_A_TURN:
        assert await code_of(peer, CHAT + name, GOOD[name]) == "turn_not_started", name
    assert await code_of(peer, ERROR, failed()) == "turn_not_started"
    assert await code_of(peer, ERROR, GOOD["error"]) == ""


async def test_turns_are_named_within_their_session(peer):
    """The same turnId in another session is another turn."""
    await peer.publish(START, started())
    assert await code_of(peer, TOKEN, token(0, session="other")) == "turn_not_started"
    assert await code_of(peer, TOKEN, token(0)) == ""


async def test_a_token_gap_names_what_is_expected(peer):
    """Too far, or partly repeated: `token_gap` with the index of the next token."""
    await peer.publish(START, started())
    for index, count, expected in ((1, 1, 0), (5, 3, 0)):
        error = await peer.refused(TOKEN, token(index, tokenCount=count))
        assert (error["code"], error["retryable"]) == ("token_gap", True)
        assert error["detail"]["expected"] == expected
    await peer.publish(TOKEN, token(0, "abc", tokenCount=3))
    for index, count in ((2, 2), (0, 4), (4, 1)):
        error = await peer.refused(TOKEN, token(index, tokenCount=count))
        assert (error["code"], error["detail"]["expected"]) == ("token_gap", 3)
    await peer.publish(TOKEN, token(3))


async def test_repeats_are_acknowledged_and_dropped(site, codec):
    """Tokens, tool calls, turnStarted and the same end are accepted once, also afterwards."""
    said = [
        (START, started()),
        (TOKEN, token(0, "a")),
        (TOKEN, token(1, "bc", tokenCount=2)),
        (CHAT + "toolCallStarted", CALL),
        (CHAT + "toolCallCompleted", {**TURN, "toolCallId": "c", "result": 1}),
        (CHAT + "toolCallCompleted", {**TURN, "toolCallId": "unknown start"}),
        (DONE, completed(text="abc")),
        (CHAT + "messageSaved", {**TURN, "messageId": "m"}),
    ]
    async with (
        connect(site.ws, codec) as peer,
        connect(site.ws) as other,
        connect(site.ws) as reader,
    ):
        await reader.subscribe(CHAT + ">")
        for index, (topic, body) in enumerate(said):
            await peer.publish(topic, body)
            for earlier in said[: index + 1]:
                await peer.publish(*earlier)
        for earlier in said:
            assert await code_of(other, *earlier) == ""
        assert await code_of(other, TOKEN, token(0, "abc", tokenCount=3)) == ""
        await peer.publish(START, started("end"))
        events = []
        while not events or events[-1]["body"].get("turnId") != "end":
            events.append(await reader.get("event"))
        assert [(e["topic"], e["body"]) for e in events[:-1]] == said


async def test_a_closed_turn(peer):
    """After its end a turn takes repeats and `messageSaved`; all else is `turn_closed`."""
    for turn, topic, body in (("t", DONE, completed()), ("u", ERROR, failed("u"))):
        await peer.publish(START, started(turn))
        await peer.publish(TOKEN, token(0, turn=turn))
        await peer.publish(topic, body)
        assert await code_of(peer, TOKEN, token(0, turn=turn)) == ""
        assert await code_of(peer, topic, body) == ""
        for name in OF_A_TURN:
            expected = "" if name in ("token", "messageSaved") else "turn_closed"
            whole = {**GOOD[name], "turnId": turn}
            if name == "turnCompleted":
                whole["fullText"] = "something else"
            assert await code_of(peer, CHAT + name, whole) == expected, name
        assert await code_of(peer, TOKEN, token(1, turn=turn)) == "turn_closed"
        assert await code_of(peer, TOKEN, token(7, turn=turn)) == "turn_closed"
        assert await code_of(peer, ERROR, failed(turn, code="other")) == "turn_closed"


async def test_a_turn_belongs_to_its_publisher(site, codec):
    """Others get `turn_owned`; a cancel and `messageSaved` may come from anyone."""
    async with connect(site.ws, codec) as owner, connect(site.ws, codec) as other:
        await owner.publish(START, started())
        await owner.publish(TOKEN, token(0))
        for name in OF_A_TURN:
            expected = "" if name in ("token", "cancel", "messageSaved") else "turn_owned"
            assert await code_of(other, CHAT + name, GOOD[name]) == expected, name
        assert await code_of(other, TOKEN, token(1)) == "turn_owned"
        assert await code_of(other, ERROR, failed()) == "turn_owned"
        await owner.publish(TOKEN, token(1))
        await owner.publish(DONE, completed())


async def test_the_checks_come_in_their_order(site):
    """Not started, repeated, closed, owned, gap: the first that holds is the answer."""
    async with connect(site.ws) as owner, connect(site.ws) as other:
        assert await code_of(other, TOKEN, token(9)) == "turn_not_started"
        await owner.publish(START, started())
        assert await code_of(other, TOKEN, token(9)) == "turn_owned"
        assert await code_of(owner, TOKEN, token(9)) == "token_gap"
        await owner.publish(TOKEN, token(0))
        assert await code_of(other, TOKEN, token(0)) == ""
        await owner.publish(DONE, completed())
        assert await code_of(other, TOKEN, token(0)) == ""
        assert await code_of(other, TOKEN, token(9)) == "turn_closed"
        assert await code_of(other, DONE, completed()) == ""
        assert await code_of(other, DONE, completed(text="x")) == "turn_closed"


async def test_the_same_client_takes_its_turn_over(site, codec):
    """After a reconnect under the same `client`, the turn goes on."""
    url = f"{site.ws}?client=0123456789abcdef"
    async with connect(url, codec) as first:
        await first.publish(START, started())
        await first.publish(TOKEN, token(0))
        async with connect(url, codec) as second:
            assert await first.close_code() == 4010
            assert await code_of(second, TOKEN, token(0)) == ""
            assert await code_of(second, TOKEN, token(1)) == ""
            async with connect(f"{site.ws}?client=fedcba9876543210", codec) as stranger:
                assert await code_of(stranger, TOKEN, token(2)) == "turn_owned"
            assert await code_of(second, DONE, completed()) == ""


async def test_an_owed_cancel_comes_behind_the_welcome(site, codec):
    """To an owner that was away, and says who it is in the request."""
    url = f"{site.ws}?client=0123456789abcdef"
    async with connect(url, codec) as owner:
        await owner.publish(START, started())
    async with connect(site.ws, codec) as user:
        await user.publish(CHAT + "cancel", TURN)
    async with connect(url, codec) as owner:  # the first message that comes is the welcome
        assert (await owner.get("event"))["topic"] == CHAT + "cancel"


async def test_a_pipeline_of_a_whole_turn(site, codec):
    """A turn in one message: validated one behind the other, all of it accepted."""
    async with connect(site.ws, codec) as peer, connect(site.ws) as reader:
        await reader.subscribe(CHAT + ">", key="s")
        turn = [(START, started()), *((TOKEN, token(i, str(i))) for i in range(500))]
        turn.append((DONE, completed()))
        await peer.send(
            *[{"op": "publish", "id": i, "topic": t, "body": b} for i, (t, b) in enumerate(turn, 1)]
        )
        await peer.acked(len(turn))
        events = await reader.events(len(turn))
        assert [(e["topic"], e["body"]) for e in events] == turn
        cursors = [e["cursor"] for e in events]
        assert len(set(cursors)) == len(cursors)


async def test_an_error_in_a_pipeline_fails_alone(peer):
    """A gap in the middle refuses what is behind it, too, and nothing before it."""
    bodies = [started(), token(0), token(2), token(1), token(2)]
    await peer.send(
        *[
            {"op": "publish", "id": i, "topic": TOKEN if i > 1 else START, "body": body}
            for i, body in enumerate(bodies, 1)
        ]
    )
    error = await peer.get("error")
    assert (error["id"], error["detail"]["expected"]) == (3, 1)
    await peer.get("ack", id=5)
    assert not await peer.barrier()


@pytest.mark.parametrize("codec", ["json"])
async def test_repeated_messages_of_users(peer):
    """A messageId is accepted once in its session; elsewhere it is another message."""
    await peer.subscribe(CHAT + "userMessage", group="workers")
    message = {"sessionId": "s", "messageId": "m", "text": "hi"}
    for _ in range(3):
        await peer.publish(CHAT + "userMessage", message)
    await peer.publish(CHAT + "userMessage", {**message, "sessionId": "s2"})
    events = [m["body"]["sessionId"] for m in await peer.barrier() if m["op"] == "event"]
    assert events == ["s", "s2"]


async def test_many_turns_at_once_end_once_each(peer):
    """However many turns a session has open, the end of each may be repeated."""
    for n in range(40):
        await peer.publish(START, started(f"t{n}"))
    for n in reversed(range(40)):
        await peer.publish(DONE, completed(f"t{n}"))
        assert await code_of(peer, DONE, completed(f"t{n}")) == "", n
