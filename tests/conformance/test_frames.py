"""What is no good WebSocket frame, or no good message: answered in kind, and alone."""

import random
from contextlib import AsyncExitStack

import msgspec
import pytest

from .client import connect
from .rawsocket import (
    BINARY,
    CLOSE,
    CONTINUED,
    PING,
    PONG,
    TEXT,
    dial,
    frame,
    request,
    shake_hands,
    text,
)

PINGED = {"op": "ping", "id": 1}

BROKEN_FRAMES = {
    "unmasked text": (frame(TEXT, b'{"op":"ping"}', masked=False), 1002),
    "unmasked ping": (frame(PING, b"12345678", masked=False), 1002),
    "short unmasked text": (frame(TEXT, b"{}", masked=False), 1002),
    "unmasked empty ping": (frame(PING, masked=False), 1002),
    "reserved bit 1": (frame(TEXT, b"{}", rsv=4), 1002),
    "reserved bit 2": (frame(TEXT, b"{}", rsv=2), 1002),
    "reserved bit 3": (frame(TEXT, b"{}", rsv=1), 1002),
    "reserved opcode 3": (frame(0x3, b"{}"), 1002),
    "reserved opcode 11": (frame(0xB, b"{}"), 1002),
    "continuation of nothing": (frame(CONTINUED, b"{}"), 1002),
    "text inside a fragmented text": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    "fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "close code of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close code 1005": (frame(CLOSE, b"\x03\xed"), 1002),
    "close reason that is not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "binary where text is due": (frame(BINARY, b"\x80"), 1003),
    "fragmented binary": (frame(BINARY, b"\x80", fin=False) + frame(CONTINUED, b""), 1003),
    "text that is not UTF-8": (frame(TEXT, b'{"op":"ping","x":"\xff"}'), 1007),
    "a surrogate in UTF-8": (frame(TEXT, b'{"op":"ping","x":"\xed\xa0\x80"}'), 1007),
    "too big": (frame(TEXT, b" " * ((1 << 20) + 1)), 1009),
    "too big, by its head alone": (b"\x81\xff" + (2**20 + 1).to_bytes(8, "big") + b"mask", 1009),
    "far too big": (b"\x81\xff" + (2**63 - 1).to_bytes(8, "big") + b"mask", 1009),
    "too big in fragments": (
        frame(TEXT, b" " * 600_000, fin=False) + frame(CONTINUED, b" " * 600_000), 1009,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_FRAMES)
async def test_a_broken_frame_closes_its_own_connection(site, bystander, name):
    """The close code says what was wrong; nobody else notices."""
    data, code = BROKEN_FRAMES[name]
    async with shake_hands(site.address) as raw:
        await raw.send(data)
        assert await raw.close_code() == code


async def test_text_where_binary_is_due(site, bystander):
    """A MessagePack connection does not take text frames."""
    async with connect(site.ws, "msgpack") as peer:
        await peer.socket.send("{}", text=True)
        assert await peer.close_code() == 1003


async def test_messages_of_exactly_the_limit_pass(site, bystander):
    """`limits.maxMessageBytes` itself is allowed."""
    async with shake_hands(site.address) as raw:
        padding = b" " * ((1 << 20) - len(b'{"op":"ping","id":1}'))
        await raw.send(frame(TEXT, padding + b'{"op":"ping","id":1}'))
        await raw.get("pong", id=1)


async def test_fragments_make_one_message(site):
    """A message may come in frames, cut inside a character, with pings in between."""
    body = 'é🙂"\\'
    message = ('{"op":"ping","id":1,"x":"' + body[:2] + '"}').encode()
    async with shake_hands(site.address) as raw:
        await raw.send(frame(TEXT, message[:1], fin=False))
        for index in range(1, len(message) - 1):
            await raw.send(frame(PING, bytes([index])))
            await raw.send(frame(CONTINUED, message[index : index + 1], fin=False))
        await raw.send(frame(CONTINUED, message[-1:]))
        pongs = []
        while True:
            opcode, payload = await raw.read_frame()
            if opcode == PONG:
                pongs.append(payload)
            elif opcode != PING:
                break
        assert pongs == [bytes([i]) for i in range(1, len(message) - 1)]
        assert (opcode, payload) == (TEXT, b'{"op":"pong","id":1}')
        await raw.send(text({"op": "ping", "id": 2}))
        await raw.get("pong", id=2)


async def test_large_messages_completed_at_once(site, bystander):
    """Those of several connections take turns, each is handled whole, and before what follows."""
    count = 1500
    pings = [{"op": "ping", "id": n, "x": "y" * 100} for n in range(1, count)]
    message = msgspec.json.encode(pings)
    more = text({"op": "ping", "id": count})
    cut = frame(TEXT, message)
    ways = [
        (cut[:-1], cut[-1:] + more),
        (frame(TEXT, message[:-1], fin=False), frame(CONTINUED, message[-1:]) + more),
    ] * 4
    async with AsyncExitStack() as stack:
        raws = [await stack.enter_async_context(shake_hands(site.address)) for _ in ways]
        for raw, (first, _) in zip(raws, ways, strict=True):
            await raw.send(first)
        for raw, (_, last) in zip(raws, ways, strict=True):
            await raw.send(last)
        for raw in raws:
            await raw.get("pong", id=1)
            assert [(await raw.next())["id"] for _ in range(1, count)] == [*range(2, count + 1)]


async def test_empty_fragments_and_empty_last_frame(site):
    """Frames of no bytes are frames too."""
    async with shake_hands(site.address) as raw:
        parts = [frame(TEXT, b"", fin=False), frame(CONTINUED, b'{"op":"ping",', fin=False)]
        parts += [frame(CONTINUED, b'"id":9}', fin=False), frame(CONTINUED, b"")]
        await raw.send(b"".join(parts))
        await raw.get("pong", id=9)


async def test_bytes_may_come_one_by_one(site):
    """How TCP cuts the stream makes no difference."""
    async with shake_hands(site.address) as raw:
        data = text({"op": "ping", "id": 1}) + text({"op": "ping", "id": 2, "x": "y" * 200})
        for index in range(len(data)):
            await raw.send(data[index : index + 1])
        await raw.get("pong", id=1)
        await raw.get("pong", id=2)


async def test_many_frames_in_one_segment(site):
    """Frames that come together are answered in their order."""
    async with shake_hands(site.address) as raw:
        await raw.send(b"".join(text({"op": "ping", "id": i}) for i in range(1, 501)))
        assert [(await raw.next())["id"] for _ in range(500)] == list(range(1, 501))


async def test_unexpected_pongs_are_ignored(site):
    """A pong that nobody asked for is allowed by the WebSocket rules."""
    async with shake_hands(site.address) as raw:
        await raw.send(frame(PONG, b"hello") + frame(PONG) + text(PINGED))
        await raw.get("pong", id=1)


async def test_nothing_is_taken_behind_a_close(site):
    """What a client sends behind its close frame is not handled."""
    async with connect(site.server("bas")) as watcher:
        await watcher.subscribe("workflow.>")
        async with shake_hands(site.address, "/ws/bas") as raw:
            late = {"op": "publish", "topic": "workflow.a", "body": "late"}
            await raw.send(frame(CLOSE, b"\x03\xe8") + text(late))
            assert await raw.close_code() == 1000
        await watcher.publish("workflow.a", "after")
        assert (await watcher.get("event"))["body"] == "after"


async def test_random_frames_hurt_nobody(site, bystander):
    """Frames with random heads and payloads end in answers or a close."""
    chance = random.Random(7)
    for _ in range(80):
        async with shake_hands(site.address) as raw:
            for _ in range(chance.randrange(1, 6)):
                payload = chance.randbytes(chance.choice([0, 1, 5, 125, 126, 300, 70_000]))
                await raw.send(
                    frame(
                        chance.choice([0, 1, 1, 1, 2, 8, 9, 10, chance.randrange(16)]),
                        payload,
                        fin=chance.random() < 0.8,
                        rsv=chance.choice([0, 0, 0, 0, 1, 2, 4]),
                        masked=chance.random() < 0.9,
                    )
                )


async def test_random_bytes_hurt_nobody(site, bystander):
    """Neither as a first request nor behind a handshake."""
    chance = random.Random(11)
    for turn in range(80):
        data = chance.randbytes(chance.choice([1, 2, 3, 10, 1000, 20_000]))
        if turn % 2:
            async with dial(site.address) as raw:
                await raw.send(data)
        else:
            async with shake_hands(site.address) as raw:
                await raw.send(data)


@pytest.mark.parametrize(
    "request_of",
    [
        ("/ws/chat", "Origin: http://a.example", "Origin: http://b.example"),
        ("/ws/chat", "Origin: http://["),
        ("//[/ws",),
        ("/ws/\xe9",),
    ],
    ids=["two origins", "broken origin", "broken path", "path that is not ASCII"],
)
async def test_upgrade_requests_that_cannot_be_read(site, bystander, request_of):
    """What cannot even be parsed gets an HTTP error, and no traceback."""
    path, *lines = request_of
    async with dial(site.address) as raw:
        await raw.send(request(path, *lines))
        assert (await raw.read_head()).startswith(b"HTTP/1.1 4")


async def test_upgrade_requests_that_are_nearly_right(site, bystander):
    """They get an HTTP error, or are taken for what they mean; no traceback."""
    for path, *lines in (
        ("/ws/chat", "Sec-WebSocket-Version: 12"),
        ("/ws/chat", "Sec-WebSocket-Key: short"),
        ("/ws/chat", "Sec-WebSocket-Protocol: ,,,"),
        ("/ws/chat", "Sec-WebSocket-Extensions: ;;;"),
        ("/ws/chat", "Sec-WebSocket-Key: a", "Sec-WebSocket-Key: b"),
        ("/ws/chat", "Origin: "),
        ("/ws/chat", "Origin: null"),
        ("/ws/chat?client=%ff%00", "X: y"),
        ("/ws/%00",),
        ("/ws?" + "a" * 9000,),
    ):
        async with dial(site.address) as raw:
            await raw.send(request(path, *lines))
            assert (await raw.read_head()).startswith((b"HTTP/1.1 4", b"HTTP/1.1 101")), lines
