"""The broker's memory is what its configuration says, however many readers stall in a flood."""

import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from conformance.agent import CHAT, completed, started, token
from conformance.client import Peer, connect
from conformance.rawsocket import PING, PONG, RawSocket, frame, shake_hands, text

from broker.outbox import FLUSH_BYTES, REPLY_BYTES
from broker.queue import QUEUE_BYTES, STRICT_BYTES
from broker.transports.flow import START

from .processes import Running, serving

READERS = 1000
SESSIONS = 100
"""How many readers, and how many sessions they share."""

HISTORY = 8 << 20
INTAKE = 1 << 20
PIECE = 16 << 10
"""A token's text."""

TURN = 8
TURNS = 24
"""How many tokens a turn has, and how many turns a session."""

CONNECTION = 16 << 10
"""A connection with a subscription, without what waits for it: measured, and half as much again."""

SLACK = 1.5
"""What the allocator makes of bytes that come and go."""

CONFIG = f"""
[servers.chat]
namespaces = ["agent.chat"]

[namespaces."agent.chat"]
plugin = "agent.chat"
queue = {{ bytes = {INTAKE} }}
history = {{ bytes = {HISTORY} }}

[heartbeat]
interval = 600.0
"""


def bound(base: int) -> float:
    """What the process may take, in bytes. (docs/operations.md: How much memory)

    Events of a stream that wait for several readers are there once; what is under way is
    there for each of them.
    """
    namespace = HISTORY + INTAKE + SESSIONS * TURN * PIECE
    waiting = SESSIONS * (QUEUE_BYTES + PIECE) * 2  # as they came, and encoded
    reader = CONNECTION + START + PIECE
    return base + SLACK * (namespace + waiting) + READERS * reader


def test_the_constants_of_the_manual() -> None:
    """The manual's numbers are the broker's."""
    manual = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    section = manual.partition("## How much memory")[2]
    for name, size in {
        "QUEUE_BYTES": QUEUE_BYTES,
        "STRICT_BYTES": STRICT_BYTES,
        "REPLY_BYTES": REPLY_BYTES,
        "FLUSH_BYTES": FLUSH_BYTES,
        "START": START,
    }.items():
        assert f"| `{name}` | {size >> 10} KiB |" in section


@pytest.fixture
def many_files() -> None:
    """This process and those that it starts may have a connection for each reader."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < READERS + 500:
        if hard != resource.RLIM_INFINITY and hard < READERS + 500:
            pytest.skip("this machine lets nobody have so many files")
        resource.setrlimit(resource.RLIMIT_NOFILE, (READERS + 500, hard))


def taken(broker: Running, line: str) -> int:
    """A line of the process's own account of its memory, in bytes."""
    status = Path(f"/proc/{broker.process.pid}/status").read_text()
    [kib] = [row.split()[1] for row in status.splitlines() if row.startswith(line + ":")]
    return int(kib) * 1024


async def answer_once(reader: RawSocket) -> None:
    """Read until the broker asks what has arrived, tell it, and read no more."""
    while True:
        opcode, payload = await reader.read_frame()
        if opcode == PING:
            await reader.send(frame(PONG, payload))
            return


@asynccontextmanager
async def stalled_readers(broker: Running, publisher: Peer) -> AsyncIterator[None]:
    """Readers of the sessions, that have shown that they answer pings, and stop reading."""
    async with AsyncExitStack() as stack:
        readers = []
        for number in range(READERS):
            address = f"127.0.0.1:{broker.port}"
            reader = await stack.enter_async_context(shake_hands(address, receive_buffer=4096))
            wish = {"op": "subscribe", "id": 1, "topic": CHAT + "token"}
            await reader.send(text({**wish, "key": f"s{number % SESSIONS}"}))
            await reader.get("subscribed")
            readers.append(reader)
        for session in range(SESSIONS):
            await say(publisher, f"s{session}", "first", START // PIECE // 2)
        for reader in readers:
            await answer_once(reader)
        yield


async def say(publisher: Peer, session: str, turn: str, count: int) -> None:
    """A whole turn, acknowledged."""
    bodies = [("turnStarted", started(turn, session))]
    bodies += [("token", token(n, "x" * PIECE, turn, session)) for n in range(count)]
    bodies.append(("turnCompleted", completed(turn, session)))
    batch = [{"op": "publish", "topic": CHAT + topic, "body": body} for topic, body in bodies]
    id = publisher.id()
    await publisher.send(*batch[:-1], {**batch[-1], "id": id})
    await publisher.acked(id)


@pytest.mark.usefixtures("many_files")
async def test_stalled_readers_in_a_flood(tmp_path: Path) -> None:
    """At no time is there more than what the configuration allows, for all of them together.

    The flood is more than the bound, so that nothing which keeps all of it passes.
    """
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    async with serving("--config", str(config)) as broker:
        base = taken(broker, "VmRSS")
        flood = SESSIONS * TURNS * TURN * PIECE
        assert flood > 1.5 * bound(base) > 10 * HISTORY
        async with (
            connect(broker.url("/ws/chat"), "msgpack") as publisher,
            stalled_readers(broker, publisher),
        ):
            for turn in range(TURNS):
                for session in range(SESSIONS):
                    await say(publisher, f"s{session}", f"t{turn}", TURN)
            assert taken(broker, "VmHWM") < bound(base)
            await say(publisher, "new", "t", 1)  # it is well
