"""Chat over HTTP: a question, and a worker that answers by hand."""

from contextlib import asynccontextmanager

import msgspec

from .agent import CHAT, started, token
from .client import connect
from .sse import stream, until

JSON = "Content-Type: application/json"
SOON = 0.05
"""A limit that a test means to reach."""

ASK = {
    "octopus": ("/octopus/api/chat/s/send", {"message": "Hi"}),
    "guide": (
        "/guide/api/chat?stream=true&includeTokens=true",
        {"message": "Hi", "chatInstanceId": "s", "chatModelId": "m"},
    ),
    "opshub": ("/opshub/api/chat", {"message": "Hi", "sessionId": "s"}),
    "strakly": ("/strakly/chat", {"message": "Hi", "conversation_id": "s"}),
}
"""What each front end posts: a question of the session `s`."""


def options(**chosen):
    return {"namespaces": {"agent.chat": {"options": chosen}}}


@asynccontextmanager
async def asking(site, dialect, *headers, **more):
    """A question whose response's head has come."""
    path, body = ASK[dialect]
    headers = (JSON, "Accept: text/event-stream", *headers)
    content = msgspec.json.encode({**body, **more.pop("body", {})})
    async with stream(
        site.address, path, *headers, method="POST", body=content, **more
    ) as response:
        yield response


class Agent:
    """A worker by hand."""

    def __init__(self, peer):
        self.peer = peer

    async def given(self):
        """The next message that it is to answer."""
        while "group" not in (event := await self.peer.get("event")):
            pass
        return event["body"]

    async def say(self, name, body):
        await self.peer.publish(CHAT + name, body)

    async def start(self, turn="t"):
        """Take the next message up. Returns it."""
        message = await self.given()
        await self.say("turnStarted", started(turn, messageId=message["messageId"]))
        return message

    async def tokens(self, words, first=0, turn="t"):
        for index, word in enumerate(words.split("|"), first):
            await self.say("token", token(index, word, turn))

    async def cancelled(self):
        """The next cancel that it gets."""
        while (event := await self.peer.get("event"))["topic"] != CHAT + "cancel":
            pass
        return event["body"]


@asynccontextmanager
async def working(site):
    async with connect(site.ws) as peer:
        await peer.subscribe(CHAT + "userMessage", group="workers")
        yield Agent(peer)


async def settled(site, count):
    """Wait until so many connections are left."""
    await until(lambda: len(site.broker.shared.sessions.live) == count)


async def flood(agent, count, first=0, turn="t"):
    """So many tokens, of half a KB each; returns their text when they are accepted."""
    texts = [f"{turn}{index} {'lorem ipsum ' * 40}" for index in range(first, first + count)]
    for at in range(0, count, 100):
        bodies = [token(first + at + i, text, turn) for i, text in enumerate(texts[at : at + 100])]
        await agent.peer.send(
            *[{"op": "publish", "topic": CHAT + "token", "body": body} for body in bodies]
        )
    await agent.peer.barrier()
    return "".join(texts)
