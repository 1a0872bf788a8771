"""Messages that are no operations: each is answered, and nothing else changes."""

import random

import pytest

from .client import ENCODE, connect

PING = {"op": "ping"}


async def error_for(peer, data):
    """The error that answers one message of raw bytes."""
    await peer.send_bytes(data)
    return await peer.next()


async def test_malformed_json(site, bystander):
    """Bytes that are not one valid document fail as a whole, with one error."""
    async with connect(site.ws) as peer:
        for data in (
            b"", b" ", b"{", b"}", b"[", b"nul", b'{"op":"ping"}{"op":"ping"}', b"{'op':'ping'}",
            b'{"op":"ping",}', b'[{"op":"ping"},]', b'[{"op":"ping"}', b'{"op":"pi\nng"}',
            b'\xef\xbb\xbf{"op":"ping"}', b"NaN", b'{"op":"ping","x":01}', b"/**/{}",
            b'[{"op":"ping"},{"op":"ping"', b'{"op":"ping"}\x00', b'{"op":"\\ud800"}',
        ):  # fmt: skip
            error = await error_for(peer, data)
            assert (error["op"], error["code"]) == ("error", "bad_message"), data
            assert not await peer.barrier(), data


async def test_malformed_msgpack(site, bystander):
    """The same for MessagePack, with heads that promise more than there is."""
    async with connect(site.ws, "msgpack") as peer:
        for data in (
            b"", b"\x81", b"\xc1", b"\x81\xa2op", b"\x81\xa2op\xa4pin", b"\x92\x80",
            b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff", ENCODE["msgpack"](PING) * 2,
            b"\x81\xa2op\xa1\xff", b"\x82\xa2op\xa4ping\xa1x\xa1\xff\xff"[:-1] + b"\xff",
        ):  # fmt: skip
            error = await error_for(peer, data)
            assert (error["op"], error["code"]) == ("error", "bad_message"), data
            assert not await peer.barrier(), data


async def test_wrong_types(peer, bystander):
    """What is no object, or has a field of a wrong type, is `bad_message`."""
    for wrong in (
        1, "ping", None, True, 1.5, {}, {"op": None}, {"op": 1}, {"op": ["ping"]}, {"op": {}},
        {"op": "publish"}, {"op": "subscribe"}, {"op": "subscribe", "id": 1},
        {"op": "subscribe", "id": 1, "topic": ["a"]},
        {"op": "subscribe", "id": 1, "topic": "agent.status", "replay": "all"},
        {"op": "subscribe", "id": 1, "topic": "agent.status", "replay": None},
        {"op": "subscribe", "id": 1, "topic": "agent.status", "coalesce": "sometimes"},
        {"op": "subscribe", "id": 1, "topic": "agent.status", "key": 5},
        {"op": "subscribe", "id": 1, "topic": "agent.status", "key": None},
        {"op": "unsubscribe", "id": 1}, {"op": "refresh", "id": 1},
        {"op": "refresh", "id": 1, "token": 3}, {"op": "ping", "id": "x"},
        {"op": "ping", "id": None}, {"op": "hello", "client": 1}, {"op": "hello", "token": None},
        {"op": "publish", "topic": 3, "body": {}},
        {"op": "publish", "topic": "agent.status", "body": {}, "dedupe": ""},
    ):  # fmt: skip
        await peer.send(wrong)
        error = await peer.next()
        assert (error["op"], error["code"], error["retryable"]) == ("error", "bad_message", False)
        assert error["message"]
    assert not await peer.barrier()


async def test_what_is_none_of_the_choices(peer):
    """`bad_message` names the field, and what may stand there."""
    for field, choices in (
        ("replay", "'history', 'none', 'snapshot'"), ("coalesce", "'auto', 'never'"),
    ):  # fmt: skip
        id = await peer.ask("subscribe", topic="agent.status", **{field: "some"})
        error = await peer.next()
        assert (error["code"], error["id"]) == ("bad_message", id)
        assert f"'some' is none of {choices}" in error["message"]
        assert f"$.{field}" in error["message"]


async def test_unknown_ops(peer):
    """An unknown op is an error of its own, under its id."""
    for op in ("", "Ping", "pub", "welcome", "event", "x" * 5000, "🙂"):
        id = await peer.ask(op, any="thing")
        error = await peer.next()
        assert (error["code"], error["id"]) == ("unknown_op", id)
        assert len(error["message"]) < 500


async def test_unknown_fields_are_ignored(peer):
    """A field that this version does not know changes nothing."""
    await peer.send({"op": "ping", "id": 1, "future": {"deep": [None, {}]}, "": 1})
    assert await peer.next() == {"op": "pong", "id": 1}


async def test_one_bad_object_fails_alone(peer, bystander):
    """An array is no transaction: each object is answered as if it came alone, in order."""
    bad = [1, None, "x", [], [PING], {"op": "nope", "id": 4}, {"op": "publish", "id": 5}]
    mixed = [{"op": "ping", "id": 1}, *bad, {"op": "ping", "id": 9}]
    await peer.send_bytes(ENCODE[peer.codec](mixed))
    answers = [await peer.next() for _ in range(9)]
    assert answers[0] == {"op": "pong", "id": 1}
    assert [a.get("code") for a in answers[1:-1]] == ["bad_message"] * 5 + [
        "unknown_op", "bad_message",
    ]  # fmt: skip
    assert [a.get("id") for a in answers[1:-1]] == [None] * 5 + [4, 5]
    assert answers[-1] == {"op": "pong", "id": 9}


