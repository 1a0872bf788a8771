"""Namespaces that are stored in files: what clients see of them, and when they cannot be."""

import httpx
import pytest

from broker.engines.file import Broken
from broker.engines.journal import Journal

from .agent import CHAT, completed, started, token
from .client import connect


@pytest.fixture
def files(tmp_path):
    """The settings that make every namespace durable."""

    def durable(name):
        return {"engine": "sqlite", "storage": {"file": str(tmp_path / f"{name}.db")}}

    return {name: durable(name) for name in ("agent.chat", "agent.status", "workflow")}


async def test_a_conversation(start, files, codec):
    """Acks, live events, refusals, repeats, a snapshot and a cursor: as in memory."""
    site = await start(namespaces=files)
    async with connect(site.ws, codec) as peer, connect(site.ws) as reader:
        first = await reader.subscribe(CHAT + ">", key="s")
        await peer.publish(CHAT + "turnStarted", started())
        ids = [await peer.ask("publish", topic=CHAT + "token", body=token(n)) for n in range(50)]
        await peer.acked(ids[-1])
        assert (await peer.refused(CHAT + "token", token(60)))["detail"] == {"expected": 50}
        await peer.publish(CHAT + "token", token(7))
        events = await reader.events(51)
        assert [e["body"].get("tokenIndex") for e in events] == [None, *range(50)]
        told, end = await peer.replay(CHAT + ">", key="s")
        assert told[1]["body"]["tokenCount"] == 50
        await peer.publish(CHAT + "turnCompleted", completed())
        for cursor, count in ((first["cursor"], 52), (end["cursor"], 1)):
            answer = await reader.subscribe(CHAT + ">", key="s", after=cursor)
            assert answer["recovered"] is True
            await reader.get("replayed", id=answer["id"])
            got = [m for m in reader.inbox if m.get("sub") == answer["id"]]
            assert len(got) == count


async def test_nothing_can_be_stored(start, files, monkeypatch, capsys):
    """Publishes are refused, `/readyz` says why, others go on; and then it works again."""
    site = await start(namespaces={"workflow": files["workflow"]})
    broken = True
    add, reopen = Journal.add, Journal.reopen

    def unless_broken(method):
        def attempt(*args):
            if broken:
                raise Broken("database or disk is full")
            return method(*args)

        return attempt

    monkeypatch.setattr(Journal, "add", unless_broken(add))
    monkeypatch.setattr(Journal, "reopen", unless_broken(reopen))
    async with (
        connect(site.server(None)) as peer,
        httpx.AsyncClient(base_url=site.url, trust_env=False) as http,
    ):
        for _ in range(3):
            error = await peer.refused("workflow.a", 1)
            assert (error["code"], error["retryable"]) == ("internal", True)
            answer = await http.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["reason"] == "workflow cannot store: database or disk is full"
        await peer.publish("agent.status", {"agentId": "a", "status": "online"})
        broken = False
        while (await http.get("/readyz")).status_code == 503:
            pass
        await peer.publish("workflow.a", 2)
        events, _ = await peer.replay("workflow.a", replay="history")
        assert [e["body"] for e in events] == [2]
    assert "disk is full" in capsys.readouterr().err


async def test_metrics_tell_of_the_file(start, files):
    """How large it and its log are, what was committed in how many commits; of it alone."""
    site = await start(namespaces={"workflow": files["workflow"]})
    async with (
        connect(site.server("bas")) as peer,
        httpx.AsyncClient(base_url=site.url, trust_env=False) as http,
    ):
        for n in range(3):
            await peer.publish("workflow.a", n)
        lines = (await http.get("/metrics")).text.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if 'namespace="workflow"' in line)
    values = {
        name.removeprefix("edgestream_").partition("{")[0]: float(value)
        for name, value in found.items()
    }
    assert values["history_events"] == 3
    assert values["history_bytes"] > 3 * 400
    assert values["storage_commits_total"] == values["storage_batches_total"] == 3
    assert values["storage_rows"] == 3
    assert values["storage_log_bytes"] > 0
    assert values["storage_commit_seconds_total"] >= values["storage_commit_seconds_worst"] > 0
    assert values["storage_waiting_bytes"] == values["storage_failures_total"] == 0
    assert not [line for line in lines if "storage" in line and "agent" in line]
