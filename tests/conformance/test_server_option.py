"""A broker that serves some of its configuration's servers: the others are not in it."""

import httpx
import pytest

from broker.errors import ConfigError

from .agent import status
from .client import connect


async def refused(peer, topic):
    """The error codes of a publish to `topic` and of a subscription to it."""
    id = await peer.ask("subscribe", topic=topic)
    subscribing = (await peer.get("error", id=id))["code"]
    return (await peer.refused(topic, {}))["code"], subscribing


async def test_other_servers_are_unknown(start, codec):
    """`/ws/{other}` is closed with 4004, like a name that stands nowhere."""
    site = await start(only=["chat"])
    for name in ("bas", "nope"):
        async with connect(site.server(name), codec, welcomed=False) as peer:
            assert await peer.close_code() == 4004
    async with connect(site.ws, codec) as peer:
        await peer.publish("agent.status", status())


async def test_everything_means_what_is_served_here(start, codec):
    """`/ws` names and reaches this process's namespaces alone."""
    site = await start(only=["bas"])
    async with connect(site.server(None), codec) as peer:
        assert list(peer.welcome["namespaces"]) == ["workflow"]
        await peer.subscribe(">")
        await peer.publish("workflow.a", 1)
        assert (await peer.get("event"))["body"] == 1


@pytest.mark.parametrize("server", ["chat", None])
async def test_a_topic_of_another_process(start, codec, server):
    """It is `namespace_not_here`, as on another server; what nobody has is unknown."""
    site = await start(only=["chat"])
    async with connect(site.server(server), codec) as peer:
        assert await refused(peer, "workflow.a") == ("namespace_not_here", "namespace_not_here")
        id = await peer.ask("subscribe", topic="workflow.>")
        assert (await peer.get("error", id=id))["code"] == "namespace_not_here"
        assert await refused(peer, "nope.a") == ("unknown_topic", "unknown_topic")


async def test_routes_and_metrics_are_this_processs(start):
    """The page comes with the chat; no other namespace is counted."""
    for only, page, name in (["chat"], 200, "agent.chat"), (["bas"], 404, "workflow"):
        site = await start(only=only)
        async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
            assert (await http.get("/")).status_code == page
            metrics = (await http.get("/metrics")).text
            assert f'namespace="{name}"' in metrics
            assert ('namespace="workflow"' in metrics) is (only == ["bas"])


async def test_only_its_own_plugins_are_loaded(start):
    """A plugin that is not installed here is the other process's concern."""
    changes = {"namespaces": {"workflow": {"plugin": "not-installed-here"}}}
    with pytest.raises(ConfigError, match="not-installed-here"):
        await start(**changes)
    site = await start(only=["chat"], **changes)
    async with connect(site.ws) as peer:
        assert sorted(peer.welcome["namespaces"]) == ["agent.chat", "agent.status"]


async def test_several_servers_in_one_process(start):
    """Those that are named are served, each under its own name."""
    site = await start(only=["bas", "chat"])
    for name in ("chat", "bas"):
        async with connect(site.server(name)) as peer:
            assert peer.welcome["server"] == name


async def test_two_owners_in_two_processes(start):
    """Processes of one configuration cannot both own a topic."""
    with pytest.raises(ConfigError, match="two owners"):
        await start(
            only=["chat"],
            servers={"bas": {"namespaces": ["workflow", "agent.chat.extra"]}},
            namespaces={"agent.chat.extra": {"plugin": "open"}},
        )