async def test_an_empty_array_is_nothing(peer):
    """An array of no objects asks for nothing."""
    await peer.send_bytes(ENCODE[peer.codec]([]))
    assert not await peer.barrier()


async def test_a_broken_document_fails_as_a_whole(site):
    """Good objects before the break are not handled."""
    async with connect(site.server("bas")) as peer:
        await peer.subscribe("workflow.>")
        await peer.send_bytes(b'[{"op":"publish","topic":"workflow.a","body":1},{"op":')
        assert (await peer.next())["code"] == "bad_message"
        await peer.publish("workflow.a", 2)
        assert (await peer.get("event"))["body"] == 2


async def test_several_answers_come_as_one_array(peer):
    """What is ready for a connection together leaves together."""
    before = peer.frames
    await peer.send(*[{"op": "ping", "id": i} for i in range(1, 101)])
    assert [(await peer.next())["id"] for _ in range(100)] == list(range(1, 101))
    assert peer.frames == before + 1


async def test_not_utf8_in_text_closes_1007(site, bystander):
    """In a key, in a value, in an unknown field: UTF-8 is checked for the whole message."""
    for data in (
        b'{"op":"\xff"}',
        b'{"\xc3(":1,"op":"ping"}',
        b'{"op":"ping","x":"\xf5"}',
        b"\x80",
    ):
        async with connect(site.ws) as peer:
            await peer.send_bytes(data)
            assert await peer.close_code() == 1007


async def test_not_utf8_in_msgpack_is_bad_message(site, bystander):
    """A MessagePack string that is not UTF-8 fails its operation; nothing closes."""
    head = b"\x84\xa2op\xa7publish\xa2id\x01\xa5topic"
    async with connect(site.server("bas"), "msgpack") as peer:
        error = await error_for(peer, head + b"\xa2w\xff\xa4body\x01")
        assert error["code"] == "bad_message"
        error = await error_for(peer, head + b"\xaaworkflow.a\xa4body\xa2x\xff")
        assert error["code"] == "bad_message"
        second = head.replace(b"\x01", b"\x02") + b"\xaaworkflow.a\xa4body\x81\xa1\xff\x01"
        await peer.send_bytes(second)
        assert (await peer.get("error", id=2))["code"] == "bad_message"
        await peer.barrier()


@pytest.mark.parametrize("where", ["alone", "body", "unknown field", "op", "id"])
async def test_deep_nesting(site, codec, bystander, where):
    """A message that is nested for ever is refused, and costs nobody anything."""
    opening, closing = (b"[", b"]") if codec == "json" else (b"\x91", b"")
    deep = opening * 100_000 + (b"1" if codec == "json" else b"\x01") + closing * 100_000
    raw = {"alone": deep}.get(where)
    if raw is None:
        whole = {"op": "publish", "topic": "workflow.a", "body": 77, "id": 1}
        field = {"body": "body", "unknown field": "more", "op": "op", "id": "id"}[where]
        whole[field] = "@@"
        mark = b'"@@"' if codec == "json" else b"\xa2@@"
        raw = ENCODE[codec](whole).replace(mark, deep)
    async with connect(site.server("bas"), codec) as peer:
        error = await error_for(peer, raw)
        assert error["op"] == "error"
        assert error["code"] in ("bad_message", "bad_body")
        await peer.barrier()


@pytest.mark.parametrize("where", ["chat", "bas"])
async def test_random_mutations_of_good_messages(site, codec, bystander, where):
    """Good messages with random bytes changed are answered or end their connection."""
    chance = random.Random(f"{where}{codec}")
    body = {"sessionId": "s", "turnId": "t", "agentId": "a", "token": "é", "tokenIndex": 0}
    good = [
        {"op": "hello", "client": "0123456789abcdef"},
        {"op": "subscribe", "id": 1, "topic": "agent.chat.>" if where == "chat" else "workflow.*"},
        {"op": "publish", "id": 2, "topic": "agent.chat.token", "body": {**body, "isLast": False}},
        {"op": "publish", "id": 3, "topic": "workflow.a", "key": "k", "body": [1.5, {"a": None}]},
        {"op": "publish", "id": 4, "topic": "agent.chat.turnStarted",
         "body": {"sessionId": "s", "turnId": "t", "agentId": "a"}},
        {"op": "ping", "id": 9},
    ]  # fmt: skip
    base = ENCODE[codec](good)
    for _ in range(150):
        data = bytearray(base)
        for _ in range(chance.randrange(1, 5)):
            spot = chance.randrange(len(data))
            data[spot : spot + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        async with connect(site.server(where), codec) as peer:
            await peer.send_bytes(bytes(data))
            await peer.socket.close()


async def test_error_texts_are_short_and_readable(peer):
    """A huge wrong value does not come back in the error."""
    await peer.send({"op": "subscribe", "id": 1, "topic": "!" * 100_000})
    error = await peer.next()
    assert error["code"] == "bad_pattern"
    assert len(error["message"]) < 1000


async def test_a_message_of_nothing_but_mistakes(site, bystander):
    """The first hundred bad objects of one message are answered; then the connection ends."""
    async with connect(site.ws) as peer:
        await peer.send(*[1] * 10_000)
        assert await peer.close_code() == 4009
        assert [m["op"] for m in peer.inbox] == ["error"] * 100 + ["goodbye"]
