"""The other side of the chat, played by a test: a backend that speaks plain protocol JSON.

It uses nothing of the broker or of its client, so that what the page understands
is the wire itself.
"""

import asyncio
import itertools
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

Message = dict[str, Any]
ANSWERED_WITHIN = 10.0
QUESTIONS = {"topic": "agent.chat.userMessage", "group": "workers"}


class RefusedError(Exception):
    """The broker answered an operation with an `error`."""


@asynccontextmanager
async def backend(url: str):
    """A connected backend, such as `async with backend(site.ws) as agent:`."""
    async with connect(url, subprotocols=["edgestream.v1.json"]) as socket:
        yield Backend(socket)


class Backend:
    """Publishes, one acknowledged step at a time, and takes questions up."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._events: defaultdict[str, deque[Message]] = defaultdict(deque)
        self._acknowledged = 0

    async def work(self) -> None:
        """Take questions: of every session, as a worker does."""
        id = next(self._ids)
        await self._send({"op": "subscribe", "id": id, **QUESTIONS})
        await self._until(lambda message: message["op"] == "subscribed" and message["id"] == id)

    async def question(self) -> Message:
        """The body of the next question that is asked."""
        return await self._next("agent.chat.userMessage")

    async def cancel(self) -> Message:
        """The body of the next wish to stop a turn of this backend."""
        return await self._next("agent.chat.cancel")

    @property
    def has_cancels(self) -> bool:
        """Whether another such wish has come with what was read so far."""
        return bool(self._events["agent.chat.cancel"])

    def die(self) -> None:
        """Lose the connection without a word, as a process does that is killed."""
        self._socket.transport.abort()

    async def publish(self, topic: str, **body: Any) -> None:
        """Publish one message and wait until it is accepted."""
        await self.publish_all([(topic, body)])

    async def publish_all(
        self, messages: Iterable[tuple[str, Message]], *, together: bool = True
    ) -> None:
        """Publish many, in one array or each alone, and wait until the last is accepted."""
        operations = [
            {"op": "publish", "id": next(self._ids), "topic": topic, "body": body}
            for topic, body in messages
        ]
        for batch in [operations] if together else operations:
            await self._send(batch)
        last = operations[-1]["id"]
        if self._acknowledged < last:
            await self._until(lambda message: message["op"] == "ack" and message["id"] >= last)

    async def _next(self, topic: str) -> Message:
        events = self._events[topic]
        while not events:
            await self._until(lambda message: message["op"] == "event")
        return events.popleft()["body"]

    async def _send(self, message: Message | Sequence[Message]) -> None:
        await self._socket.send(json.dumps(message))

    async def _until(self, wanted: Callable[[Message], bool]) -> None:
        async with asyncio.timeout(ANSWERED_WITHIN):
            found = False
            while not found:
                received = json.loads(await self._socket.recv())
                for message in received if isinstance(received, list) else [received]:
                    self._keep(message)
                    found = found or wanted(message)

    def _keep(self, message: Message) -> None:
        if message["op"] == "error":
            raise RefusedError(message)
        if message["op"] == "event":
            self._events[message["topic"]].append(message)
        if message["op"] == "ack":
            self._acknowledged = message["id"]


class Turn:
    """One answer, as its publisher says it."""

    def __init__(self, agent: Backend, question: Message, turn_id: str = "turn-1") -> None:
        self.agent = agent
        self.id = turn_id
        self.message_id = question["messageId"]
        self._ids = {"sessionId": question["sessionId"], "turnId": turn_id}
        self._index = 0
        self._text: list[str] = []

    async def say(self, event: str, **body: Any) -> None:
        await self.agent.publish(f"agent.chat.{event}", **self._ids, **body)

    async def started(self) -> None:
        await self.say("turnStarted", agentId="demo", messageId=self.message_id)

    async def tool_started(self, name: str, call: str = "call-1") -> None:
        await self.say("toolCallStarted", toolName=name, toolCallId=call, arguments={})

    async def tool_completed(self, call: str = "call-1", duration_ms: int = 120) -> None:
        await self.say("toolCallCompleted", toolCallId=call, durationMs=duration_ms)

    async def text(self, *tokens: str, together: bool = True) -> None:
        await self.agent.publish_all(
            [("agent.chat.token", self._token(token)) for token in tokens], together=together
        )

    async def completed(self, **changes: Any) -> None:
        body = {
            "fullText": "".join(self._text),
            "toolCallsUsed": [],
            "inputTokens": 12,
            "outputTokens": self._index,
            "durationMs": 1500,
        }
        await self.say("turnCompleted", agentId="demo", **(body | changes))

    async def failed(self, code: str = "api_failure", message: str = "The model is down.") -> None:
        await self.say("error", code=code, message=message, retryable=True)

    def _token(self, token: str) -> Message:
        self._text.append(token)
        body = {"agentId": "demo", "token": token, "tokenIndex": self._index, "isLast": False}
        self._index += 1
        return self._ids | body
