"""A broker that is killed at any moment, and started again on the same file."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from conformance.agent import CHAT, GOOD, completed, started, token
from conformance.client import PATIENCE, Peer, connect

from .processes import Running, serving

KILLS = 5
EACH = 400
SECRET = "a-client-secret-of-many-letters"


def durable(namespace, file, sync="normal", **more):
    """The environment that makes a namespace durable."""
    path = f"EDGESTREAM_NAMESPACES__{namespace}__"
    return {
        path + "ENGINE": "sqlite",
        path + "STORAGE__FILE": str(file),
        path + "STORAGE__SYNC": sync,
        **{path + name: value for name, value in more.items()},
    }


@asynccontextmanager
async def serving_to(
    server: str, environ: dict[str, str], query: str = ""
) -> AsyncIterator[tuple[Running, Peer]]:
    """A broker of one server, and a connection to it."""
    async with (
        serving("--server", server, **environ) as broker,
        connect(broker.url(f"/ws/{server}{query}")) as peer,
    ):
        yield broker, peer


async def kill(broker: Running) -> None:
    broker.process.kill()
    await ended(broker)


async def ended(broker: Running) -> None:
    async with asyncio.timeout(PATIENCE):
        await broker.process.wait()


async def history(url: str) -> list[int]:
    """What is retained of the stream."""
    async with connect(url) as peer:
        events, _ = await peer.replay("workflow.>", key="k", replay="history")
        return [event["body"] for event in events]


class Publisher:
    """Publishes numbers, each under its own name, and knows which were acknowledged."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.acked = 0

    async def publish(self, peer: Peer, goal: int, total: int) -> None:
        """Until `goal` are acknowledged; then there is more under way."""
        ids: dict[int, int] = {}  # the number that is through with an ack of this id
        sent = self.acked
        while self.acked < goal:
            while sent < min(total, self.acked + 60):
                count = min(total - sent, self.chance.randrange(1, 20))
                operations = []
                for number in range(sent, sent + count):
                    id = peer.id()
                    ids[id] = number + 1
                    operations.append(
                        {"op": "publish", "id": id, "topic": "workflow.a", "key": "k",
                         "body": number, "dedupe": f"n{number}"}
                    )  # fmt: skip
                await peer.send(*operations)
                sent += count
            message = await peer.next()
            assert message["op"] == "ack"
            self.acked = ids[message["id"]]


