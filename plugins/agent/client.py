"""The agent's side of a chat: a client that speaks in turns.

    async with connect("ws://127.0.0.1:8080/ws/chat") as client:
        async with client.turn("session-1", "helper") as turn:
            async with turn.tool("search", {"q": "weather"}) as call:
                call.result({"hits": 3})
            await turn.token("It")
            await turn.token(" rains.")

A turn always ends: leaving the block completes it, an exception turns it into an
``agent.chat.error``, a cancellation into ``finishReason: "cancelled"``. Tokens are
numbered, and their text is kept until the end: so a turn that the broker lost, or
of which it missed a part, is repaired without its author noticing.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import structlog
from msgspec import UNSET, UnsetType

from broker.client import Client, ClientError, OperationRejected, Receipt
from plugins.agent.delivery import Delivery
from plugins.agent.failure import TurnFailed
from plugins.agent.messages import (
    PREFIX,
    Action,
    ChatError,
    MessageSaved,
    Progress,
    Status,
    Suggestions,
    Thinking,
    ToolCallStarted,
    TurnCompleted,
    TurnStarted,
)
from plugins.agent.tool import ToolCall
from plugins.agent.until import until

__all__ = ["AgentClient", "ToolCall", "Turn", "TurnFailed", "connect"]

log = structlog.get_logger("edgestream.agent")

LAST_WORDS = 2.0
"""Seconds that a turn which was cancelled or failed waits for its end to be accepted."""

T = TypeVar("T")

FinishReason = Literal["stop", "cancelled", "length", "error"]


class AgentClient(Client):
    """A `Client` that can also take turns. Its arguments are those of `Client`."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._running: dict[tuple[str, str], Turn] = {}
        self.watch(PREFIX + "cancel", self._cancel)

    def _cancel(self, body: Mapping[str, Any]) -> None:
        turn = self._running.get((body["sessionId"], body["turnId"]))
        if turn is not None:
            turn.cancelled.set()

    def turn(
        self,
        session_id: str,
        agent_id: str,
        *,
        turn_id: str | None = None,
        message_id: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Turn":
        """A turn of `agent_id` in a session, to be used with ``async with``.

        Args:
            turn_id: unique in its session; random by default.
            message_id: the user's message that it answers, and thereby takes up.
        """
        turn_id = turn_id or secrets.token_hex(8)
        return Turn(self, self._running, session_id, agent_id, turn_id, message_id, clock)

    async def status(
        self,
        agent_id: str,
        status: Literal["online", "busy", "degraded", "offline"],
        *,
        detail: str | UnsetType = UNSET,
        active_turns: int | UnsetType = UNSET,
    ) -> Receipt:
        """Say how an agent is; any but ``offline`` also attaches this client to it."""
        return await self.publish("agent.status", Status(agent_id, status, detail, active_turns))


connect = AgentClient
"""``async with connect(url) as client``: the usual way to make an `AgentClient`."""


class Turn:
    """One turn, made by `AgentClient.turn`.

    Each method raises `OperationRejected` once the broker has refused a part of the
    turn for good: it has ended it already, say, with ``turn_closed``.

    Attributes:
        finish_reason: what the turn will be completed with.
        input_tokens: how many the model read.
        output_tokens: how many it wrote; by default, the tokens of this turn.
        cancelled: set once somebody has asked to stop it. A turn that ends well afterwards
            is completed as cancelled; if it does not end, the broker ends it.
    """

    def __init__(
        self,
        client: Client,
        running: "dict[tuple[str, str], Turn]",
        session_id: str,
        agent_id: str,
        turn_id: str,
        message_id: str | None,
        clock: Callable[[], float],
    ) -> None:
        self.session_id = session_id
        self.agent_id = agent_id
        self.turn_id = turn_id
        self.message_id: str | UnsetType = message_id or UNSET
        self.finish_reason: FinishReason = "stop"
        self.input_tokens = 0
        self.output_tokens: int | None = None
        self.clock = clock
        self.cancelled = asyncio.Event()
        self._running = running
        self._began = 0.0
        self._receipt: Receipt | None = None
        started = TurnStarted(session_id, turn_id, agent_id, self.message_id)
        self._started = started
        self.delivery = Delivery(client, started)

    # ----------------------------------------------------------------- its contents

    @property
    def text(self) -> str:
        """All the text so far."""
        return "".join(self.delivery.texts)

    async def token(self, text: str) -> None:
        """One piece of the answer's text. Empty ones are left out."""
        if text:
            await self.delivery.send_text(text, is_last=False)

    async def thinking(self, text: str) -> None:
        """What the agent is thinking."""
        await self.delivery.say("thinking", Thinking(self.session_id, self.turn_id, text))

    async def progress(self, percent: float, message: str) -> None:
        """How far it is, from 0 to 100."""
        await self.delivery.say(
            "progress", Progress(self.session_id, self.turn_id, percent, message)
        )

    async def action(self, action: Mapping[str, Any]) -> None:
        """Something for the front end to do."""
        await self.delivery.say("action", Action(self.session_id, self.turn_id, dict(action)))

    async def suggestions(self, questions: Sequence[str]) -> None:
        """What the user may want to ask next. To be sent after the text."""
        await self.delivery.say(
            "suggestions", Suggestions(self.session_id, self.turn_id, list(questions))
        )

    async def saved(self, message_id: str) -> None:
        """That the answer is stored, under this id."""
        await self.delivery.say(
            "messageSaved", MessageSaved(self.session_id, self.turn_id, message_id)
        )

    def tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, call_id: str | None = None
    ) -> "ToolCall":
        """A tool call, to be used with ``async with``, or by its `start` and `complete`."""
        started = ToolCallStarted(
            self.session_id,
            self.turn_id,
            name,
            call_id or secrets.token_hex(8),
            dict(arguments or {}),
        )
        return ToolCall(self.delivery, started, self.clock)

    def usage(self, *, input_tokens: int, output_tokens: int | None = None) -> None:
        """What the model counted."""
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens

    def until_cancelled(self, source: AsyncIterable[T]) -> AsyncGenerator[T, None]:
        """What a model's stream gives, until somebody asks to stop:
        ``async for text in turn.until_cancelled(model.stream(…))``. Then it is closed."""
        return until(self.cancelled, source)

    # ------------------------------------------------------------ beginning and end

    async def __aenter__(self) -> Self:
        self._began = self.clock()
        self._receipt = await self.delivery.send("turnStarted", self._started)
        self._running[self.session_id, self.turn_id] = self
        return self

    async def accepted(self) -> None:
        """Wait until the broker knows that the turn has begun; or has refused it."""
        if self._receipt is not None:
            await self._receipt.settled()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the turn, and wait until the broker has accepted all of it.

        Raises:
            OperationRejected: it refused a part of the turn for good.
            ClientError: there is no connection any more.
        """
        try:
            if error is None:
                await self._complete("cancelled" if self._is_stopped else self.finish_reason)
            elif isinstance(error, asyncio.CancelledError):
                await self._say_last(self._complete("cancelled"))
                if self.delivery.failure is not None:
                    await self._fail(self.delivery.failure)
            elif isinstance(error, Exception):
                await self._fail(error)
        except OperationRejected as refusal:
            await self._fail(refusal)
            raise
        finally:
            self._running.pop((self.session_id, self.turn_id), None)

    @property
    def _is_stopped(self) -> bool:
        return self.cancelled.is_set() and self.finish_reason == "stop"

    async def _fail(self, error: Exception) -> None:
        """Tell the user that the turn has failed, if that is news."""
        if self.delivery.is_open:
            await self._say_last(self.delivery.end("error", self._chat_error(error)))

    async def _say_last(self, words: Coroutine[Any, Any, None]) -> None:
        """Tell the user how the turn ended, when nothing may replace the reason for it."""
        try:
            async with asyncio.timeout(LAST_WORDS):
                await words
        except (ClientError, TimeoutError) as failure:
            log.warning("turn_end_not_accepted", turn=self.turn_id, why=str(failure))

    async def _complete(self, reason: FinishReason) -> None:
        wrote = len(self.delivery.texts)
        await self.delivery.send_text("", is_last=True)
        completed = TurnCompleted(
            self.session_id,
            self.turn_id,
            self.agent_id,
            self.text,
            self.delivery.tools_used,
            self.input_tokens,
            wrote if self.output_tokens is None else self.output_tokens,
            round((self.clock() - self._began) * 1000),
            reason,
        )
        await self.delivery.end("turnCompleted", completed)
        self.delivery.check()

    def _chat_error(self, error: Exception) -> ChatError:
        """What the user may know of `error`."""
        if isinstance(error, TurnFailed):
            code, message, retryable = error.code, error.message, error.retryable
        elif isinstance(error, OperationRejected) and error is self.delivery.failure:
            code, message = error.code, "The broker refused the answer."
            retryable = error.retryable
        elif isinstance(error, TimeoutError):
            code, message, retryable = "timeout", "The agent took too long.", True
        else:
            code, message, retryable = "agent_failed", "The agent failed to answer.", True
        return ChatError(
            self.session_id,
            code,
            message,
            retryable,
            self.turn_id,
            self.message_id,
            self.agent_id,
        )
