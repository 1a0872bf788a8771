"""Heartbeats: who is alive, who is not, and what a silent broker still says."""

import asyncio

from .client import PATIENCE, connect
from .rawsocket import CLOSE, PING, PONG, TEXT, frame, shake_hands, text

FAST = {"interval": 0.2}


async def test_a_half_open_connection_ends_with_4110(start):
    """Who answers no ping is told so within two to three heartbeats, and may come back."""
    site = await start(heartbeat=FAST)
    loop = asyncio.get_running_loop()
    async with shake_hands(site.address) as raw:
        since = loop.time()
        goodbye = await raw.get("goodbye")
        assert (goodbye["code"], goodbye["reconnect"]) == (4110, True)
        assert await raw.close_code() == 4110
        assert loop.time() - since >= 2 * FAST["interval"]


async def test_pings_come_as_control_frames_and_as_op(start):
    """A silent broker sends both: one for the WebSocket, one for pages."""
    site = await start(heartbeat=FAST)
    async with shake_hands(site.address) as raw:
        control, shown = 0, 0
        while control < 2 or shown < 2:
            opcode, payload = await raw.read_frame()
            if opcode == PING:
                control += 1
                await raw.send(frame(PONG, payload))
            elif opcode == TEXT:
                assert payload == b'{"op":"ping"}'
                shown += 1


async def test_any_frame_is_life(start):
    """Whoever sends anything at all lives, even if it never answers a ping."""
    site = await start(heartbeat=FAST)
    loop = asyncio.get_running_loop()
    async with shake_hands(site.address) as raw:
        end = loop.time() + 6 * FAST["interval"]
        turn = 0
        while loop.time() < end:
            await raw.send(frame(PONG) if turn % 2 else text({"op": "ping"}))
            opcode, _ = await raw.read_frame()
            assert opcode in (PING, TEXT)
            turn += 1
        await raw.send(text({"op": "ping", "id": 1}))
        await raw.get("pong", id=1)


async def test_a_client_that_answers_pings_lives(start, codec):
    """Silence at the level of messages ends nobody whose WebSocket answers."""
    site = await start(heartbeat=FAST)
    async with connect(site.ws, codec) as peer:
        async with asyncio.timeout(PATIENCE):
            while peer.pings < 5:
                await asyncio.wait_for(peer.socket.recv(decode=False), PATIENCE)
                peer.pings += 1
        assert not await peer.barrier()


async def test_heartbeat_ms_is_told(start):
    """The welcome tells the heartbeat, so that a client knows when to worry."""
    site = await start(heartbeat=FAST)
    async with connect(site.ws) as peer:
        assert peer.welcome["heartbeatMs"] == 200


async def test_a_reader_with_a_backlog_is_pinged_once(site):
    """A socket that takes nothing now still gets a ping, behind its backlog: otherwise its
    silence could not be told from death. It gets one, however often a ping is due."""
    async with (
        shake_hands(site.address, "/ws/bas", receive_buffer=4096) as raw,
        connect(site.server("bas")) as publisher,
    ):
        await raw.send(text({"op": "subscribe", "id": 1, "topic": "workflow.>"}))
        await raw.get("subscribed")
        sessions = site.broker.shared.sessions.live
        wire = next(s.outbox.wire for s in sessions if len(s.reader))
        while wire.outlet.room > 0:
            await publisher.publish("workflow.t", "x" * 200_000)
        for _ in range(3):
            wire.ping_frame()
        seen = []
        async with asyncio.timeout(PATIENCE):
            while PING not in seen:
                seen.append((await raw.read_frame())[0])
        assert seen.count(PING) == 1
        assert CLOSE not in seen
