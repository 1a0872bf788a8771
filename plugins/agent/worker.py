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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from msgspec import Struct

from broker.client import ClientError, Subscription
from plugins.agent.audio import Audio
from plugins.agent.client import AgentClient, Turn
from plugins.agent.failure import TurnFailed
from plugins.agent.messages import PREFIX, ChatError, Transcription

log = structlog.get_logger("edgestream.agent")

MESSAGES = PREFIX + "userMessage"
AUDIO = PREFIX + "userAudio"


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
Hear = Callable[[Audio], Awaitable[str]]

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
        self._hear: Hear | None = None
        self._stopping = asyncio.Event()
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._turns: dict[Name, Turn] = {}  # those of them that have begun

    def on_message(self, answer: Answer) -> Answer:
        """Have `answer` called with each message, and the turn that answers it."""
        self._answer = answer
        return answer

    def on_audio(self, hear: Hear) -> Hear:
        """Have `hear` called with what users say into a microphone: it returns the words,
        which are then answered like a message. Raise `TurnFailed` to say why there are none.
        Without it this worker is given none."""
        self._hear = hear
        return hear

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
        async with AsyncExitStack() as stack:
            queues = [
                await stack.enter_async_context(client.subscribe(topic, group=self._group))
                for topic in ((MESSAGES,) if self._hear is None else (MESSAGES, AUDIO))
            ]
            await stack.enter_async_context(self._online(client))
            taking = [asyncio.create_task(self._take(client, queue)) for queue in queues]
            stopping = asyncio.create_task(self._stopping.wait())
            either: tuple[asyncio.Task[Any], ...] = (*taking, stopping)
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                for each in taking:
                    if each.done():
                        each.result()
                    each.cancel()
                await self._leave(queues)
            finally:
                left = [*either, *self._tasks.values()]
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

    async def _take(self, client: AgentClient, queue: Subscription) -> None:
        async for event in queue:
            body = event.body
            name = body["sessionId"], body["messageId"]
            # After a lost connection the broker gives again what it does not know to be begun.
            if name not in self._tasks:
                said = Audio.of(body, client.url) if event.topic == AUDIO else Message.of(body)
                self._tasks[name] = asyncio.create_task(self._begin(client, said, name))

    async def _begin(self, client: AgentClient, said: Message | Audio, name: Name) -> None:
        """Answer what one user said, once there is a slot for it."""
        try:
            async with asyncio.timeout(self._patience):
                await self._slots.acquire()
            try:
                message = await self._understand(client, said) if isinstance(said, Audio) else said
                if message is not None:
                    await self._reply(client, message, name)
            finally:
                self._slots.release()
        except TimeoutError:
            log.warning("message_let_go", message=said.message_id, why="all slots are taken")
        finally:
            del self._tasks[name]

    async def _understand(self, client: AgentClient, audio: Audio) -> Message | None:
        """The words of a recording, told to its user; or why there are none, likewise."""
        assert self._hear is not None
        session, id = audio.session_id, audio.message_id
        try:
            text = await self._hear(audio)
        except Exception as error:
            if not isinstance(error, TurnFailed):
                log.exception("hearing_failed", message=id)
                error = TurnFailed("transcription_failed", "the recording was not understood")
            failure = ChatError(session, error.code, str(error), error.retryable, messageId=id)
            await client.publish(PREFIX + "error", failure)
            return None
        await client.publish(PREFIX + "transcription", Transcription(session, id, text))
        body = {"sessionId": session, "messageId": id, "text": text}
        return Message.of(body | ({"agentId": audio.agent_id} if audio.agent_id else {}))

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

    async def _leave(self, queues: Sequence[Subscription]) -> None:
        """Give back what has not begun, and see the rest to its end."""
        for name, task in self._tasks.items():
            if name not in self._turns:
                task.cancel()
        try:
            async with asyncio.timeout(self._drain):
                for turn in list(self._turns.values()):
                    await turn.accepted()  # or its message would be given to another as well
                for queue in queues:
                    await queue.unsubscribe()
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        except TimeoutError:
            log.warning("answers_cut_off", count=len(self._turns))
