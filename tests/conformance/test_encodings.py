"""Both encodings say the same: whatever is published in one is read in the other."""

from itertools import product

import msgspec
import pytest

from .agent import CHAT, started
from .client import CODECS, connect

BODIES = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**64 - 1, 1.5, -0.0, 1e300, 5e-324, "",
    "é🙂\u2028",
    "\x00\x1f\"\\/", "\ufffe", [], {}, [[], [[]]], {"": {"a.b": [None, {"$": 1}]}}, "x" * 70_000,
    list(range(20)), {str(i): i for i in range(20)}, [{"op": "event"}],
]  # fmt: skip
"""What JSON can say."""


@pytest.mark.parametrize(("publisher", "reader"), [*product(CODECS, CODECS)])
async def test_bodies_pass_unchanged(site, publisher, reader):
    """Any JSON value arrives as it was sent, live and replayed, whichever encodings meet."""
    async with (
        connect(site.server("bas"), publisher) as sender,
        connect(site.server("bas"), reader) as receiver,
    ):
        await receiver.subscribe("workflow.>")
        for n, body in enumerate(BODIES):
            await sender.publish(f"workflow.b{n}", body)
        live = await receiver.events(len(BODIES))
        assert [e["body"] for e in live] == BODIES
        assert [type(e["body"]) for e in live] == [type(b) for b in BODIES]
        replayed, _ = await receiver.replay("workflow.>")
        assert [e["body"] for e in replayed] == BODIES


@pytest.mark.parametrize(("publisher", "reader"), [*product(CODECS, CODECS)])
async def test_unknown_fields_of_typed_bodies_pass(site, publisher, reader):
    """Fields that a topic's type does not know arrive, live and in a snapshot."""
    async with connect(site.ws, publisher) as sender, connect(site.ws, reader) as receiver:
        await receiver.subscribe(CHAT + ">")
        body = started(traceId="é", more={"deep": [1, None, {"x": 1.5}]})
        await sender.publish(CHAT + "turnStarted", body)
        assert (await receiver.get("event"))["body"] == body
        [event], _ = await receiver.replay(CHAT + ">")
        assert event["body"] == body


async def test_readers_of_both_encodings_at_once(site, codec):
    """One event, two encodings: the same fields but for nothing."""
    async with (
        connect(site.server("bas"), codec) as sender,
        connect(site.server("bas"), "json") as json,
        connect(site.server("bas"), "msgpack") as packed,
    ):
        for peer in (json, packed):
            await peer.subscribe("workflow.>")
        await sender.publish("workflow.a", {"x": [1, "é"]}, key="k")
        assert await json.get("event") == await packed.get("event")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"\xc4\x01x", "$"),  # bytes
        (b"\x81\xa1a\x91\xc4\x01x", "$.a[0]"),
        (b"\xd4\x05\x00", "$"),  # an extension type
        (b"\x92\x01\xd6\xff\x00\x00\x00\x01", "$[1]"),  # a timestamp
        (b"\x81\x01\x02", "$"),  # a key that is no string
        (b"\x81\xa1a\x81\xc0\x02", "$.a"),
        (b"\x81\x80\x02", "$"),  # a key that is a map
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "$"),  # infinity
        (b"\x81\xa1a\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "$.a"),  # not a number
        (b"\xca\x7f\x80\x00\x00", "$"),
        (b"\xc7\x0c\xff" + b"\xff" * 12, "$"),  # a timestamp that is none
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else value,
)
async def test_msgpack_says_no_more_than_json(site, body, path):
    """Bytes, extensions, other keys than strings, infinite numbers are `bad_body`."""
    async with connect(site.server("bas"), "msgpack") as peer:
        whole = msgspec.msgpack.encode(
            {"op": "publish", "id": 1, "topic": "workflow.a", "body": msgspec.Raw(body)}
        )
        await peer.send_bytes(whole)
        error = await peer.get("error")
        assert (error["code"], error["id"], error["retryable"]) == ("bad_body", 1, False)
        assert error["detail"]["path"] == path
        await peer.publish("workflow.a", "after")


async def test_json_numbers_have_64_bits(site):
    """Integers of more than 64 bits, and numbers beyond a float, are `bad_body`."""
    async with connect(site.server("bas")) as peer:
        for number in (b"18446744073709551616", b"-9223372036854775809", b"1e999", b"9" * 400):
            id = peer.id()
            await peer.send_bytes(
                b'{"op":"publish","id":%d,"topic":"workflow.a","body":{"n":%s}}' % (id, number)
            )
            error = await peer.get("error", id=id)
            assert error["code"] == "bad_body", number
        await peer.publish("workflow.a", 2**64 - 1)


async def test_a_bad_escape_in_a_body(site, bystander):
    """Half a surrogate pair in a JSON string is refused, and reaches nobody."""
    async with (
        connect(site.server("bas")) as peer,
        connect(site.server("bas"), "msgpack") as reader,
    ):
        await reader.subscribe("workflow.a")
        for half in (b"\\ud800", b"\\udc00", b"\\ud800\\ud800", b"\\uD83D", b"\\x"):
            for body in (b'"%s"', b'{"%s":1}', b'[{"a":"%s"}]'):
                id = peer.id()
                await peer.send_bytes(
                    b'{"op":"publish","id":%d,"topic":"workflow.a","body":%s}' % (id, body % half)
                )
                error = await peer.get("error")
                assert error["code"] in ("bad_body", "bad_message"), (half, body)
        await peer.publish("workflow.a", "after")
        assert (await reader.get("event"))["body"] == "after"


async def test_deep_bodies_are_refused_before_anybody_reads_them(site, codec, bystander):
    """A body that some readers could not take is `bad_body`; a reasonable depth is fine."""
    async with connect(site.server("bas"), codec) as peer:
        body = 1
        for _ in range(50):
            body = [body]
        await peer.publish("workflow.a", body)
        for _ in range(400):
            body = {"a": body}
        assert (await peer.refused("workflow.a", body))["code"] == "bad_body"


async def test_json_formatting_of_a_body_is_no_matter(site):
    """White space and line ends around and inside a body do no harm to its readers."""
    async with (
        connect(site.server("bas")) as peer,
        connect(site.server("bas"), "msgpack") as packed,
    ):
        for reader in (peer, packed):
            await reader.subscribe("workflow.a")
        await peer.send_bytes(
            b' [ {"op" : "publish" ,\r\n "topic":"workflow.a", '
            b'"body" : \t{ "a" :\n[ 1 , 2 ] } \n} ] '
        )
        for reader in (peer, packed):
            assert (await reader.get("event"))["body"] == {"a": [1, 2]}