class Reader:
    """Reads on from its cursor, life for life."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.read: list[int] = []

    async def subscribe(self, peer: Peer) -> None:
        how = {"replay": "history"} if self.cursor is None else {"after": self.cursor}
        answer = await peer.subscribe("workflow.>", key="k", **how)
        assert answer.get("recovered", True)

    def take(self, peer: Peer) -> None:
        """What has come."""
        for message in peer.inbox:
            if message["op"] == "event":
                self.cursor = message["cursor"]
                self.read.append(message["body"])
        peer.inbox.clear()


@pytest.mark.parametrize("sync", ["normal", "full"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_again_and_again(tmp_path, seed, sync):
    """Every acknowledged event is there, once, in order; a reader has no gap and no repeat."""
    chance = random.Random(seed)
    environ = durable("WORKFLOW", tmp_path / "workflow.db", sync)
    publisher, reader = Publisher(chance), Reader()
    total = KILLS * EACH
    for life in range(KILLS):
        last = life + 1 == KILLS
        goal = total if last else life * EACH + chance.randrange(1, EACH)
        goal = max(goal, publisher.acked)
        async with serving("--server", "bas", **environ) as broker:
            url = broker.url("/ws/bas")
            async with connect(url) as reading, connect(url) as publishing:
                before = publisher.acked
                await reader.subscribe(reading)
                stored = await history(url)
                assert stored == list(range(len(stored)))
                assert len(stored) >= before
                await publisher.publish(publishing, goal, total)
                if not last:
                    await kill(broker)
                    assert await reading.close_code() is None
                else:
                    reading.inbox.append(await reading.get("event", body=total - 1))
                reader.take(reading)
    assert reader.read == list(range(total))


async def test_a_damaged_log_stops_the_start(tmp_path):
    """It is named, and what can be done; then nobody is told that nothing is missing."""
    file, log = tmp_path / "workflow.db", tmp_path / "workflow.db-wal"
    environ = durable("WORKFLOW", file)
    async with serving_to("bas", environ) as (broker, peer):
        await peer.subscribe("workflow.>", key="k")
        for n in range(60):
            await peer.publish("workflow.a", n, key="k")
        cursor = (await peer.events(60))[-1]["cursor"]
        await kill(broker)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    for _ in range(2):
        with pytest.raises(AssertionError) as error:
            async with serving("--server", "bas", **environ):
                pass
        [what] = [line for line in str(error.value).splitlines() if line.startswith("edgestream:")]
        assert f"namespaces.workflow.storage.file: {file} is damaged" in what
    size = int(what.split("truncate -s ")[1].split()[0])
    os.truncate(log, size)
    async with serving_to("bas", environ) as (broker, peer):
        answer = await peer.subscribe("workflow.>", key="k", after=cursor)
        assert answer["recovered"] is False
        await peer.publish("workflow.a", "new", key="k")
        new = await peer.get("event", body="new")
        assert new["cursor"].partition(".")[0] != cursor.partition(".")[0]
        stored = await history(broker.url("/ws/bas"))
        assert stored == [*range(len(stored) - 1), "new"]
        assert len(stored) < 60


async def test_an_open_turn_goes_on_after_a_kill(tmp_path):
    """Its owner comes back, and ends it; nobody sees the difference."""
    environ = durable("AGENT_CHAT", tmp_path / "chat.db")
    async with serving_to("chat", environ, f"?client={SECRET}") as (broker, owner):
        await owner.publish(CHAT + "turnStarted", started())
        await owner.publish(CHAT + "token", token(0, "Hel"))
        await kill(broker)
    async with serving("--server", "chat", **environ) as broker:
        url = broker.url("/ws/chat")
        async with connect(f"{url}?client={SECRET}") as owner, connect(url) as reader:
            events, _ = await reader.replay(CHAT + ">", key="s")
            assert [e["topic"] for e in events] == [CHAT + "turnStarted", CHAT + "token"]
            await reader.refused(CHAT + "token", token(1, "?"))
            await owner.publish(CHAT + "token", token(0, "Hel"))  # a repeat
            await owner.publish(CHAT + "token", token(1, "lo"))
            await owner.publish(CHAT + "turnCompleted", completed(text="Hello"))
            assert [e["body"].get("token") for e in await reader.events(2)] == ["lo", None]


async def test_a_turn_whose_owner_does_not_come_back_ends(tmp_path):
    """Its lease begins anew with the broker; then the turn ends with `publisher_lost`."""
    environ = durable("AGENT_CHAT", tmp_path / "chat.db", OPTIONS="{grace = 0.1}")
    async with serving_to("chat", environ) as (broker, owner):
        answer = await owner.subscribe(CHAT + ">", key="s")
        await owner.publish(CHAT + "turnStarted", started())
        await owner.publish(CHAT + "token", token(0))
        await kill(broker)
    for _ in range(2):  # and what it ended with is there after the next start, too
        async with serving_to("chat", environ) as (_, reader):
            resumed = await reader.subscribe(CHAT + ">", key="s", after=answer["cursor"])
            assert resumed["recovered"] is True
            events = await reader.events(4)
            assert [e["topic"].removeprefix(CHAT) for e in events] == [
                "turnStarted", "token", "token", "error",
            ]  # fmt: skip
            assert events[-1]["body"]["code"] == "publisher_lost"
            assert [m for m in await reader.barrier() if m["op"] == "event"] == []


async def test_a_stop_in_good_order_stores_everything(tmp_path):
    """What was read is stored, and acknowledged, before the goodbye."""
    environ = durable("WORKFLOW", tmp_path / "workflow.db")
    async with serving_to("bas", environ) as (broker, peer):
        operations = [
            {"op": "publish", "id": n, "topic": "workflow.a", "key": "k", "body": n}
            for n in range(1, 500)
        ]
        await peer.send(*operations)
        broker.process.terminate()
        assert await peer.close_code() is not None
        await ended(broker)
        assert broker.process.returncode == 0
        acked = max([m["id"] for m in peer.inbox if m["op"] == "ack"], default=0)
    async with serving("--server", "bas", **environ) as broker:
        stored = await history(broker.url("/ws/bas"))
        assert stored == list(range(1, len(stored) + 1))
        assert len(stored) >= acked


@pytest.mark.parametrize(
    ("bound", "in_file"),
    [
        ({"HISTORY__EVENTS": "100"}, True),
        ({"HISTORY__BYTES": "40000", "MAX_BODY_BYTES": "40000"}, False),
    ],
)
async def test_an_open_turn_is_whole_that_is_longer_than_the_history(tmp_path, bound, in_file):
    """Its beginning is not retained, and perhaps not in the file's commits; and it is killed again
    and again."""
    environ = durable("AGENT_CHAT", tmp_path / "chat.db", **bound)
    text = ""
    async with serving_to("chat", environ, f"?client={SECRET}") as (broker, owner):
        await owner.publish(CHAT + "turnStarted", started())
        await owner.publish(CHAT + "toolCallStarted", {**GOOD["toolCallStarted"]})
        index = 0
        while index < 1000 or (not in_file and await rows(broker) > index // 20):
            operations = [
                {"op": "publish", "id": owner.id(), "topic": CHAT + "token",
                 "body": token(n, f"{n} ")} for n in range(index, index + 10)
            ]  # fmt: skip
            await owner.send(*operations)
            await owner.acked(operations[-1]["id"])
            index += 10
            text = "".join(f"{n} " for n in range(index))
        await kill(broker)
    for _ in range(2):
        async with serving_to("chat", environ, f"?client={SECRET}") as (broker, owner):
            events, _ = await owner.replay(CHAT + ">", key="s")
            bodies = [event["body"] for event in events]
            assert [e["topic"].removeprefix(CHAT) for e in events] == [
                "turnStarted", "token", "toolCallStarted",
            ]  # fmt: skip
            assert (bodies[1]["token"], bodies[1]["tokenCount"]) == (text, index)
            await owner.publish(CHAT + "token", token(index - 1, f"{index - 1} "))  # a repeat
            await owner.publish(CHAT + "token", token(index, f"{index} "))
            text += f"{index} "
            index += 1
            await kill(broker)


async def rows(broker: Running) -> int:
    """How many commits the file has."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(broker.url("/metrics").replace("ws", "http", 1))
    [line] = [
        line for line in answer.text.splitlines() if line.startswith("edgestream_storage_rows{")
    ]
    return int(float(line.split()[-1]))
