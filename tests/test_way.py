"""The way of one token through the broker is the one that docs/architecture.md tells."""

import json
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from broker import namespace

ROOT = Path(__file__).parent.parent
STEP = re.compile(r"^\d+\. `(\w+)\.(\w+)` \(`([\w/.]+)`\)", re.MULTILINE)


def documented() -> list[tuple[str, str, str]]:
    """(class, function, file) of each step that the document names."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    return STEP.findall(text.partition("## The way of one token")[2])


async def ask(ws: ClientConnection, **message: Any) -> Any:
    await ws.send(json.dumps(message))
    return json.loads(await ws.recv())


@pytest.mark.skipif(
    not namespace.__file__.endswith(".py"), reason="what is compiled cannot be traced"
)
async def test_a_token_takes_the_documented_way(site):
    """Traced from socket to socket, a token passes the documented functions in order,
    each once, and enters no module of the plugin or the broker that stands apart."""
    steps = documented()
    assert 5 <= len(steps) <= 12
    turn = {"sessionId": "s", "turnId": "t", "agentId": "a"}
    token = {**turn, "token": "Hel", "tokenIndex": 0, "isLast": False}
    names = {(str(ROOT / file), function): (kind, function, file) for kind, function, file in steps}
    passed: list[tuple[str, str, str]] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            step = names.get((frame.f_code.co_filename, frame.f_code.co_name))
            owner = type(frame.f_locals.get("self")).__name__
            if step is not None and step[0] == owner:
                passed.append(step)

    async with connect(site.ws) as reader, connect(site.ws) as publisher:
        await reader.recv()
        await publisher.recv()
        await ask(reader, op="subscribe", id=1, topic="agent.chat.token", key="s")
        await ask(publisher, op="publish", id=1, topic="agent.chat.turnStarted", body=turn)
        data = json.dumps({"op": "publish", "topic": "agent.chat.token", "body": token})
        sys.setprofile(note)
        try:
            await publisher.send(data)
            event = json.loads(await reader.recv())
        finally:
            sys.setprofile(None)
    assert event["body"] == token
    assert passed == steps
