"""The HTTP side of the port: health, readiness, metrics, and what is not there."""

import asyncio

import httpx
import pytest

from .agent import CHAT, started, status
from .client import PATIENCE, connect

SECRET = "a-client-secret-of-many-letters"


@pytest.fixture
async def http(site):
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        yield client


async def test_health_and_readiness(http):
    """Both are 200 while the broker takes connections."""
    for path in ("/healthz", "/readyz"):
        answer = await http.get(path)
        assert answer.status_code == 200
        assert (await http.head(path)).status_code == 200


async def test_what_is_not_there(http):
    """Unknown paths are 404, known ones with another method 405: with an `error` as JSON."""
    answer = await http.get("/nope")
    assert answer.status_code == 404
    message = "there is nothing at this path"
    error = {"op": "error", "code": "not_found", "message": message, "retryable": False}
    assert answer.json() == error
    for path in ("/healthz", "/readyz", "/metrics", "/ws", "/ws/chat"):
        for method in ("POST", "PUT", "DELETE"):
            answer = await http.request(method, path, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
            assert "GET" in answer.headers["allow"]


async def test_metrics_are_in_prometheus_form(http):
    """Every sample line has a name of ours and a number."""
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name.startswith("edgestream_")
            float(value)


async def test_metrics_tell_counts_and_no_names(site, http):
    """Keys, sessions, agents, topics, tokens and clients are in no label."""
    async with connect(f"{site.server(None)}?client={SECRET}") as peer:
        await peer.subscribe("workflow.secret-topic", key="secret-key")
        await peer.publish("workflow.secret-topic", {"secret-field": 1}, key="secret-key")
        await peer.publish("agent.status", status("secret-agent"))
        await peer.publish(CHAT + "turnStarted", started(session="secret-session"))
        await peer.refused("workflow.secret-topic.*", {})
        await peer.refused("workflow.secret-topic", {}, key="")
        text = (await http.get("/metrics")).text
        assert "secret" not in text
        assert peer.welcome["connection"] not in text
        lines = text.splitlines()
        assert "edgestream_connections 1.0" in lines
        assert 'edgestream_events_accepted_total{namespace="workflow"} 1.0' in lines
        assert 'edgestream_errors_sent_total{code="bad_topic"} 1.0' in lines


async def test_metrics_count_refused_connections(site, http):
    """A refusal is counted under its close code."""
    async with connect(site.server("nope"), welcomed=False) as peer:
        assert await peer.close_code() == 4004
    assert (
        'edgestream_connections_refused_total{code="4004"} 1.0' in (await http.get("/metrics")).text
    )


async def test_connections_are_counted_down_again(site, http):
    """A connection that is gone is not counted any more."""
    async with connect(site.ws):
        pass
    async with asyncio.timeout(PATIENCE):
        while "edgestream_connections 0.0" not in (await http.get("/metrics")).text:
            pass
