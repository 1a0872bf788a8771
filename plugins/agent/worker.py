"""A worker: a process that answers what users say, as one of a group.

    worker = Worker("helper")

    @worker.on_message
    async def answer(message, turn):
        async for text in turn.until_cancelled(model.stream(message.text)):
            await turn.token(text)

    async with connect("ws://127.0.0.1:8080/ws/chat") as client:
        await worker.run(client)

The broker gives each message to one worker of the group, and to another if this one is
lost before it has begun to answer. The turn is open when `answer` is called, and ends with
it: completed, cancelled if somebody asked to stop it, or in an error if it raises.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from msgspec import Struct

from broker.client import ClientError, Subscription
from plugins.agent.client import AgentClient, Turn
from plugins.agent.failure import TurnFailed
from plugins.agent.messages import PREFIX

log = structlog.get_logger("edgestream.agent")

TOPIC = PREFIX + "userMessage"


class Message(Struct, frozen=True):
    """What a user said.

    Attributes:
        agent_id: the agent that it is for, where it says so.
        metadata: whatever came with it; None where nothing did.
        body: all of it, as it came: also fields that the contract does not name.
    """

    session_id: str
    message_id: str
    text: str
    agent_id: str | None
    user_id: str | None
    metadata: Any
    body: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Message":
        return cls(
            body["sessionId"],
            body["messageId"],
            body["text"],
            body.get("agentId"),
            body.get("userId"),
            body.get("metadata"),
            body,
        )


Answer = Callable[[Message, Turn], Awaitable[None]]

Name = tuple[str, str]
"""A message's: its session and its id."""


class Worker:
    """Answers the messages that its group is given. See the module's text.

    Args:
        agent_id: whose turns they are. While it runs, the agent is online.
        group: the work queue. Each group has every message; of a group, one worker has it.
        concurrency: how many messages are answered at the same time.
        patience: how long a message may wait for its turn here, in seconds. To be less than
            the broker's ``start_limit``, after which another worker has it.
        drain: how long `stop` waits for open turns, in seconds.
    """

    def __init__(
        self,
        agent_id: str,
        *,
        group: str = "workers",
        concurrency: int = 100,
        patience: float = 25.0,
        drain: float = 10.0,
    ) -> None:
        self.agent_id = agent_id
        self._group = group
        self._patience = patience
        self._drain = drain
        self._slots = asyncio.Semaphore(concurrency)
        self._answer: Answer | None = None
        self._stopping = asyncio.Event()
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._turns: dict[Name, Turn] = {}  # those of them that have begun

    def on_message(self, answer: Answer) -> Answer:
        """Have `answer` called with each message, and the turn that answers it."""
        self._answer = answer
        return answer

    def stop(self) -> None:
        """Take no more messages, answer those that were begun, and let `run` return."""
        self._stopping.set()

    async def run(self, client: AgentClient) -> None:
        """Answer messages until `stop`; if cancelled, open turns end as cancelled at once.

        Raises:
            RuntimeError: there is no `on_message`.
            ClientError: the broker refused the subscription, or there is no connection any
                more.
        """
        if self._answer is None:
            raise RuntimeError("nobody answers: decorate a function with @worker.on_message")
        topic, group = TOPIC, self._group
        async with client.subscribe(topic, group=group) as messages, self._online(client):
            taking = asyncio.create_task(self._take(client, messages))
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    taking.result()
                taking.cancel()
                await self._leave(messages)
            finally:
                left = [taking, stopping, *self._tasks.values()]
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)

    @asynccontextmanager
    async def _online(self, client: AgentClient) -> AsyncIterator[None]:
        await client.status(self.agent_id, "online")
        log.info("online", agent=self.agent_id, url=client.url)
        try:
            yield
        finally:
            try:
                await (await client.status(self.agent_id, "offline"))
            except ClientError as error:
                log.warning("offline_not_said", why=str(error))

    async def _take(self, client: AgentClient, messages: Subscription) -> None:
        async for event in messages:
            message = Message.of(event.body)
            name = message.session_id, message.message_id
            # After a lost connection the broker gives again what it does not know to be begun.
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._begin(client, message, name))

    async def _begin(self, client: AgentClient, message: Message, name: Name) -> None:
        """Answer one message, once there is a slot for it."""
        try:
            async with asyncio.timeout(self._patience):
                await self._slots.acquire()
            try:
                await self._reply(client, message, name)
            finally:
                self._slots.release()
        except TimeoutError:
            log.warning("message_let_go", message=message.message_id, why="all slots are taken")
        finally:
            del self._tasks[name]

    async def _reply(self, client: AgentClient, message: Message, name: Name) -> None:
        """Take a message up. A failure is its user's to know, and no other turn's concern."""
        assert self._answer is not None
        try:
            async with client.turn(
                message.session_id, self.agent_id, message_id=message.message_id
            ) as turn:
                self._turns[name] = turn
                await self._answer(message, turn)
        except ClientError as error:
            log.warning("turn_refused", message=message.message_id, why=str(error))
        except TurnFailed as error:
            log.warning("answer_failed", message=message.message_id, code=error.code)
        except Exception:
            log.exception("answer_failed", message=message.message_id)
        finally:
            self._turns.pop(name, None)

    async def _leave(self, messages: Subscription) -> None:
        """Give back what has not begun, and see the rest to its end."""
        for name, task in self._tasks.items():
            if name not in self._turns:
                task.cancel()
        try:
            async with asyncio.timeout(self._drain):
                for turn in list(self._turns.values()):
                    await turn.accepted()  # or its message would be given to another as well
                await messages.unsubscribe()
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        except TimeoutError:
            log.warning("answers_cut_off", count=len(self._turns))
