"""The bodies of the agent topics: what is accepted, and what exactly is wrong with the rest."""

import pytest

from .agent import CHAT, GOOD, OPTIONAL, TURN, completed, failed, started, status, token
from .client import connect


async def open_turn(peer, session="s", turn="t"):
    await peer.publish(CHAT + "turnStarted", started(turn, session))


async def test_every_good_body_is_accepted(site, codec):
    """Each topic, with only its required fields, then with its optional ones; unchanged."""
    async with (
        connect(site.ws, codec) as peer,
        connect(site.ws) as reader,
        connect(site.ws) as worker,
    ):
        await reader.subscribe(CHAT + "*")
        for topic in ("userMessage", "userAudio"):
            await worker.subscribe(CHAT + topic, group="workers")
        for session, extra in (
            ("s", {}),
            ("s2", OPTIONAL),
            ("s3", {name: {"x": [1]} for name in GOOD}),
        ):
            for topic, body in GOOD.items():
                whole = {**body, **extra.get(topic, {}), "sessionId": session}
                if topic == "error" and "turnId" in whole:
                    await open_turn(peer, session, "t2")
                    assert (await reader.get("event"))["body"]["turnId"] == "t2"
                    whole["turnId"] = "t2"
                await peer.publish(CHAT + topic, whole)
                event = await reader.get("event")
                assert (event["topic"], event["body"]) == (CHAT + topic, whole)
                assert event["key"] == session


@pytest.mark.parametrize("topic", GOOD)
async def test_missing_wrong_and_null_fields(site, codec, topic):
    """Each is `bad_body`, with the field's path, and nothing is accepted."""
    async with connect(site.ws, codec) as peer:
        await open_turn(peer)
        good = {**GOOD[topic], **OPTIONAL.get(topic, {})}
        for field in good:
            wrong = [
                {**good, field: None},
                {**good, field: [] if isinstance(good[field], dict) else {"a": 1}},
                {k: v for k, v in good.items() if k != field},
            ]
            if field in OPTIONAL.get(topic, {}):
                wrong.pop()
                if field in ("result", "error", "metadata"):
                    wrong.pop()
            for body in wrong:
                error = await peer.refused(CHAT + topic, body)
                assert (error["code"], error["topic"]) == ("bad_body", CHAT + topic), body
                assert error["detail"]["path"] == f"$.{field}", body
        for body in ([], "x", 1, None, [good]):
            error = await peer.refused(CHAT + topic, body)
            assert (error["code"], error["detail"]["path"]) == ("bad_body", "$"), body


BAD = {
    "index below 0": ("token", token(-1), "$.tokenIndex"),
    "index is a text": ("token", token("0"), "$.tokenIndex"),
    "index is not whole": ("token", token(0.5), "$.tokenIndex"),
    "index is a truth": ("token", token(True), "$.tokenIndex"),
    "index over 63 bits": ("token", token(2**63), "$.tokenIndex"),
    "no tokens": ("token", token(0, tokenCount=0), "$.tokenCount"),
    "last is a number": ("token", token(0, last=1), "$.isLast"),
    "empty session": ("token", token(0, session=""), "$.sessionId"),
    "long turn": ("token", token(0, turn="x" * 256), "$.turnId"),
    "tool names": ("turnCompleted", completed(toolCallsUsed=["a", 1]), "$.toolCallsUsed[1]"),
    "finish reason": ("turnCompleted", completed(finishReason="bored"), "$.finishReason"),
    "negative time": ("turnCompleted", completed(durationMs=-1), "$.durationMs"),
    "percent over 100": ("progress", {**TURN, "percent": 100.5, "message": ""}, "$.percent"),
    "questions": ("suggestions", {**TURN, "questions": [None]}, "$.questions[0]"),
    "retryable": ("error", failed(retryable="no"), "$.retryable"),
    "unknown beside wrong": ("token", token("0", more={"x": 1}), "$.tokenIndex"),
}


@pytest.mark.parametrize("codec", ["json"])
async def test_the_path_of_what_is_wrong(peer):
    """`detail.path` leads to the very value, also inside lists."""
    for name, (topic, body, path) in BAD.items():
        error = await peer.refused(CHAT + topic, body)
        assert (error["code"], error["detail"]["path"]) == ("bad_body", path), name


async def test_status_bodies(peer):
    """The status is one of four words."""
    for state in ("online", "busy", "degraded", "offline"):
        await peer.publish("agent.status", status("a", state, detail=["x"], activeTurns=0))
    for wrong, path in (
        ({"agentId": "a"}, "$.status"), (status(state="idle"), "$.status"),
        (status(agent=""), "$.agentId"), ({"status": "online"}, "$.agentId"),
        (status(detail=None), "$.detail"), (status(activeTurns=-1), "$.activeTurns"),
    ):  # fmt: skip
        error = await peer.refused("agent.status", wrong)
        assert (error["code"], error["detail"]["path"]) == ("bad_body", path)


async def test_a_key_that_disagrees_is_bad_body(peer):
    """The key comes from the body; one that is given has to be the same."""
    error = await peer.refused(CHAT + "turnStarted", started(), key="other")
    assert (error["code"], error["detail"]["path"]) == ("bad_body", "$.sessionId")
    error = await peer.refused("agent.status", status("a"), key="b")
    assert (error["code"], error["detail"]["path"]) == ("bad_body", "$.agentId")
    await peer.publish(CHAT + "turnStarted", started(), key="s")
    await peer.publish("agent.status", status("a"), key="a")


async def test_a_session_that_cannot_be_a_key(peer):
    """What no key may be, no session may be."""
    for session in ("\n", "ü" * 128, "a\x00"):
        error = await peer.refused(CHAT + "turnStarted", started(session=session))
        assert error["code"] in ("bad_message", "bad_body")
    await peer.publish(CHAT + "turnStarted", started(session="é 🙂"))
