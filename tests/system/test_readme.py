"""The README's examples, and the worker's of docs/workers.md, run as printed."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest

from broker.client import connect

ROOT = Path(__file__).parents[2]


def example(name: str) -> str:
    """The code of one example: as printed, but for the port."""
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", text, re.DOTALL)
    assert found, name
    code = found[1]
    assert len(code.strip().splitlines()) <= 20, f"the {name} is longer than 20 lines"
    return code


async def run(code: str, port: int) -> asyncio.subprocess.Process:
    code = code.replace(":8080/", f":{port}/")
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )


async def test_the_examples_run_as_printed(site, monkeypatch):
    """The subscriber prints the text that the publisher sends, and the tool that it used."""
    chat = next(n for n in site.broker.shared.router.namespaces if n.name == "agent.chat")
    subscriptions, subscribed = chat.fanout.subscriptions, asyncio.Event()
    add = subscriptions.add

    def noticed(*args):
        add(*args)
        subscribed.set()

    monkeypatch.setattr(subscriptions, "add", noticed)
    subscriber = await run(example("subscriber"), site.broker.port)
    async with asyncio.timeout(30):
        await subscribed.wait()
        publisher = await run(example("publisher"), site.broker.port)
        said, _ = await publisher.communicate()
        heard, _ = await subscriber.communicate()
    assert said == b"sent: Namespaces keep floods apart.\n"
    assert heard == b"Namespaces keep floods apart.\ntools: ['search']\n"
    assert (publisher.returncode, subscriber.returncode) == (0, 0)


def documented_worker() -> str:
    text = (ROOT / "docs/workers.md").read_text("utf-8")
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("code", "answer", "end"),
    [
        (example("worker"), "You said: Hello there! ", signal.SIGKILL),
        (documented_worker(), "Hello there! ", signal.SIGTERM),
    ],
    ids=["readme", "workers.md"],
)
async def test_a_worker_runs_as_printed(site, code, answer, end):
    """It answers what a user says; the one that is told to stop says goodbye."""
    async with (
        asyncio.timeout(30),
        connect(site.ws) as user,
        user.subscribe("agent.status") as status,
        user.subscribe("agent.chat.turnCompleted") as ends,
    ):
        worker = await run(code, site.broker.port)
        assert (await anext(status)).body["status"] == "online"
        message = {"sessionId": "s", "messageId": "m", "text": "Hello there!"}
        await user.publish("agent.chat.userMessage", message)
        assert (await anext(ends)).body["fullText"] == answer
        worker.send_signal(end)
        await worker.communicate()
        if end is signal.SIGTERM:
            assert worker.returncode == 0
            assert (await anext(status)).body["status"] == "offline"
