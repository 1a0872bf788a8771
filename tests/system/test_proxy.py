"""docs/examples/nginx.conf: two processes behind nginx, on one port."""

import asyncio
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidStatus

from broker.client import CannotConnect, Client, ConnectionRefusedByBroker, connect

from .processes import PATIENCE, ROOT, Running, serving
from .test_processes import STATUS, publish

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
EXAMPLE = ROOT / "docs/examples/nginx.conf"
PLACES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@dataclass
class Site:
    """nginx, and the two brokers behind it."""

    port: int
    chat: Running
    bas: Running

    def client(self, path: str) -> Client:
        """A client that comes in through nginx, as soon as that listens."""
        url = f"ws://127.0.0.1:{self.port}{path}"
        return connect(url, wait=True, random=lambda: 0.02)


def example(folder: Path, port: int, chat: Running, bas: Running) -> str:
    """The example's text, with addresses of this machine."""
    text = EXAMPLE.read_text("utf-8")
    for shipped, here in (
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
        ("server chat:8080;", f"server 127.0.0.1:{chat.port};"),
        ("server bas:8080;", f"server 127.0.0.1:{bas.port};"),
        ("http {", "http {" + "".join(f"{p}_temp_path {folder}/{p};" for p in PLACES)),
    ):
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, here)
    return text


@asynccontextmanager
async def nginx(folder: Path, configuration: str) -> AsyncIterator[None]:
    """nginx with `configuration`, until the block is left."""
    (folder / "nginx.conf").write_text(configuration, "utf-8")
    settings = f"daemon off; pid {folder}/pid;"
    assert NGINX is not None
    process = await asyncio.create_subprocess_exec(
        *(NGINX, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf", "-g", settings),
        stderr=PIPE,
    )
    said = asyncio.create_task(process.communicate())
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE):
            _, log = await said
    assert process.returncode == 0, log.decode()
    assert b"[emerg]" not in log


@pytest.fixture
async def site(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Site]:
    """Both brokers let everyone in, as they have to behind a proxy elsewhere."""
    open_to_all = {"EDGESTREAM_AUTH__ANONYMOUS": "everyone"}
    async with (
        serving("--server", "chat", **open_to_all) as chat,
        serving("--server", "bas", **open_to_all) as bas,
        nginx(tmp_path, example(tmp_path, unused_tcp_port, chat, bas)),
    ):
        yield Site(unused_tcp_port, chat, bas)


async def test_both_servers_on_one_port(site):
    """Each path leads to its process, events flow both ways, large ones too."""
    async with site.client("/ws/chat") as chat, site.client("/ws/bas") as bas:
        assert (chat.welcome.server, bas.welcome.server) == ("chat", "bas")
        async with bas.subscribe("workflow.>", "k") as steps, chat.subscribe("agent.>") as states:
            await publish(chat, "agent.status", STATUS)
            assert (await anext(states)).body == STATUS
            for n in range(100):
                await bas.publish("workflow.a", {"n": n, "pad": "x" * 200_000}, key="k")
            assert [(await anext(steps)).body["n"] for _ in range(100)] == list(range(100))


async def test_events_and_publishes_over_http(site):
    """Each event comes through as it is sent; a path names its process."""
    async with site.client("/ws/bas"):
        pass  # it listens
    base = f"http://127.0.0.1:{site.port}"
    async with (
        httpx.AsyncClient(base_url=base) as http,
        http.stream("GET", "/events/bas?topic=workflow.a&key=k") as response,
    ):
        lines = response.aiter_lines()
        while "subscribed" not in await anext(lines):
            pass
        for number in range(3):
            message = {"topic": "workflow.a", "key": "k", "body": number}
            assert (await http.post("/publish/bas", json=message)).json()["op"] == "ack"
            while f'"body":{number}' not in await anext(lines):
                pass
        assert (await http.get("/events?topic=workflow.a")).status_code == 404
        assert (await http.get("/events/chat?topic=workflow.a")).status_code == 404


async def test_paths_that_lead_nowhere(site):
    """Unknown servers hear it from a broker; what is no process's, from nginx."""
    async with site.client("/ws/chat"):
        pass  # it listens
    with pytest.raises(ConnectionRefusedByBroker) as refusal:
        async with connect(f"ws://127.0.0.1:{site.port}/ws/nope"):
            pass
    assert refusal.value.code == 4004
    with pytest.raises(CannotConnect, match="404"):
        async with connect(f"ws://127.0.0.1:{site.port}/ws"):
            pass
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}") as http:
        assert (await http.get("/")).text.startswith("<!doctype html>")
        assert (await http.get("/static/chat.js")).status_code == 200
        assert (await http.get("/metrics")).status_code == 404


async def test_the_public_names_own_page_may_connect(site):
    """The broker is told the host and port that the page came from; others stay out."""
    async with site.client("/ws/chat"):
        pass  # it listens
    there = {"host": "127.0.0.1", "port": site.port, "proxy": None}
    public = f"chat.example.com:{site.port}"
    async with open_websocket(f"ws://{public}/ws/chat", origin=f"http://{public}", **there):
        pass
    with pytest.raises(InvalidStatus) as refusal:
        async with open_websocket(f"ws://{public}/ws/chat", origin="http://other.com", **there):
            pass
    assert refusal.value.response.status_code == 403


async def test_one_process_less(site):
    """Without its process a path is 502; the other's connections go on."""
    async with site.client("/ws/chat") as chat:
        connection = chat.welcome.connection
        site.bas.process.terminate()
        await site.bas.process.wait()
        with pytest.raises(CannotConnect, match="502"):
            async with connect(f"ws://127.0.0.1:{site.port}/ws/bas"):
                pass
        await publish(chat, "agent.status", STATUS)
        assert chat.welcome.connection == connection
