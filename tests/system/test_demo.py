"""`edgestream demo`, which is what `make run` runs, as a user has it."""

import asyncio
import json
import re
import signal
import socket
import sys
import urllib.request
from pathlib import Path

from websockets.asyncio.client import connect

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def start(port: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "broker", "demo", "--port", str(port), "--rate", "500"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def printed_address(demo: asyncio.subprocess.Process) -> str:
    async for line in demo.stdout:
        if b"http://" in line:
            return line.decode().split()[-1]
    raise AssertionError((await demo.stderr.read()).decode())


async def test_the_demo_answers_and_stops():
    """It prints the page's address, the page is there, a question is answered by a turn with
    a tool call, and Ctrl-C ends it all with exit code 0."""
    port = free_port()
    demo = await start(port)
    async with asyncio.timeout(60):
        address = await printed_address(demo)
        page = await asyncio.to_thread(urllib.request.urlopen, address)
        assert b"<html" in page.read()
        page.close()
        topics = await question(f"ws://127.0.0.1:{port}/ws/chat")
        assert topics[0] == "agent.chat.turnStarted"
        assert topics[-1] == "agent.chat.turnCompleted"
        assert {"agent.chat.toolCallStarted", "agent.chat.token"} <= set(topics)
        answer = await asked_over_http(port)
        assert '"action"' in answer, answer
        assert answer.endswith("data: [DONE]\n\n"), answer
        demo.send_signal(signal.SIGINT)
        _, logged = await demo.communicate()
    assert demo.returncode == 0, logged.decode()
    assert b"Traceback" not in logged
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "something still listens"


async def asked_over_http(port: int) -> str:
    """What the README's question over HTTP, as printed but for the port, is answered."""
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.search(
        r"^\$ (curl -N localhost:8080/strakly.*?)\n```", text, re.DOTALL | re.MULTILINE
    )
    assert found
    curl = await asyncio.create_subprocess_shell(
        found[1].replace(":8080/", f":{port}/"), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await curl.communicate()
    assert curl.returncode == 0
    return said.decode()


async def question(url: str) -> list[str]:
    """Ask once the agent is there; the topics of the answer."""
    async with connect(url) as ws:
        for id, topic in enumerate(("agent.status", "agent.chat.*"), 1):
            await ws.send(json.dumps({"op": "subscribe", "id": id, "topic": topic}))
        body = {"sessionId": "s", "messageId": "m", "text": "What is 6 * 7?"}
        asked, topics = False, []
        async for data in ws:
            whole = json.loads(data)
            for message in whole if isinstance(whole, list) else [whole]:
                if message["op"] != "event":
                    continue
                topic = message["topic"]
                if topic == "agent.status" and not asked:
                    asked = True
                    publish = {"op": "publish", "topic": "agent.chat.userMessage", "body": body}
                    await ws.send(json.dumps(publish))
                elif topic.startswith("agent.chat.") and topic != "agent.chat.userMessage":
                    topics.append(topic)
                    if topic == "agent.chat.turnCompleted":
                        return topics
    raise AssertionError("the connection ended")


async def test_a_port_that_is_taken_is_named():
    """The broker cannot have its port: one line says so, and the exit code is 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        demo = await start(port)
        async with asyncio.timeout(60):
            _, logged = await demo.communicate()
    assert demo.returncode == 1
    assert f"127.0.0.1:{port}" in logged.decode()
    assert b"Traceback" not in logged
